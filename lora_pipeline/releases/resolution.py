"""Which release production uses: the active one, when its evidence holds at this moment."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.decision import Decision
from lora_pipeline.releases.gate.emergencies import judge_emergency
from lora_pipeline.releases.history import (
    active_after,
    broken_link,
    evidence_of,
    open_emergency,
)
from lora_pipeline.releases.judging import judge
from lora_pipeline.releases.records import HistoryEntry, Lora, Release
from lora_pipeline.workspace.records import Loaded

ReleasePolicy = Literal["active_only", "active_or_latest_approved"]


class Skipped(msgspec.Struct, frozen=True):
    """A release that was looked at and not chosen."""

    release_id: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {"releaseId": self.release_id, "reason": self.reason}


class Resolution(msgspec.Struct, frozen=True):
    """What was chosen and why.

    Attributes:
        release: The release to use, or None.
        reason: Why this one.
        entry: The history entry that it rests on.
        skipped: What was looked at before, and why it was not taken.
        emergency: What everybody must read when it was made active without the gate.
    """

    release: Release | None
    reason: str
    entry: HistoryEntry | None
    skipped: tuple[Skipped, ...]
    emergency: str = ""


def resolve_release(
    reader: EvidenceReader,
    loaded: Loaded[Lora],
    *,
    explicit: str = "",
    policy: ReleasePolicy = "active_only",
) -> Resolution:
    """Choose the release to use: the explicit one, else the active one, else as policy says.

    Whatever is chosen was promoted and passes the gate now; a status word is not believed.
    """
    lora = loaded.record
    skipped: list[Skipped] = []
    broken = broken_link(lora.history)
    for release_id, reason in _candidates(lora, explicit, policy):
        release = lora.release(release_id)
        if release is None:
            skipped.append(Skipped(release_id, "there is no such release"))
            continue
        objection, emergency = f"the history is broken: {broken}" if broken else "", ""
        if not objection:
            objection, emergency = _objection(reader, loaded, release)
        if not objection:
            entry = (
                open_emergency(lora.history) if emergency else evidence_of(lora.history, release_id)
            )
            return Resolution(release, reason, entry, tuple(skipped), emergency)
        skipped.append(Skipped(release_id, objection))
    return Resolution(None, "", None, (*skipped, *_unasked(lora, skipped)))


def _candidates(lora: Lora, explicit: str, policy: ReleasePolicy) -> list[tuple[str, str]]:
    if explicit:
        return [(explicit, "asked for by name")]
    found = [(lora.active_release_id, "active")] if lora.active_release_id else []
    if policy == "active_or_latest_approved":
        others = [
            release
            for release in lora.releases
            if release.status == "approved" and release.id != lora.active_release_id
        ]
        others.sort(key=lambda release: (release.created_at, release.id), reverse=True)
        found += [(release.id, "newest approved") for release in others]
    return found


def _objection(reader: EvidenceReader, loaded: Loaded[Lora], release: Release) -> tuple[str, str]:
    """Return why a release is not used, and what is to be said when it is used all the same."""
    lora = loaded.record
    broken_glass = open_emergency(lora.history)
    in_emergency = broken_glass is not None and broken_glass.release_id == release.id
    if release.status != "approved" and not in_emergency:
        return f"{release.id} is {_called(release)}", ""
    expected = active_after(lora.history)
    if release.id == lora.active_release_id and release.id != expected:
        return (
            f"the pointer was set by hand: the history says {expected or 'nothing is active'}",
            "",
        )
    entry = evidence_of(lora.history, release.id)
    if not in_emergency and (entry is None or entry.evidence is None):
        return "no promotion is on record", ""
    try:
        judged = judge(reader, loaded, release, entry=None if in_emergency else entry)
    except PipelineError as error:
        return error.message, ""
    emergency = judge_emergency(judged.evidence, judged.decision, judged.force.policy)
    if emergency is not None:
        return emergency.objection, emergency.words
    return _words(judged.decision), ""


def _words(decision: Decision) -> str:
    # Who uses weights need not have the images that were looked at; the verdict binds them.
    refusing = [
        one for one in decision.refusing if (one.id, one.status) != ("images", "not_proven")
    ]
    return "; ".join(f"{one.title}: {one.reason}" for one in refusing)


def _called(release: Release) -> str:
    return "a candidate" if release.status == "candidate" else release.status


def _unasked(lora: Lora, skipped: list[Skipped]) -> list[Skipped]:
    looked_at = {one.release_id for one in skipped}
    return [
        Skipped(release.id, _called(release) + ", not active")
        for release in reversed(lora.releases)
        if release.id not in looked_at
    ]
