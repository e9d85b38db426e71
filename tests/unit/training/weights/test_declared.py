"""What a header claims is read, compared with the bytes, and never believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_pipeline.training.weights.declared import declared_by
from lora_pipeline.training.weights.inspection import inspect_weights
from tests.support.training_builders import write_lora


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (
            {"ss_network_module": "networks.lora", "ss_network_dim": "16", "ss_network_alpha": "8",
             "ss_base_model_version": "sdxl_base_v1-0", "ss_steps": "900"},
            {"madeBy": "sd-scripts", "base": "sdxl_base_v1-0", "architecture": "sdxl", "rank": 16,
             "alpha": 8.0, "steps": 900},
        ),
        (
            {"software": json.dumps({"name": "ai-toolkit", "version": "0.12"}),
             "training_info": json.dumps({"step": 250, "epoch": 1}),
             "ss_base_model_version": "flux.1", "format": "pt"},
            {"madeBy": "ai-toolkit 0.12", "base": "flux.1", "architecture": "flux1", "steps": 250},
        ),
        ({"mflux_version": "0.24.0", "model": "z-image"}, {"madeBy": "mflux 0.24.0"}),
        (
            {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 2})},
            {"madeBy": "diffusers", "rank": 4, "alpha": 2.0},
        ),
        (
            {"modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.title": "Icons",
             "modelspec.trigger_phrase": "flt", "modelspec.hash_sha256": "0x" + "AB" * 32},
            {"base": "stable-diffusion-v1/lora", "architecture": "sd15", "title": "Icons",
             "triggerWord": "flt", "tensorSha256": "ab" * 32},
        ),
        ({}, {}),
    ],
)  # fmt: skip
def test_claims_of_every_program_are_read(
    metadata: dict[str, str], expected: dict[str, object]
) -> None:
    assert declared_by(metadata).to_dict() == expected


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ss_network_dim", "9" * 5000), ("ss_network_dim", "²"), ("ss_network_alpha", "None"),
        ("software", "[" * 100_000), ("software", "[]"), ("training_info", '{"step": {}}'),
        ("lora_adapter_metadata", '{"r": [1]}'), ("modelspec.hash_sha256", "0x12"),
    ],
)  # fmt: skip
def test_claims_that_are_none_are_passed_over(key: str, text: str) -> None:
    told = declared_by({key: text})

    assert (told.rank, told.alpha, told.steps, told.tensor_sha256) == (None, None, None, "")


def test_a_secret_in_a_title_is_not_repeated() -> None:
    assert "hf_" not in declared_by({"modelspec.title": "x hf_abcdefghijklmnop"}).title


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"ss_network_dim": "16"}, "rank_differs"),
        ({"ss_network_alpha": "3"}, "alpha_differs"),
        ({"ss_base_model_version": "flux1"}, "architecture_differs"),
        ({"sshs_model_hash": "0" * 64}, "tensor_digest_differs"),
        ({"ss_tag_frequency": "{}"}, "metadata_leaks"),
    ],
)
def test_a_claim_that_the_bytes_deny_is_a_warning_and_no_more(
    tmp_path: Path, metadata: dict[str, str], code: str
) -> None:
    path = write_lora(
        tmp_path / "w.safetensors", rank=4, alpha=4.0, spelling="kohya", metadata=metadata
    )

    report = inspect_weights(path)

    assert [(one.code, one.severity) for one in report.findings] == [(code, "warning")]
    assert report.problems == ()


def test_all_three_digests_are_those_of_the_programs_that_use_them(tmp_path: Path) -> None:
    """The oldest is of 64 KiB from the second MiB on: nothing, in a file that small."""
    import hashlib

    path = write_lora(tmp_path / "w.safetensors", modules={f"unet.m{n}": (512, 512)
                                                          for n in range(80)})  # fmt: skip
    data = path.read_bytes()

    report = inspect_weights(path)

    assert len(data) > 0x110000
    assert report.legacy_hash == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert inspect_weights(write_lora(tmp_path / "s.safetensors")).legacy_hash == "e3b0c442"
