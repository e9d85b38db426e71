"""Merging two versions of a LoRA record, as far as it can be proven that nothing is invented."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.releases.history import active_after, broken_link, status_after
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.merge_documents import (
    MISSING,
    Clash,
    Side,
    earlier,
    later,
    members,
    merge_documents,
    things,
)

_SHAPE = members(createdAt=earlier, updatedAt=later, releases=things("id", members()))


def merge_loras(
    base: Lora | None, ours: Lora, theirs: Lora, prefer: Side
) -> tuple[dict[str, Any], tuple[Clash, ...]]:
    """Return the merged record and what could not be merged.

    Candidates of both sides come together. What is active, and how it came to be, is a chain:
    it is taken from the one side that added to it, and never woven from two.

    Raises:
        RecordInvalidError: When what is active does not follow from the merged history, though
            it did on both sides.
    """
    before = base.to_dict() if base else MISSING
    document, clashes = merge_documents(
        _SHAPE, before, ours.to_dict(), theirs.to_dict(), prefer=prefer
    )
    if not clashes:
        known = {*_contradictions(ours), *_contradictions(theirs)}
        new = [one for one in _contradictions(Lora.from_dict(document)) if one not in known]
        if new:
            raise RecordInvalidError(f"together the two sides contradict each other: {new[0]}")
    return document, clashes


def _contradictions(lora: Lora) -> Iterator[str]:
    """Yield what does not follow from the record's own history."""
    broken = broken_link(lora.history)
    if broken:
        yield broken
    active = active_after(lora.history)
    if active != lora.active_release_id:
        stated = lora.active_release_id or "nothing"
        yield f"{stated} is active, its history says {active or 'nothing'}"
    for release in lora.releases:
        status = status_after(lora.history, release.id)
        if release.status != status:
            yield f"{release.id} is {release.status}, its history says {status}"
    known = {release.id for release in lora.releases}
    for entry in lora.history:
        if entry.release_id and entry.release_id not in known:
            yield f"its history speaks of {entry.release_id}, which is gone"
