"""Emergencies as they are judged afterwards: open, over, or never allowed. Pure."""

from __future__ import annotations

import msgspec

from lora_pipeline.catalog.rights.training import days_after
from lora_pipeline.releases.evidence.facts import ReleaseEvidence
from lora_pipeline.releases.evidence.people import is_no_person
from lora_pipeline.releases.gate.decision import Decision
from lora_pipeline.releases.gate.judge import firm_refusals
from lora_pipeline.releases.gate.verdicts import is_future
from lora_pipeline.releases.history import emergency_since, open_emergency
from lora_pipeline.releases.records import GatePolicy, HistoryEntry


class Emergency(msgspec.Struct, frozen=True):
    """An emergency that the gate has not ended yet.

    Attributes:
        entry: Its entry in the history.
        until: The end of its term.
        objection: Why the release must not be used, or empty while it may be.
    """

    entry: HistoryEntry
    until: str
    objection: str

    @property
    def words(self) -> str:
        """What everybody reads until it is over."""
        skipped = ", ".join(self.entry.skipped)
        return (
            f"{self.entry.release_id} is active without the gate since {self.entry.at[:10]}: "
            f"{self.entry.by} said {self.entry.reason!r}; not passed: {skipped}; "
            f"follow up by {self.until[:10]}"
        )


def term_of(since: str, policy: GatePolicy) -> str:
    """Return the end of the term of emergencies that began at a time."""
    return days_after(since, policy.emergency_days)


def judge_emergency(
    evidence: ReleaseEvidence, decision: Decision, policy: GatePolicy
) -> Emergency | None:
    """Return the emergency that a LoRA's active release rests on, judged today; None when none.

    The term is that of the policy of today, and of the first emergency in a row.
    """
    entry = open_emergency(evidence.lora.history)
    if entry is None or entry.release_id != evidence.release.id:
        return None
    today = evidence.today or evidence.now
    until = min(entry.until, term_of(emergency_since(evidence.lora.history), policy))
    weights = evidence.release.weights.sha256 if evidence.release.weights else ""
    firm = firm_refusals(decision)
    checks = (
        (is_no_person(entry.by), f"{entry.by} is no person"),
        (entry.weights_sha256 != weights, "it was made active with other weights"),
        (not policy.emergency_days, f"policy {policy.id} allows no emergency"),
        (is_future(entry.at, today), "the emergency is dated in the future"),
        (until <= today, f"its term ended on {until[:10]}"),
        (bool(firm), "; ".join(f"{one.title}: {one.reason}" for one in firm)),
    )
    return Emergency(entry, until, next((words for holds, words in checks if holds), ""))
