"""What weights are, and why some may not become a release."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import WeightsRefusedError
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.weights.inspection import inspect_weights, require_usable
from tests.support.training_builders import (
    SD_MODULE,
    RawTensor,
    float_tensor,
    lora_tensors,
    safetensors_bytes,
    write_checkpoint_headers,
    write_lora,
)

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
ENCODER_LAYER = "encoder.layers.0.self_attn.q_proj"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of a few modules."""
    return write_checkpoint_headers(
        tmp_path / "base",
        {
            "unet": {
                f"{BLOCK}.attn1.to_q": (32, 32),
                f"{BLOCK}.attn1.to_out.0": (32, 32),
                f"{BLOCK}.attn2.to_k": (32, 64),
                "down_blocks.0.resnets.0.conv1": (32, 32, 3, 3),
                "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": (32, 32),
                "mid_block.resnets.1.conv2": (32, 32, 3, 3),
                "up_blocks.0.upsamplers.0.conv": (32, 32, 3, 3),
            },
            "text_encoder": {f"text_model.{ENCODER_LAYER}": (64, 64)},
            "text_encoder_2": {ENCODER_LAYER: (64, 64)},
        },
    )


def on_disk(path: Path, architecture: str = "sd15") -> CheckpointOnDisk:
    return CheckpointOnDisk("base", architecture, path, "sha256:" + "0" * 64)


def refusal(path: Path, checkpoint: CheckpointOnDisk | None = None) -> str:
    with pytest.raises(WeightsRefusedError) as caught:
        require_usable(inspect_weights(path), checkpoint)
    return caught.value.message


def test_report_says_what_a_file_is(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", rank=8, alpha=4.0, spelling="kohya")

    report = inspect_weights(path)

    assert (report.family, report.algorithm, report.rank, report.alphas) == (
        "kohya", "lora", 8, (4.0,),
    )  # fmt: skip
    assert report.types == {"F32": 3}
    assert report.components == {"denoiser": 1}
    assert report.problems == ()


def test_both_digests_are_those_that_other_programs_take(tmp_path: Path) -> None:
    data = safetensors_bytes(lora_tensors(), {"modelspec.title": "x"})
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)

    report = inspect_weights(path)

    start = 8 + int.from_bytes(data[:8], "little")
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert report.tensor_sha256 == hashlib.sha256(data[start:]).hexdigest()


def test_alpha_is_read_from_the_adapter_metadata_of_diffusers(tmp_path: Path) -> None:
    metadata = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 2, "unet.r": 4})}
    path = write_lora(tmp_path / "w.safetensors", metadata=metadata)

    assert inspect_weights(path).alphas == (2.0,)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused_by_tensor(tmp_path: Path, bad: float) -> None:
    tensors = [*lora_tensors({"unet.mid_block.a": (8, 8)}), *lora_tensors()]
    broken = float_tensor("unet.mid_block.a.lora_B.weight", (8, 4), bad)
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes([broken if t.name == broken.name else t for t in tensors]))

    assert "unet.mid_block.a.lora_B.weight holds 32 NaN or infinite" in refusal(path)


def test_weights_that_change_nothing_are_refused(tmp_path: Path) -> None:
    assert "every up matrix is zero" in refusal(write_lora(tmp_path / "w.safetensors", up=0.0))


def test_one_trained_module_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    zero = lora_tensors({"unet.mid_block.a": (8, 8)}, up=0.0)
    path.write_bytes(safetensors_bytes([*zero, *lora_tensors()]))

    require_usable(inspect_weights(path))


def test_a_pair_without_its_other_half_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes(lora_tensors()[:1]))

    assert "has no up matrix beside it" in refusal(path)


def test_a_pair_of_two_ranks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    down, _ = lora_tensors(rank=4)
    _, up = lora_tensors(rank=8)
    path.write_bytes(safetensors_bytes([down, up]))

    assert "rank 4, its up matrix has rank 8" in refusal(path)


def test_integers_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    down, up = lora_tensors()
    path.write_bytes(safetensors_bytes([down, RawTensor(up.name, "I32", up.shape, up.data)]))

    assert "holds I32" in refusal(path)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["model.diffusion_model.input_blocks.0.0.weight"], "whole model"),
        (["emb_params"], "textual inversion"),
        (["something"], "no LoRA tensors"),
    ],
)
def test_what_is_no_lora_is_called_by_its_name(tmp_path: Path, names: list[str], word: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes([float_tensor(name, (2, 2)) for name in names]))

    assert word in refusal(path)


def test_tensors_that_belong_to_no_lora_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes([*lora_tensors(), float_tensor("stowaway", (2,))]))

    assert "stowaway is no part of a LoRA" in refusal(path)


@pytest.mark.parametrize(
    "modules",
    [
        {SD_MODULE: (32, 32)},
        {f"unet.{BLOCK}.attn1.processor.to_q": (32, 32)},
        {f"unet.{BLOCK}.attn1.processor.to_out": (32, 32)},
        {f"text_encoder.text_model.{ENCODER_LAYER}": (64, 64)},
        {f"text_encoder_2.text_model.{ENCODER_LAYER}": (64, 64)},
        {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (64, 32)},
        {"lora_te_text_model_encoder_layers_0_self_attn_q_proj": (64, 64)},
        {"lora_te2_text_model_encoder_layers_0_self_attn_q_proj": (64, 64)},
        {"lora_unet_input_blocks_1_0_in_layers_2": (32, 32)},
        {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": (32, 32)},
        {"lora_unet_middle_block_2_out_layers_3": (32, 32)},
        {"lora_unet_output_blocks_2_1_conv": (32, 32)},
    ],
)
def test_modules_of_the_checkpoint_fit_in_every_spelling(
    tmp_path: Path, folder: Path, modules: dict[str, tuple[int, int]]
) -> None:
    path = write_lora(tmp_path / "w.safetensors", modules=modules)

    fit = require_usable(inspect_weights(path), on_disk(folder))

    assert fit is not None
    assert fit.proven
    assert fit.matched == 1


def test_modules_that_the_checkpoint_lacks_are_refused_by_name(
    tmp_path: Path, folder: Path
) -> None:
    modules = {SD_MODULE: (32, 32), "unet.up_blocks.3.attentions.0.proj_in": (32, 32)}
    path = write_lora(tmp_path / "w.safetensors", modules=modules)

    message = refusal(path, on_disk(folder))

    assert "1 of 2 modules are not in it, the first is unet.up_blocks.3" in message


def test_modules_of_another_size_are_refused_with_both_sizes(tmp_path: Path, folder: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", modules={SD_MODULE: (64, 32)})

    message = refusal(path, on_disk(folder))

    assert "64 inputs and 32 outputs, the checkpoint's has 32 and 32" in message


def test_flux_weights_do_not_fit_a_unet(tmp_path: Path, folder: Path) -> None:
    modules = {"transformer.single_transformer_blocks.0.proj_mlp": (32, 128)}
    path = write_lora(tmp_path / "w.safetensors", modules=modules)

    assert "does not fit checkpoint base" in refusal(path, on_disk(folder))


def test_a_single_file_is_compared_by_architecture(tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"never read")
    path = write_lora(tmp_path / "w.safetensors")

    message = refusal(path, on_disk(base, "flux1"))

    assert "is for sd15 or sd21 or sdxl, the checkpoint base is flux1" in message


def test_a_single_file_of_that_architecture_is_not_refused(tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"never read")
    path = write_lora(tmp_path / "w.safetensors")

    assert require_usable(inspect_weights(path), on_disk(base, "sdxl")) is None


def test_keys_in_the_original_flux_spelling_are_compared_by_architecture(tmp_path: Path) -> None:
    folder = write_checkpoint_headers(
        tmp_path / "flux", {"transformer": {"transformer_blocks.0.attn.to_q": (32, 32)}}
    )
    modules = {"lora_unet_single_blocks_0_linear1": (32, 7 * 32)}
    path = write_lora(tmp_path / "w.safetensors", modules=modules, spelling="kohya")

    fit = require_usable(inspect_weights(path), on_disk(folder, "flux1"))

    assert fit is not None
    assert (fit.proven, fit.unread) == (False, 1)


def test_metadata_is_a_note_and_never_evidence(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", rank=4, metadata={"ss_network_dim": "16"})

    report = inspect_weights(path)

    assert report.rank == 4
    assert report.notes == ("metadata says rank 16, its tensors have 4",)
