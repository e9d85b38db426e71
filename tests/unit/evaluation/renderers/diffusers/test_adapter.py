from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.lora_files import Tensors, in_kohya_names, lora_tensors

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers")
    from tests.support.tiny_checkpoint import make_tiny_sd15

    return make_tiny_sd15(tmp_path_factory.mktemp("tiny") / "sd15")


@pytest.fixture
def pipeline(checkpoint: Path) -> Any:
    import torch

    from lora_pipeline.training.diffusion.checkpoint_folder import open_pipeline

    return open_pipeline(checkpoint, dtype=torch.float32, device="cpu")


def apply(pipeline: Any, tensors: Tensors, folder: Path) -> int:
    from lora_pipeline.evaluation.renderers.diffusers.adapter import apply_lora

    save_file(tensors, folder / "lora.safetensors")
    return apply_lora(pipeline, folder / "lora.safetensors", "lora_1")


def zeroed(tensors: Tensors) -> Tensors:
    return {name: values * ("lora_A" in name) for name, values in tensors.items()}


def of_another_model(tensors: Tensors) -> Tensors:
    return {name.replace("unet.", "transformer."): values for name, values in tensors.items()}


def with_strangers(tensors: Tensors) -> Tensors:
    stem = "unet.down_blocks.9.attentions.0.to_q"
    strangers = {
        f"{stem}.lora_A.weight": np.ones((4, 32), np.float32),
        f"{stem}.lora_B.weight": np.ones((32, 4), np.float32),
    }
    return tensors | strangers


def reshaped(tensors: Tensors) -> Tensors:
    return {name: np.ones(np.add(v.shape, (3, 0)), np.float32) for name, v in tensors.items()}


def unnamed(tensors: Tensors) -> Tensors:
    return {name.replace("lora", "other"): values for name, values in tensors.items()}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (zeroed, "every tensor of the LoRA is zero"),
        (of_another_model, "only 0 of the LoRA's"),
        (with_strangers, "only a part of the LoRA fits this checkpoint"),
        (reshaped, "does not fit this checkpoint"),
        (unnamed, "hold no LoRA tensors"),
    ],
)
def test_a_lora_that_would_draw_the_base_or_half_of_itself_is_refused(
    checkpoint: Path,
    pipeline: Any,
    tmp_path: Path,
    spoil: Callable[[Tensors], Tensors],
    words: str,
) -> None:
    from lora_pipeline.evaluation.renderers.refusal import DrawingRefusedError

    with pytest.raises(DrawingRefusedError, match=words):
        apply(pipeline, spoil(lora_tensors(checkpoint)), tmp_path)


@pytest.mark.parametrize("parts", [("unet",), ("unet", "text_encoder")])
def test_every_module_of_a_lora_is_applied(
    checkpoint: Path, pipeline: Any, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    tensors = lora_tensors(checkpoint, parts=parts)
    assert apply(pipeline, tensors, tmp_path) == len(tensors) // 2


def test_a_lora_in_the_names_of_sd_scripts_is_applied_whole(
    checkpoint: Path, pipeline: Any, tmp_path: Path
) -> None:
    tensors = lora_tensors(checkpoint)
    assert apply(pipeline, in_kohya_names(tensors), tmp_path) == len(tensors) // 2
