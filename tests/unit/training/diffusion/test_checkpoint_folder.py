from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lora_pipeline.training.diffusion.checkpoint_folder import (
    CheckpointUnreadableError,
    open_pipeline,
    read_folder,
    single_file_class,
)

CODEC = ["lora_pipeline.training.diffusion.patch_codec", "PatchAutoencoder"]
DEMO = Path(__file__).parents[4] / "data" / "demo" / "checkpoint"


def _folder(root: Path, **changes: object) -> Path:
    """Write a folder that looks like a checkpoint, without weights that could be loaded."""
    index: dict[str, object] = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": [None, None],
    } | changes
    for name, part in index.items():
        if isinstance(part, list) and part[:1] != [None]:
            (root / name).mkdir(parents=True, exist_ok=True)
    (root / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"x")
    (root / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    (root / "model_index.json").write_text(json.dumps(index))
    return root


def _single_file(path: Path, *names: str) -> Path:
    save_file({name: np.zeros(1, dtype=np.float32) for name in names}, path)
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(CheckpointUnreadableError) as caught:
        read_folder(path)
    return str(caught.value)


def test_a_usual_folder_is_read_without_its_safety_checker(tmp_path: Path) -> None:
    folder = read_folder(_folder(tmp_path))
    assert folder.pipeline_class == "StableDiffusionPipeline"
    assert folder.left_out == ("safety_checker", "feature_extractor")
    assert not folder.own_codec
    assert folder.variant is None


def test_our_codec_is_recognised_when_both_files_name_it(tmp_path: Path) -> None:
    _folder(tmp_path, vae=CODEC)
    (tmp_path / "vae" / "config.json").write_text(json.dumps({"_class_name": CODEC[1]}))
    assert read_folder(tmp_path).own_codec


def test_a_codec_that_only_one_file_names_is_refused(tmp_path: Path) -> None:
    assert "different codecs" in _refusal(_folder(tmp_path, vae=CODEC))


def test_weights_that_exist_only_in_half_precision_are_asked_for_as_such(tmp_path: Path) -> None:
    weights = _folder(tmp_path) / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    assert read_folder(tmp_path).variant == "fp16"


@pytest.mark.parametrize("name", ["os.system", "KandinskyPipeline", ["custom", "Pipeline"], None])
def test_pipelines_outside_the_list_are_refused(tmp_path: Path, name: object) -> None:
    assert "is not one of" in _refusal(_folder(tmp_path, _class_name=name))


@pytest.mark.parametrize(
    "part",
    [
        ["os", "Path"],
        ["evil_package", "UNet2DConditionModel"],
        ["diffusers", "utils"],
        ["diffusers", "UNet.__class__"],
        ["diffusers", 3],
        ["diffusers"],
        ["lora_pipeline.training.diffusion.patch_codec", "PatchAutoencoder"],
    ],
)
def test_components_from_elsewhere_are_refused(tmp_path: Path, part: list[object]) -> None:
    assert "is not loaded from a checkpoint" in _refusal(_folder(tmp_path, unet=part))


@pytest.mark.parametrize("name", ["../unet", "a/b"])
def test_components_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    root = _folder(tmp_path / "checkpoint", **{name: ["diffusers", "UNet2DConditionModel"]})
    assert "is missing" in _refusal(root)


def test_a_missing_component_is_named(tmp_path: Path) -> None:
    (_folder(tmp_path) / "scheduler").rmdir()
    assert "component 'scheduler' is missing" in _refusal(tmp_path)


@pytest.mark.parametrize("ending", ["bin", "pt", "ckpt"])
def test_weights_that_are_only_pickles_are_refused(tmp_path: Path, ending: str) -> None:
    (_folder(tmp_path) / "vae" / f"diffusion_pytorch_model.{ending}").write_bytes(b"")
    assert "only as pickles" in _refusal(tmp_path)


def test_pickles_beside_safetensors_do_no_harm(tmp_path: Path) -> None:
    (_folder(tmp_path) / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    assert read_folder(tmp_path).pipeline_class == "StableDiffusionPipeline"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"{", "cannot be read"), (b"[]", "not a JSON object"), (b" " * 1_000_001, "larger")],
)
def test_a_damaged_index_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "model_index.json").write_bytes(content)
    assert reason in _refusal(tmp_path)


def test_a_folder_without_an_index_is_no_checkpoint(tmp_path: Path) -> None:
    assert "no diffusers checkpoint folder" in _refusal(tmp_path)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (
            "cond_stage_model.transformer.text_model.final_layer_norm.weight",
            "StableDiffusionPipeline",
        ),
        ("conditioner.embedders.1.model.ln_final.weight", "StableDiffusionXLPipeline"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "FluxPipeline"),
        ("double_blocks.0.img_attn.qkv.weight", "FluxPipeline"),
    ],
)
def test_a_single_file_is_known_by_its_tensors(tmp_path: Path, tensor: str, expected: str) -> None:
    assert single_file_class(_single_file(tmp_path / "base.safetensors", tensor)) == expected


def test_a_single_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = _single_file(tmp_path / "lora.safetensors", "lora_unet_mid.lora_up.weight")
    with pytest.raises(CheckpointUnreadableError, match=r"not a whole SD 1\.5, SDXL or FLUX"):
        single_file_class(path)


def test_a_single_file_that_is_no_safetensors_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    path.write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(CheckpointUnreadableError, match="cannot be read"):
        single_file_class(path)


@pytest.mark.train
def test_the_demo_checkpoint_draws() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    pipeline = open_pipeline(DEMO, dtype=torch.float32, device="cpu")
    seed = torch.Generator().manual_seed(5)
    image = pipeline("a red circle icon", num_inference_steps=8, generator=seed).images[0]
    red, green, blue = image.getpixel((32, 32))
    assert image.size == (64, 64)
    assert red > green + 80
    assert red > blue + 80


@pytest.mark.train
def test_words_of_the_demo_are_single_tokens() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    tokenizer = open_pipeline(DEMO, dtype=torch.float32, device="cpu").tokenizer
    words = "stkr neonx sticker neon star tree purple sky"
    assert len(tokenizer(words).input_ids) == len(words.split()) + 2


@pytest.mark.train
def test_a_damaged_checkpoint_is_an_error_of_ours(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    with pytest.raises(CheckpointUnreadableError, match="cannot be loaded"):
        open_pipeline(_folder(tmp_path), dtype=torch.float32, device="cpu")


@pytest.mark.train
def test_pickled_single_files_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "base.ckpt"
    path.write_bytes(b"")
    with pytest.raises(CheckpointUnreadableError, match="pickled checkpoints are not opened"):
        open_pipeline(path, dtype=torch.float32, device="cpu")


@pytest.mark.train
def test_a_single_file_without_descriptions_fails_without_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    mark = "cond_stage_model.transformer.text_model.final_layer_norm.weight"
    path = _single_file(tmp_path / "base.safetensors", mark)
    with pytest.raises(CheckpointUnreadableError, match="describes its parts"):
        open_pipeline(path, dtype=torch.float32, device="cpu")


@pytest.mark.train
def test_a_path_with_nothing_there_is_named(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(CheckpointUnreadableError, match="there is no checkpoint at"):
        open_pipeline(tmp_path / "none", dtype=torch.float32, device="cpu")
