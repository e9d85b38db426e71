"""Which base model weights are for, told by the names and sizes of what they adapt.

Pure. The answer is a set: names alone may leave several architectures possible, and a set that
does not hold the checkpoint's architecture is proof enough to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from lora_pipeline.training.weights.keys import AdaptedModule

UNETS = ("sd15", "sd21", "sdxl")

# What stands before the module's own name, in the spellings that are met.
_TEXT_ENCODER = re.compile(r"^(?:lora_te(\d?)_|lycoris_te(\d?)_|text_encoder(?:_(\d))?\.|te(\d)\.)")
_DENOISER = re.compile(
    r"^(?:base_model\.model\.)?(?:lora_unet_|lora_transformer_|lycoris_(?:unet_)?|unet\.|transformer\."
    r"|diffusion_model\.|model\.diffusion_model\.)?"
)
# In SDXL and later, the first of several text encoders is called 1; in diffusers it has no number.
_WORDS = {
    "flux2": r"to_qkv_mlp_proj|ff(?:_context)?_linear_(?:in|out)|(?:double|single)_stream_mod",
    "chroma": r"distilled_guidance_layer",
    "flux1": r"single_transformer_blocks_\d+_(?:proj_mlp|proj_out|norm_linear|attn_to_[qkv])",
    "sd3": r"(?:^|_)joint_blocks_\d+_",
    "qwen_image": r"transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)",
    "wan": r"(?:^|_)blocks_\d+_(?:self_attn|cross_attn|ffn)_",
}
_FLUX_SIZES = (
    (re.compile(r"(?:^|_)single_blocks_\d+_linear1$"), {7: "flux1", 9: "flux2"}),
    (re.compile(r"(?:^|_)double_blocks_\d+_(?:img|txt)_mlp_0$"), {4: "flux1", 6: "flux2"}),
)
_FLUX = re.compile(r"(?:double|single)_blocks_\d+_|single_transformer_blocks_\d+_")
_MMDIT = re.compile(r"(?:^|_)transformer_blocks_\d+_attn_")
_MMDIT_SIZES = {1536: ("sd3",), 2432: ("sd3",), 3072: ("flux1", "flux2", "qwen_image")}
_LAYERS = re.compile(
    r"(?:^|_)(?:layers|context_refiner|noise_refiner)_\d+_(?:attention|feed_forward)"
)
_LAYER_SIZES = {3840: ("zimage",), 2304: ("lumina2",)}
_UNET = re.compile(
    r"(?:^|_)(?:down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)_"
)
_CROSS_ATTENTION = re.compile(r"attn2_to_[kv]$")
_CROSS_SIZES = {768: ("sd15",), 1024: ("sd21",), 2048: ("sdxl",)}
_DEEP = re.compile(r"(?:attentions|blocks)_\d+(?:_\d+)?_transformer_blocks_[1-9]")


def component_of(path: str) -> tuple[str, str]:
    """Return which part of a pipeline a module belongs to, and its name there.

    The part is ``denoiser``, ``text_encoder``, ``text_encoder_2`` or ``text_encoder_3``.
    """
    encoder = _TEXT_ENCODER.match(path)
    if encoder:
        number = next((group for group in encoder.groups() if group), "1")
        name = "text_encoder" if number == "1" else f"text_encoder_{number}"
        return name, path[encoder.end() :]
    prefix = _DENOISER.match(path)
    return "denoiser", path[prefix.end() :] if prefix else path


def possible_architectures(modules: Sequence[AdaptedModule]) -> tuple[str, ...]:
    """Return the architectures that modules may belong to; empty when nothing is known."""
    split = [(module, *component_of(module.path)) for module in modules]
    named = [(name.replace(".", "_"), one) for one, part, name in split if part == "denoiser"]
    if not named:
        return ()
    encoders = {part for _, part, _ in split}
    readings: tuple[Callable[[], tuple[str, ...]], ...] = (
        lambda: _by_words(name for name, _ in named),
        lambda: _by_sizes(named, _FLUX_SIZES),
        lambda: ("flux1", "flux2") if _any(_FLUX, named) else (),
        lambda: _by_inputs(named, _MMDIT, _MMDIT_SIZES),
        lambda: _by_inputs(named, _LAYERS, _LAYER_SIZES),
        lambda: _unet(named, two_encoders="text_encoder_2" in encoders),
    )
    return next((found for reading in readings if (found := reading())), ())


def _by_words(names: Iterable[str]) -> tuple[str, ...]:
    every = list(names)
    for architecture, words in _WORDS.items():
        pattern = re.compile(words)
        if any(pattern.search(name) for name in every):
            return (architecture,)
    return ()


_Named = Sequence[tuple[str, AdaptedModule]]


def _any(pattern: re.Pattern[str], named: _Named) -> bool:
    return any(pattern.search(name) for name, _ in named)


def _by_sizes(
    named: _Named, rules: Sequence[tuple[re.Pattern[str], Mapping[int, str]]]
) -> tuple[str, ...]:
    for pattern, by_factor in rules:
        for name, module in named:
            if pattern.search(name) and module.sizes:
                inputs, outputs = module.sizes
                known = by_factor.get(outputs // inputs) if outputs % inputs == 0 else None
                if known:
                    return (known,)
    return ()


def _by_inputs(
    named: _Named, pattern: re.Pattern[str], by_size: Mapping[int, tuple[str, ...]]
) -> tuple[str, ...]:
    for name, module in named:
        if pattern.search(name) and module.sizes and module.sizes[0] in by_size:
            return by_size[module.sizes[0]]
    return ()


def _unet(named: _Named, *, two_encoders: bool) -> tuple[str, ...]:
    if not _any(_UNET, named):
        return ()
    if two_encoders or _any(_DEEP, named):
        return ("sdxl",)
    return _by_inputs(named, _CROSS_ATTENTION, _CROSS_SIZES) or UNETS
