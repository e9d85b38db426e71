from __future__ import annotations

import pytest

from lora_pipeline.catalog.architecture import (
    architecture_of_folder,
    architecture_of_tensors,
    resolution_of_folder,
)


@pytest.mark.parametrize(
    ("pipeline", "architecture"),
    [
        ("StableDiffusionPipeline", "sd15"),
        ("StableDiffusionXLPipeline", "sdxl"),
        ("StableDiffusionXLInpaintPipeline", "sdxl"),
        ("StableDiffusion3Pipeline", "sd3"),
        ("FluxPipeline", "flux1"),
        ("FluxKontextPipeline", "flux1"),
        ("Flux2KleinPipeline", "flux2"),
        ("ZImagePipeline", "zimage"),
        ("QwenImagePipeline", "qwen_image"),
        ("MysteryPipeline", None),
        (7, None),
        (None, None),
    ],
)
def test_pipeline_of_a_folder_tells_the_architecture(
    pipeline: object, architecture: str | None
) -> None:
    assert architecture_of_folder({"_class_name": pipeline}, {}) == architecture


def test_later_stable_diffusion_is_told_by_its_wider_text_encoder() -> None:
    index = {"_class_name": "StableDiffusionPipeline"}

    assert architecture_of_folder(index, {"hidden_size": 768}) == "sd15"
    assert architecture_of_folder(index, {"hidden_size": 1024}) == "sd21"


@pytest.mark.parametrize(
    ("tensor", "architecture"),
    [
        ("cond_stage_model.transformer.text_model.embeddings.position_ids", "sd15"),
        ("cond_stage_model.model.transformer.resblocks.0.ln_1.weight", "sd21"),
        ("conditioner.embedders.1.model.ln_final.weight", "sdxl"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "sd3"),
        ("double_blocks.0.img_attn.qkv.weight", "flux1"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "flux1"),
        ("double_stream_modulation_img.lin.weight", "flux2"),
        ("distilled_guidance_layer.in_proj.weight", "chroma"),
        ("some.other.weight", None),
    ],
)
def test_one_tensor_of_a_single_file_tells_the_architecture(
    tensor: str, architecture: str | None
) -> None:
    assert architecture_of_tensors([(tensor, (4, 4)), ("x", ())]) == architecture


@pytest.mark.parametrize(
    ("width", "architecture"), [(3840, "zimage"), (2304, "lumina2"), (8, None)]
)
def test_models_with_the_same_names_are_told_by_a_size(
    width: int, architecture: str | None
) -> None:
    assert architecture_of_tensors([("cap_embedder.1.weight", (width, 9))]) == architecture


def test_resolution_follows_from_latent_size_and_codec() -> None:
    vae = {"block_out_channels": [1, 1, 1, 1]}

    assert resolution_of_folder("sd15", {"sample_size": 64}, vae) == 512
    assert resolution_of_folder("sd15", {"sample_size": 8}, vae) == 64


@pytest.mark.parametrize(
    ("architecture", "side"), [("sd15", 512), ("sd21", 768), ("sdxl", 1024), ("flux1", 1024)]
)
def test_resolution_is_the_usual_one_when_the_files_do_not_say(
    architecture: str, side: int
) -> None:
    assert resolution_of_folder(architecture, {}, {}) == side
