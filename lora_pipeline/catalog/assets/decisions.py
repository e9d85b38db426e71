"""Carrying out one decision on many assets: all of them in one step, or none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from lora_pipeline.catalog.assets.filter import AssetEntry
from lora_pipeline.catalog.records import Asset
from lora_pipeline.catalog.rights.training import Objection
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded


class Named(msgspec.Struct, frozen=True, gc=False):
    """Which asset it was, once its record has been let go.

    Attributes:
        id: Its id.
        title: What it shows.
        asset_type: Its type; empty without a spec.
    """

    id: str
    title: str
    asset_type: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON-ready form."""
        return {"id": self.id, "title": self.title}


class Decided(msgspec.Struct, frozen=True):
    """What a decision came to; all in the order of their titles.

    Attributes:
        changed: Assets that it changes.
        unchanged: Assets that were so already.
        left_out: Assets that it must not change, each with the reason.
    """

    changed: tuple[Named, ...]
    unchanged: tuple[Named, ...]
    left_out: tuple[tuple[Named, Objection], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "changed": [one.to_dict() for one in self.changed],
            "unchanged": [one.to_dict() for one in self.unchanged],
            "leftOut": [
                one.to_dict() | {"code": objection.code, "reason": objection.text}
                for one, objection in self.left_out
            ],
        }


def decide(
    changes: Changes,
    chosen: Iterable[tuple[Loaded[Asset], AssetEntry]],
    change: Callable[[Asset], Asset | Objection],
) -> Decided:
    """Add to ``changes`` what a decision changes, and say what it comes to.

    Of an asset nothing is kept but its name and its new bytes.
    """
    changed: list[Named] = []
    unchanged: list[Named] = []
    left_out: list[tuple[Named, Objection]] = []
    for loaded, entry in chosen:
        outcome, named = change(entry.asset), named_as(entry)
        if isinstance(outcome, Objection):
            left_out.append((named, outcome))
        elif outcome == entry.asset:
            unchanged.append(named)
        else:
            changes.update(loaded, outcome)
            changed.append(named)
    return Decided(
        tuple(sorted(changed, key=_by_title)),
        tuple(sorted(unchanged, key=_by_title)),
        tuple(sorted(left_out, key=lambda one: _by_title(one[0]))),
    )


def named_as(entry: AssetEntry) -> Named:
    """Return which asset it is, for people and programs."""
    asset_type = sys.intern(entry.spec.asset_type) if entry.spec else ""
    return Named(entry.asset.id, entry.title, asset_type)


def _by_title(one: Named) -> tuple[str, str]:
    return one.title.casefold(), one.id
