"""The whole rule of a dataset: which images, which captions, which form, which split."""

from __future__ import annotations

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from lora_pipeline.datasets.records import (
    CaptionRule,
    Manifest,
    Normalization,
    Selection,
    SplitRule,
)


class DatasetRule(msgspec.Struct, frozen=True):
    """All that decides what a manifest holds, given the assets.

    Attributes:
        selection: Which images.
        captions: What is said of them.
        normalization: The form that they are brought to.
        split: Which of them are held out.
    """

    selection: Selection = msgspec.field(default_factory=Selection)
    captions: CaptionRule = msgspec.field(default_factory=CaptionRule)
    normalization: Normalization = msgspec.field(default_factory=Normalization)
    split: SplitRule = msgspec.field(default_factory=SplitRule)


def stored_rule(manifest: Manifest) -> DatasetRule:
    """Return the rule that a manifest was built by.

    Manifests that name no caption rule say in their selection how captions are made.
    """
    selection, captions = manifest.selection, manifest.caption_rule
    if selection.caption_strategy is not UNSET:
        tokens = selection.include_prompt_tokens
        captions = replace(
            captions,
            strategy=selection.caption_strategy,
            include_prompt_tokens=tokens is not UNSET and tokens,
        )
    selection = replace(
        selection,
        variant_policy=Selection().variant_policy,
        caption_strategy=UNSET,
        include_prompt_tokens=UNSET,
        note=UNSET,
    )
    return DatasetRule(selection, captions, manifest.normalization, manifest.split_rule)


def changed_settings(before: DatasetRule, after: DatasetRule) -> dict[str, tuple[object, object]]:
    """Return every setting that differs: its name to its value before and after."""
    old, new = _settings(before), _settings(after)
    names = [name for name in new | old if old.get(name) != new.get(name)]
    return {name: (old.get(name), new.get(name)) for name in names}


def _settings(rule: DatasetRule) -> dict[str, object]:
    parts = {
        "selection": rule.selection,
        "captionRule": rule.captions,
        "normalization": rule.normalization,
        "splitRule": rule.split,
    }
    return {
        f"{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.to_dict().items()
    }
