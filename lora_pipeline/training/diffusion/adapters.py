"""Which modules get a LoRA, and the LoRA put into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_pipeline.training.diffusion.messages import TrainingStoppedError
from lora_pipeline.training.diffusion.models import Model
from lora_pipeline.training.records import Recipe

if TYPE_CHECKING:
    from torch import nn

ADAPTER = "default"
_UNET = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out",
)  # fmt: skip
_UNET_CONVOLUTIONS = (
    "conv_in", "conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv",
    "conv_out",
)  # fmt: skip
# A pattern, because the last layer of the whole transformer has the name of a block's own.
_TRANSFORMER = (
    r"(?:single_)?transformer_blocks\.\d+\.(?:attn\.(?:to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|ff(?:_context)?\.net\.(?:0\.proj|2)|proj_mlp|proj_out)"
)
_CLIP = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def add_adapters(model: Model, recipe: Recipe) -> dict[str, list[nn.Parameter]]:
    """Freeze the model, add the LoRA, and return what is trained by part.

    Raises:
        TrainingStoppedError: When the recipe asks for what the model cannot do.
    """
    encoders = model.text_encoders()
    for part in (model.denoiser, *encoders.values(), model.pipeline.vae):
        part.requires_grad_(requires_grad=False)
    if recipe.target_convolutions and model.denoiser_name != "unet":
        raise TrainingStoppedError(
            "recipe_invalid", "this model has no convolutions to adapt", "leave it out"
        )
    adapted = {model.denoiser_name: model.denoiser}
    if recipe.train_text_encoder:
        adapted |= encoders
    for name, part in adapted.items():
        _adapt(part, recipe, _targets(name, recipe))
    return {name: _trainable(part) for name, part in adapted.items()}


def _targets(name: str, recipe: Recipe) -> Any:
    if name == "transformer":
        return _TRANSFORMER
    if name != "unet":
        return list(_CLIP)
    return [*_UNET, *_UNET_CONVOLUTIONS] if recipe.target_convolutions else list(_UNET)


def _adapt(part: Any, recipe: Recipe, targets: Any) -> None:
    from peft import LoraConfig

    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha or recipe.rank,
        init_lora_weights="gaussian",
        target_modules=targets,
    )
    part.add_adapter(config, adapter_name=ADAPTER)


def _trainable(part: nn.Module) -> list[nn.Parameter]:
    trained = [parameter for parameter in part.parameters() if parameter.requires_grad]
    for parameter in trained:
        # The base may be in half precision; what learns is not, or small steps would be lost.
        parameter.data = parameter.data.float()
    return trained
