"""What a merge of records says to the person who merges."""

from __future__ import annotations

import json
from typing import Any

from lora_pipeline.datasets.diff.changes import compare
from lora_pipeline.datasets.merge import MergedManifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.workspace.merge_documents import MISSING, Clash

_SHOWN = 8
_LONGEST = 60
_WHAT = {
    "dataset": "the two sides ask for different things",
    "lora": "both sides changed what only one of them may decide",
}
_HISTORY = (
    "each entry of the history is chained to the one before, so two new ones cannot both follow it"
)


def manifest_words(ours: Manifest, merged: MergedManifest) -> tuple[str, ...]:
    """Return what came of two manifests, in a line or two."""
    manifest = merged.manifest
    images = len(manifest.items)
    counted = "1 image" if images == 1 else f"{images} images"
    if manifest.unconfirmed_merge is None:
        return (f"{manifest.id}: {counted}; the two sides agree",)
    brought = compare(ours, manifest).summary().replace("  ", ", ")
    lines = [f"{manifest.id}: {counted}, against ours {brought}"]
    if merged.undecided:
        several = len(merged.undecided)
        lines.append(
            f"{manifest.id}: {several} {'image' if several == 1 else 'images'} changed on both "
            "sides; the build decides"
        )
    lines.append("when the merge is done, lora git finish builds it again from the merged art")
    return tuple(lines)


def clash_words(
    path: str, kind: str, clashes: tuple[Clash, ...], labels: tuple[str, str]
) -> tuple[str, ...]:
    """Return what could not be merged, each with the value of both sides."""
    what = _WHAT.get(kind, "both sides changed the same thing")
    lines = [f"lora: {path} is not merged: {what}"]
    lines += [_one(clash, labels) for clash in clashes[:_SHOWN]]
    if len(clashes) > _SHOWN:
        lines.append(f"  … and {len(clashes) - _SHOWN} more")
    if any(clash.where == "history" for clash in clashes):
        lines.append(f"  {_HISTORY}")
    return tuple(lines)


def _one(clash: Clash, labels: tuple[str, str]) -> str:
    if clash.where == "history":
        mine, other = (_events(clash.base, side) for side in (clash.ours, clash.theirs))
    else:
        mine, other = _shown(clash.ours), _shown(clash.theirs)
    known = clash.base is not MISSING and clash.where != "history"
    before = f"   before {_shown(clash.base)}" if known else ""
    return f"  {clash.where}   {labels[0]} {mine}   {labels[1]} {other}{before}"


def _events(base: Any, side: Any) -> str:
    """Return what one side added to a history."""
    known = len(base) if isinstance(base, list) else 0
    added = side[known:] if isinstance(side, list) else []
    words = [f"{one.get('event', '')} {one.get('releaseId', '')}".strip() for one in added]
    return ", ".join(words) or "nothing new"


def _shown(value: Any) -> str:
    if value is MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
