"""What leaks out of a header, and how it is taken out without touching a tensor."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.training.weights.inspection import inspect_weights
from lora_pipeline.training.weights.metadata import leaking_keys, scrub
from tests.support.training_builders import write_lora


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ss_tag_frequency", '{"neon_hero": {"unreleased hero": 12}}'),
        ("ss_dataset_dirs", "{}"),
        ("ss_training_comment", "for the trailer"),
        ("modelspec.thumbnail", "data:image/png;base64,"),
        ("anything", "trained in /home/kim/secret_project"),
        ("anything", "C:\\Users\\kim\\art"),
        ("anything", "kim@studio.example"),
        ("anything", "hf_abcdefghijklmnop"),
    ],
)
def test_what_tells_captions_folders_people_or_secrets_leaks(key: str, value: str) -> None:
    assert leaking_keys({key: value, "format": "pt"}) == (key,)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modelspec.architecture", "stable-diffusion-v1/lora"),
        ("ss_network_dim", "16"),
        ("ss_base_model_version", "sdxl_base_v1-0"),
        ("lora_adapter_metadata", '{"unet.r": 4}'),
        ("modelspec.implementation", "https://github.com/huggingface/diffusers"),
    ],
)
def test_what_programs_need_does_not_leak(key: str, value: str) -> None:
    assert leaking_keys({key: value}) == ()


def test_scrubbed_copy_has_the_same_tensors_and_no_leak(tmp_path: Path) -> None:
    metadata = {"ss_tag_frequency": "{}", "ss_network_dim": "4"}
    source = write_lora(tmp_path / "a.safetensors", metadata=metadata)

    removed = scrub(source, tmp_path / "b.safetensors")

    before, after = inspect_weights(source), inspect_weights(tmp_path / "b.safetensors")
    assert removed == ("ss_tag_frequency",)
    assert after.metadata == {"ss_network_dim": "4"}
    assert after.tensor_sha256 == before.tensor_sha256
    assert after.sha256 != before.sha256


def test_scrubbing_a_clean_file_changes_no_meaning(tmp_path: Path) -> None:
    source = write_lora(tmp_path / "a.safetensors")

    assert scrub(source, tmp_path / "b.safetensors") == ()
    assert inspect_weights(tmp_path / "b.safetensors").problems == ()
