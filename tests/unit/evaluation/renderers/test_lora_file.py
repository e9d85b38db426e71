"""The LoRA as other programs get it: its keys compared with the base, its name its digest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import save_file

from lora_pipeline.evaluation.renderers.interface import RenderSource
from lora_pipeline.evaluation.renderers.lora_file import checked_loras, place_lora
from lora_pipeline.foundation.errors import RendererError
from tests.support.renderer_cases import make_source, write_sd15_lora

# SD 1.5's own names of the two modules that the LoRA changes, and of the one in its text encoder.
_BLOCK = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0"
_TEXT = "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight"
SD15 = {
    f"{_BLOCK}.attn1.to_q.weight": (320, 320),
    f"{_BLOCK}.attn2.to_k.weight": (320, 768),
    _TEXT: (768, 768),
}


def source_with_base(folder: Path, shapes: dict[str, tuple[int, int]]) -> RenderSource:
    source = make_source(folder, write_sd15_lora(folder / "lora", text_encoder=True))
    tensors = {name: np.zeros(shape, dtype=np.float16) for name, shape in shapes.items()}
    save_file(tensors, source.checkpoint_path)
    return source


def test_every_module_is_found_in_a_single_file(tmp_path: Path) -> None:
    (lora,) = checked_loras(source_with_base(tmp_path, SD15))
    assert lora.proof == "all 3 modules are in the base, each of its size"
    assert lora.changes_text_encoders


def test_a_lora_in_the_names_of_the_single_file_is_found_too(tmp_path: Path) -> None:
    source = source_with_base(tmp_path, SD15)
    stem = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"
    random = np.random.default_rng(3)
    save_file(
        {
            f"{stem}.lora_down.weight": random.normal(size=(2, 320)).astype(np.float32),
            f"{stem}.lora_up.weight": random.normal(size=(320, 2)).astype(np.float32),
        },
        tmp_path / "lora",
    )
    source = make_source(tmp_path, tmp_path / "lora")
    save_file(
        {name: np.zeros(shape, dtype=np.float16) for name, shape in SD15.items()},
        source.checkpoint_path,
    )
    assert checked_loras(source)[0].proof == "all 1 modules are in the base, each of its size"


def test_a_module_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    shapes = SD15 | {f"{_BLOCK}.attn2.to_k.weight": (320, 1024)}
    with pytest.raises(RendererError, match="attn2_to_k is for a module of 768 inputs and 320"):
        checked_loras(source_with_base(tmp_path, shapes))


def test_a_base_that_has_none_of_the_modules_is_refused(tmp_path: Path) -> None:
    other = {"model.diffusion_model.time_embed.0.weight": (1280, 320)}
    with pytest.raises(RendererError, match="none of its 3 modules is in it"):
        checked_loras(source_with_base(tmp_path, other))


def test_what_is_not_known_by_name_is_not_called_missing(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in SD15.items() if name != _TEXT}
    (lora,) = checked_loras(source_with_base(tmp_path, shapes))
    assert lora.proof == "2 of 3 modules are in the base, each of its size"


def test_a_base_that_is_not_here_leaves_the_architecture(tmp_path: Path) -> None:
    source = make_source(tmp_path, write_sd15_lora(tmp_path / "lora"))
    source.checkpoint_path.unlink()
    assert checked_loras(source)[0].proof == "2 modules, for sd15"


def test_weights_that_changed_since_they_were_checked_are_refused(tmp_path: Path) -> None:
    source = make_source(tmp_path, write_sd15_lora(tmp_path / "lora"))
    with pytest.raises(RendererError, match="the file was changed a moment ago"):
        checked_loras(replace(source, loras=(replace(source.loras[0], sha256="0" * 64),)))


def test_the_same_weights_twice_are_refused(tmp_path: Path) -> None:
    source = make_source(tmp_path, write_sd15_lora(tmp_path / "lora"))
    with pytest.raises(RendererError, match="two of the LoRAs that go together have the same"):
        checked_loras(replace(source, loras=source.loras * 2))


def test_it_is_placed_once_and_never_written_over(tmp_path: Path) -> None:
    (lora,) = checked_loras(make_source(tmp_path, write_sd15_lora(tmp_path / "lora")))
    folder = tmp_path / "loras"
    with pytest.raises(RendererError, match="is no folder"):
        place_lora(lora, folder)
    folder.mkdir()
    placed = place_lora(lora, folder)
    assert placed.name == f"lora-eval-{lora.sha256[:16]}.safetensors"
    before = placed.stat().st_mtime_ns
    assert place_lora(lora, folder) == placed
    assert placed.stat().st_mtime_ns == before
    placed.write_bytes(b"other")
    with pytest.raises(RendererError, match="other bytes than its name says"):
        place_lora(lora, folder)
    assert placed.read_bytes() == b"other"
