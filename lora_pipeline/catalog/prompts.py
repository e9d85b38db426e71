"""The prompt of a spec, layer by layer, each word with where it comes from. Decides only.

The layers are those of the base format: the profile's base, the profile's words for the asset type,
the catalog's words for style, scenario and tags, the project's map of tags, the spec's own prompt,
and the words that every prompt ends with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.catalog.profile_records import CheckpointProfile
from lora_pipeline.catalog.records import Checkpoint, Spec
from lora_pipeline.catalog.vocabulary import Vocabulary

SPEC_SLOT = "{specPrompt}"


class Layer(msgspec.Struct, frozen=True):
    """What one layer adds.

    Attributes:
        name: The layer.
        source: The record that says it.
        positive: Words of the prompt.
        negative: Words of the negative prompt.
    """

    name: str
    source: str
    positive: str = ""
    negative: str = ""


class CompiledPrompt(msgspec.Struct, frozen=True):
    """A prompt with the layers that it is made of."""

    positive: str
    negative: str
    layers: tuple[Layer, ...]


def compile_prompt(
    spec: Spec,
    checkpoint: Checkpoint | None,
    profile: CheckpointProfile | None,
    vocabulary: Vocabulary,
    tag_prompts: Mapping[str, Any],
) -> CompiledPrompt:
    """Return what a spec says to a base model.

    Args:
        spec: The spec.
        checkpoint: Its base model; its templates hold where there is no profile.
        profile: The dialect of the base model.
        vocabulary: The words in force for it.
        tag_prompts: What the project says for tags: tag to ``positive``, ``negative``.
    """
    layers = [
        *_base(spec, checkpoint, profile),
        *_catalog(spec, profile, vocabulary),
        *_mapped(spec, profile, tag_prompts),
        Layer("spec_prompt", f"spec {spec.id}", spec.prompt.positive, spec.prompt.negative),
        *_safety(profile),
    ]
    layers = [one for one in layers if one.positive or one.negative]
    return CompiledPrompt(
        _joined(one.positive for one in layers), _joined(one.negative for one in layers),
        tuple(layers),
    )  # fmt: skip


def default_profile(profiles: Iterable[CheckpointProfile]) -> CheckpointProfile | None:
    """Return the profile that specs without one are spoken with: the newest default."""
    defaults = [one for one in profiles if one.default_for_checkpoint]
    return max(defaults, key=lambda one: one.version, default=None)


def ordered_tags(tags: Sequence[str], profile: CheckpointProfile | None) -> list[str]:
    """Return tags in the order in which a profile has them said."""
    if profile is None or profile.tag_order_policy != "explicit":
        return list(tags)
    order = profile.tag_order

    def place(tag: str) -> int:
        for name in (tag, tag.partition(":")[0]):
            if name in order:
                return order.index(name)
        return len(order)

    return sorted(tags, key=place)


def _base(
    spec: Spec, checkpoint: Checkpoint | None, profile: CheckpointProfile | None
) -> Iterator[Layer]:
    if profile is not None:
        source = f"profile {profile.profile_id}"
        yield Layer("checkpoint_base", source, profile.base_positive, profile.base_negative)
        own = profile.per_asset_type.get(spec.asset_type)
        if own is not None:
            yield Layer("checkpoint_asset_type", source, own.positive, own.negative)
        return
    templates = checkpoint.prompt_templates if checkpoint else {}
    source = f"checkpoint {checkpoint.id}" if checkpoint else ""
    yield Layer(
        "checkpoint_base",
        source,
        _text(templates.get("basePositive")),
        _text(templates.get("baseNegative")),
    )
    per_type = templates.get("perAssetType", {})
    typed = per_type.get(spec.asset_type, {}) if isinstance(per_type, dict) else {}
    if isinstance(typed, dict):
        yield Layer(
            "checkpoint_asset_type",
            source,
            _text(typed.get("positive")),
            _text(typed.get("negative")),
        )


def _catalog(
    spec: Spec, profile: CheckpointProfile | None, vocabulary: Vocabulary
) -> Iterator[Layer]:
    style, scenario = vocabulary.styles.get(spec.style), vocabulary.scenarios.get(spec.scenario)
    if style:
        yield Layer("baseline_hints", f"style {style.id}", ", ".join(style.prompt_tokens))
    if scenario:
        yield Layer("baseline_hints", f"scenario {scenario.id}", ", ".join(scenario.prompt_tokens))
    for tag in ordered_tags(spec.tags, profile):
        if tag in vocabulary.tags:
            yield Layer("baseline_hints", f"tag {tag}", vocabulary.tags[tag].prompt_token)


def _mapped(
    spec: Spec, profile: CheckpointProfile | None, tag_prompts: Mapping[str, Any]
) -> Iterator[Layer]:
    for tag in ordered_tags(spec.tags, profile):
        said = tag_prompts.get(tag)
        if isinstance(said, dict):
            yield Layer(
                "tag_prompt_map", f"tag {tag}", _text(said.get("positive")),
                _text(said.get("negative")),
            )  # fmt: skip


def _safety(profile: CheckpointProfile | None) -> Iterator[Layer]:
    if profile is not None and profile.runtime_safety.enabled:
        safety = profile.runtime_safety
        yield Layer(
            "runtime_safety",
            f"profile {profile.profile_id}",
            ", ".join(safety.positive),
            ", ".join(safety.negative),
        )


def _text(value: Any) -> str:
    # Templates of the base format have a slot for the spec, whose layer comes of itself.
    return value.replace(SPEC_SLOT, "") if isinstance(value, str) else ""


def _joined(texts: Iterable[str]) -> str:
    words = (word.strip() for text in texts for word in text.split(","))
    kept: dict[str, str] = {}
    for word in words:
        if word:
            kept.setdefault(word.casefold(), word)
    return ", ".join(kept.values())
