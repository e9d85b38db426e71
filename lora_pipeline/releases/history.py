"""What became active when: entries chained by digests, from which the pointer follows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.releases.records import HistoryEntry, Lora, ReleaseStatus

_GATED = ("promoted", "rolled_back")
_ACTIVATING = (*_GATED, "emergency")


def entry_digest(entry: HistoryEntry) -> str:
    """Return the digest over all the other fields of an entry."""
    return digest_of(msgspec.structs.replace(entry, digest="").to_dict())


def extended(history: Sequence[HistoryEntry], entry: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """Return the history with ``entry`` at its end, chained to the entry before it."""
    previous = history[-1].digest if history else ""
    chained = msgspec.structs.replace(entry, previous=previous, digest="")
    return (*history, msgspec.structs.replace(chained, digest=entry_digest(chained)))


def broken_link(history: Sequence[HistoryEntry]) -> str | None:
    """Return where the chain does not hold, in words, or None when it does."""
    previous = ""
    for number, entry in enumerate(history, start=1):
        if entry_digest(entry) != entry.digest:
            what = f"{entry.event} {entry.release_id}".strip()
            return f"entry {number} ({what}) was edited"
        if entry.previous != previous:
            return f"entry {number} does not follow the one before it"
        previous = entry.digest
    return None


def active_after(history: Sequence[HistoryEntry]) -> str:
    """Return the release that is active when the whole history has happened, or empty."""
    active = ""
    for entry in history:
        if entry.event in _ACTIVATING:
            active = entry.release_id
        elif entry.event == "deprecated" and entry.release_id == active:
            active = ""
    return active


def incumbent_for(history: Sequence[HistoryEntry], release_id: str) -> str:
    """Return the release that a release had to be better than, or empty for the base.

    That is the one that was active when it first passed the gate; before that, the present one.
    What was only active in an emergency is nobody's rival.
    """
    active = ""
    for entry in history:
        if entry.event in _GATED and entry.release_id == release_id:
            return active
        if entry.event in _GATED:
            active = entry.release_id
        elif entry.event == "deprecated" and entry.release_id == active:
            active = ""
    return active


def open_emergency(history: Sequence[HistoryEntry]) -> HistoryEntry | None:
    """Return the emergency that the present active release rests on, or None.

    The gate passing ends it, for whichever release.
    """
    latest: HistoryEntry | None = None
    for entry in history:
        if entry.event == "emergency":
            latest = entry
        elif entry.event in _GATED:
            latest = None
    return latest if latest and active_after(history) == latest.release_id else None


def emergency_since(history: Sequence[HistoryEntry]) -> str:
    """Return when the first of the emergencies began that follow each other, or empty.

    A second one, of another release, gains no time: only the gate ends an emergency.
    """
    since = ""
    for entry in history:
        if entry.event == "emergency":
            since = since or entry.at
        elif entry.event in _GATED:
            since = ""
    return since


def last_activation(lora: Lora) -> HistoryEntry | None:
    """Return the entry that made the present active release active, or None."""
    for entry in reversed(lora.history):
        if entry.event in _ACTIVATING:
            return entry if entry.release_id == lora.active_release_id else None
    return None


def begins_with(history: Sequence[HistoryEntry], earlier: Sequence[HistoryEntry]) -> bool:
    """Return whether ``history`` only added to ``earlier``."""
    return [one.digest for one in history[: len(earlier)]] == [one.digest for one in earlier]


def status_after(history: Sequence[HistoryEntry], release_id: str) -> ReleaseStatus:
    """Return the status that a release has when the whole history has happened."""
    status: ReleaseStatus = "candidate"
    for entry in history:
        if entry.release_id != release_id:
            continue
        if entry.event in _GATED:
            status = "approved"
        elif entry.event == "deprecated":
            status = "deprecated"
    return status


def previously_active(lora: Lora) -> str:
    """Return the release that was active last before the present one and is still approved."""
    usable = {release.id for release in lora.releases if release.status == "approved"}
    for entry in reversed(lora.history):
        if (
            entry.event in _GATED
            and entry.release_id != lora.active_release_id
            and entry.release_id in usable
        ):
            return entry.release_id
    return ""


def evidence_of(history: Sequence[HistoryEntry], release_id: str) -> HistoryEntry | None:
    """Return the last entry that made a release active, or None when none did."""
    for entry in reversed(history):
        if entry.event in _GATED and entry.release_id == release_id:
            return entry
    return None
