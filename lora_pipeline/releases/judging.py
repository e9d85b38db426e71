"""The gate as everybody asks it: evidence, the policy in force, and the policy of before."""

from __future__ import annotations

import msgspec

from lora_pipeline.releases.evidence.facts import ReleaseEvidence
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.decision import Decision
from lora_pipeline.releases.gate.judge import decide
from lora_pipeline.releases.gate.policies import PolicyInForce, policy_before, policy_for
from lora_pipeline.releases.records import HistoryEntry, Lora, Release
from lora_pipeline.workspace.records import Loaded


class Judged(msgspec.Struct, frozen=True):
    """A decision with what it rests on.

    Attributes:
        evidence: All that was looked at.
        force: The policy in force.
        decision: What follows.
    """

    evidence: ReleaseEvidence
    force: PolicyInForce
    decision: Decision


def judge(
    reader: EvidenceReader,
    loaded: Loaded[Lora],
    release: Release,
    *,
    evaluation_id: str = "",
    entry: HistoryEntry | None = None,
    base: str = "",
) -> Judged:
    """Gather the evidence about a release and decide.

    Args:
        reader: Gathers what is known.
        loaded: The LoRA.
        release: One of its releases.
        evaluation_id: The evaluation to judge; else that of ``entry``, else the newest.
        entry: The promotion that made it active, when one did; it stays in time.
        base: The commit that the branch is to be merged into, when somebody names it.

    Raises:
        RecordError: When a record that belongs to the release is not valid.
        SettingsError: When the policy cannot be read.
    """
    bound = entry.evidence if entry else None
    evidence = reader.gather(
        loaded,
        release,
        evaluation_id=evaluation_id or (bound.evaluation_id if bound else ""),
        now=entry.at if entry else "",
    )
    force = policy_for(reader.workspace, reader.records, loaded.scope, loaded.record)
    before = policy_before(reader.workspace, loaded, entry, base=base)
    return Judged(evidence, force, decide(evidence, force.policy, before))
