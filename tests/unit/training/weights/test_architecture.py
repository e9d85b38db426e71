"""Names and sizes tell the architecture, in every spelling that is met."""

from __future__ import annotations

import pytest

from lora_pipeline.training.weights.architecture import component_of, possible_architectures
from lora_pipeline.training.weights.file import Tensor
from lora_pipeline.training.weights.keys import AdaptedModule

UNET = "down_blocks_{}_attentions_0_transformer_blocks_{}_attn2_to_k"


def module(path: str, inputs: int = 64, outputs: int = 64) -> AdaptedModule:
    down = Tensor(f"{path}.lora_down.weight", "F32", (4, inputs), 0, 16 * inputs)
    up = Tensor(f"{path}.lora_up.weight", "F32", (outputs, 4), 0, 16 * outputs)
    return AdaptedModule(path, "kohya", "lora", {"down": down, "up": up})


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([module("lora_unet_" + UNET.format(0, 0), inputs=768)], ("sd15",)),
        ([module("lora_unet_" + UNET.format(0, 0), inputs=1024)], ("sd21",)),
        ([module("lora_unet_" + UNET.format(1, 0), inputs=2048)], ("sdxl",)),
        ([module("lora_unet_" + UNET.format(1, 1))], ("sdxl",)),
        ([module("unet.down_blocks.0.attentions.0.proj_in")], ("sd15", "sd21", "sdxl")),
        (
            [
                module("unet.mid_block.attentions.0.proj_in"),
                module("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj"),
            ],
            ("sdxl",),
        ),
        ([module("lora_unet_single_blocks_0_linear1", 3072, 7 * 3072)], ("flux1",)),
        ([module("lora_unet_single_blocks_0_linear1", 3072, 9 * 3072)], ("flux2",)),
        ([module("transformer.single_transformer_blocks.0.proj_mlp", 32, 128)], ("flux1",)),
        ([module("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj")], ("flux2",)),
        ([module("lora_unet_double_blocks_0_img_attn_qkv")], ("flux1", "flux2")),
        ([module("lora_unet_joint_blocks_0_x_block_attn_qkv")], ("sd3",)),
        ([module("transformer.transformer_blocks.0.attn.to_q", 1536)], ("sd3",)),
        ([module("diffusion_model.layers.0.attention.to_q", 3840, 3840)], ("zimage",)),
        ([module("diffusion_model.layers.0.attention.qkv", 2304)], ("lumina2",)),
        ([module("diffusion_model.blocks.0.self_attn.q")], ("wan",)),
        ([module("transformer.transformer_blocks.0.img_mlp.net.2")], ("qwen_image",)),
        ([module("lora_te_text_model_encoder_layers_0_mlp_fc1")], ()),
        ([module("something.else")], ()),
    ],
)
def test_architecture_is_told_by_names_and_sizes(
    modules: list[AdaptedModule], expected: tuple[str, ...]
) -> None:
    assert possible_architectures(modules) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lora_te_text_model_x", ("text_encoder", "text_model_x")),
        ("lora_te1_text_model_x", ("text_encoder", "text_model_x")),
        ("lora_te2_text_model_x", ("text_encoder_2", "text_model_x")),
        ("text_encoder.text_model.x", ("text_encoder", "text_model.x")),
        ("text_encoder_2.x", ("text_encoder_2", "x")),
        ("base_model.model.transformer.x", ("denoiser", "x")),
        ("lora_unet_down_blocks_0", ("denoiser", "down_blocks_0")),
        ("diffusion_model.layers.0", ("denoiser", "layers.0")),
        ("x.y", ("denoiser", "x.y")),
    ],
)
def test_a_module_belongs_to_a_part_of_the_pipeline(path: str, expected: tuple[str, str]) -> None:
    assert component_of(path) == expected
