"""The models that mflux trains: where a LoRA attaches, and how many blocks there are.

Block ranges follow mflux 0.24's model classes, not its examples, which leave blocks out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.plan import CheckpointOnDisk


class Modules(msgspec.Struct, frozen=True):
    """Modules that a LoRA attaches to.

    Attributes:
        paths: Paths below the transformer; ``{block}`` stands for the block's number.
        blocks: How many blocks there are; 0 for modules that stand alone.
    """

    paths: tuple[str, ...]
    blocks: int = 0


class MfluxModel(msgspec.Struct, frozen=True):
    """One model as mflux trains it.

    Attributes:
        alias: mflux's name.
        architecture: Our name of the family.
        modules: Where a LoRA attaches.
        steps: Inference steps of a preview, which is also the grid of timesteps.
        guidance: Guidance of a preview.
        assistant: A LoRA that mflux loads from the hub by itself while training, or empty.
        caption_tokens: How much of a caption its text encoder reads.
    """

    alias: str
    architecture: str
    modules: tuple[Modules, ...]
    steps: int
    guidance: float
    assistant: str = ""
    caption_tokens: int = 512

    def targets(self, rank: int, alpha: float | None) -> list[dict[str, Any]]:
        """Return ``lora_layers.targets`` over every block."""
        extra = {} if alpha is None else {"alpha": alpha}
        return [
            {"module_path": path, **_blocks(group.blocks), "rank": rank, **extra}
            for group in self.modules
            for path in group.paths
        ]


def _below(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


def _blocks(count: int) -> dict[str, Any]:
    return {"blocks": {"start": 0, "end": count}} if count else {}


def _flux2(double: int, single: int) -> tuple[Modules, ...]:
    block, one = "transformer_blocks.{block}", "single_transformer_blocks.{block}"
    return (
        Modules(
            _below(f"{block}.attn", "to_q", "to_k", "to_v", "to_out", "add_q_proj", "add_k_proj",
                   "add_v_proj", "to_add_out")
            + _below(f"{block}.ff", "linear_in", "linear_out")
            + _below(f"{block}.ff_context", "linear_in", "linear_out"),
            double,
        ),
        Modules(_below(f"{one}.attn", "to_qkv_mlp_proj", "to_out"), single),
    )  # fmt: skip


_ZIMAGE = (
    Modules(
        _below("layers.{block}.attention", "to_q", "to_k", "to_v", "to_out.0")
        + _below("layers.{block}.feed_forward", "w1", "w2", "w3"),
        30,
    ),
    Modules(("cap_embedder.1", "all_final_layer.2-1.linear")),
)
_ERNIE = (
    Modules(
        _below("layers.{block}.self_attention", "to_q", "to_k", "to_v", "to_out.0")
        + _below("layers.{block}.mlp", "gate_proj", "up_proj", "linear_fc2"),
        36,
    ),
    Modules(("text_proj",)),
)
_KREA2 = (
    Modules(
        _below("blocks.{block}.attn", "wq", "wk", "wv", "wo")
        + _below("blocks.{block}.mlp", "gate", "up", "down"),
        28,
    ),
)
_TURBO_ADAPTER = "ostris/zimage_turbo_training_adapter"

MODELS: Mapping[str, MfluxModel] = {
    model.alias: model
    for model in (
        MfluxModel("z-image", "zimage", _ZIMAGE, 50, 4.0),
        MfluxModel("z-image-turbo", "zimage", _ZIMAGE, 9, 0.0, _TURBO_ADAPTER),
        MfluxModel("flux2-klein-base-4b", "flux2", _flux2(5, 20), 40, 1.0),
        MfluxModel("flux2-klein-base-9b", "flux2", _flux2(8, 24), 40, 1.0),
        MfluxModel("flux2-klein-4b", "flux2", _flux2(5, 20), 4, 1.0),
        MfluxModel("flux2-klein-9b", "flux2", _flux2(8, 24), 4, 1.0),
        MfluxModel("ernie-image", "ernie_image", _ERNIE, 50, 4.0, caption_tokens=2048),
        MfluxModel("ernie-image-turbo", "ernie_image", _ERNIE, 8, 1.0, caption_tokens=2048),
        MfluxModel("krea-2", "krea2", _KREA2, 8, 0.0, caption_tokens=1024),
        MfluxModel("krea-2-raw", "krea2", _KREA2, 20, 0.0, caption_tokens=1024),
    )
}


FAMILIES = tuple(dict.fromkeys(model.architecture for model in MODELS.values()))


class Choice(msgspec.Struct, frozen=True):
    """Which model a checkpoint is.

    Attributes:
        model: The model.
        told_by: Where that was read: ``--trainer-config`` or ``the name``.
    """

    model: MfluxModel
    told_by: str


def choose_model(checkpoint: CheckpointOnDisk, stated: str | None) -> Choice:
    """Return which of mflux's models a checkpoint is.

    A family has several models, some of different size. Which one it is stands in the user's
    own configuration, else in the checkpoint's name.

    Raises:
        RecipeInvalidError: When mflux does not train it, or nothing says which model it is.
    """
    architecture = checkpoint.architecture
    family = {alias: one for alias, one in MODELS.items() if one.architecture == architecture}
    if not family:
        raise _not_trained(architecture)
    if stated is not None:
        if stated in family:
            return Choice(family[stated], "--trainer-config")
        raise RecipeInvalidError(
            f"--trainer-config says model {stated!r}, and checkpoint {checkpoint.checkpoint_id} "
            f"is {architecture}",
            hint=f"say one of {', '.join(family)}",
        )
    named = _by_name(architecture, f"{checkpoint.checkpoint_id} {checkpoint.path.name}")
    if named is None:
        raise RecipeInvalidError(
            f"mflux has {len(family)} models of {architecture}, and nothing says which one "
            f"checkpoint {checkpoint.checkpoint_id} is",
            hint=f'--trainer-config FILE with {{"model": "{next(iter(family))}"}}, or another of '
            f"{', '.join(family)}",
        )
    return Choice(MODELS[named], f"the name of checkpoint {checkpoint.checkpoint_id}")


def _by_name(architecture: str, name: str) -> str | None:
    words = frozenset(re.split(r"[^a-z0-9]+", name.lower()))
    if architecture == "flux2":
        size = _only(words, ("4b", "9b"))
        return size and f"flux2-klein-{'base-' if 'base' in words else ''}{size}"
    if architecture == "krea2":
        kind = _only(words, ("raw", "turbo"))
        return kind and {"raw": "krea-2-raw", "turbo": "krea-2"}[kind]
    plain = {"zimage": "z-image", "ernie_image": "ernie-image"}[architecture]
    return f"{plain}-turbo" if "turbo" in words else plain


def _only(words: frozenset[str], wanted: Sequence[str]) -> str | None:
    found = [word for word in wanted if word in words]
    return found[0] if len(found) == 1 else None


def _not_trained(architecture: str) -> RecipeInvalidError:
    if architecture == "flux1":
        return RecipeInvalidError(
            "mflux does not train flux1: its training was removed in mflux 0.16",
            hint="lora train --trainer kohya_ss",
        )
    return RecipeInvalidError(
        f"mflux does not train {architecture or 'a checkpoint without architecture'}; "
        f"it trains {', '.join(FAMILIES)}",
        hint="lora train --trainer diffusers, or --trainer kohya_ss",
    )
