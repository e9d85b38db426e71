"""Options of sd-scripts that exclude each other; it stops at them after it has loaded the model.

Pure.
"""

from __future__ import annotations

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.trainers.kohya.toml import Value

# Captions that differ from step to step cannot be encoded once.
_CHANGE_CAPTIONS = ("shuffle_caption", "token_warmup_step", "caption_tag_dropout_rate")
_CHANGE_IMAGES = ("color_aug", "random_crop")
_EXCLUDE = (
    ("blocks_to_swap", "cpu_offload_checkpointing"),
    ("unsloth_offload_checkpointing", "cpu_offload_checkpointing"),
    ("unsloth_offload_checkpointing", "blocks_to_swap"),
    ("v_pred_like_loss", "v_parameterization"),
)
_NEED = (
    ("adaptive_noise_scale", "noise_offset", "noiseOffset in the recipe"),
    ("scale_v_pred_loss_like_noise_pred", "v_parameterization", "v_parameterization = true"),
)


def settle(options: dict[str, Value], name: str) -> list[str]:
    """Settle what can be settled, in place, and return words about it.

    Raises:
        RecipeInvalidError: When two options cannot both hold.
    """
    for one, other in _EXCLUDE:
        if options.get(one) and options.get(other):
            raise RecipeInvalidError(
                f"{name}: {one} and {other} exclude each other", hint="leave one of them out"
            )
    for one, other, words in _NEED:
        if options.get(one) and not options.get(other):
            raise RecipeInvalidError(f"{name}: {one} needs {words}", hint=f"set it, or no {one}")
    for one in _CHANGE_IMAGES:
        if options.get(one) and options.get("cache_latents"):
            raise RecipeInvalidError(
                f"{name}: {one} and cacheLatents exclude each other",
                hint="set cacheLatents to false in the recipe",
            )
    changing = [one for one in _CHANGE_CAPTIONS if options.get(one)]
    if changing and options.get("cache_text_encoder_outputs"):
        options["cache_text_encoder_outputs"] = False
        return [f"{name}: {changing[0]} needs the text encoder in every step, which takes longer"]
    return []
