"""Carrying out one decision on many assets: all of them in one step, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from lora_pipeline.catalog.asset_filter import AssetEntry
from lora_pipeline.catalog.assets import ProjectAssets
from lora_pipeline.catalog.records import Asset
from lora_pipeline.catalog.rights import Objection
from lora_pipeline.workspace.changes import Changes


class Decided(msgspec.Struct, frozen=True):
    """What a decision came to.

    Attributes:
        changed: Assets that it changes.
        unchanged: Assets that were so already.
        left_out: Assets that it must not change, each with the reason.
    """

    changed: tuple[AssetEntry, ...]
    unchanged: tuple[AssetEntry, ...]
    left_out: tuple[tuple[AssetEntry, Objection], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "changed": [brief(entry) for entry in self.changed],
            "unchanged": [brief(entry) for entry in self.unchanged],
            "leftOut": [
                brief(entry) | {"code": objection.code, "reason": objection.text}
                for entry, objection in self.left_out
            ],
        }


def decide(
    changes: Changes,
    assets: ProjectAssets,
    chosen: Sequence[AssetEntry],
    change: Callable[[Asset], Asset | Objection],
) -> Decided:
    """Add to ``changes`` what a decision changes, and say what it comes to."""
    changed: list[AssetEntry] = []
    unchanged: list[AssetEntry] = []
    left_out: list[tuple[AssetEntry, Objection]] = []
    for entry in chosen:
        outcome = change(entry.asset)
        if isinstance(outcome, Objection):
            left_out.append((entry, outcome))
        elif outcome == entry.asset:
            unchanged.append(entry)
        else:
            changes.update(assets.loaded[entry.asset.id], outcome)
            changed.append(AssetEntry(outcome, entry.spec))
    return Decided(tuple(changed), tuple(unchanged), tuple(left_out))


def brief(entry: AssetEntry) -> dict[str, str]:
    """Return which asset it is, for people and programs."""
    return {"id": entry.asset.id, "title": entry.title}
