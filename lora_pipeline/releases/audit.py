"""Compute the gate anew for what is active: a pointer is worth what its evidence is worth."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.releases.evidence.facts import ReleaseEvidence, Unproven
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate import rights as conditions_rights
from lora_pipeline.releases.gate.decision import Condition
from lora_pipeline.releases.gate.emergencies import judge_emergency
from lora_pipeline.releases.gate.verdicts import is_future
from lora_pipeline.releases.history import (
    active_after,
    begins_with,
    broken_link,
    last_activation,
    status_after,
)
from lora_pipeline.releases.judging import Judged, judge
from lora_pipeline.releases.records import Evidence, GatePolicy, HistoryEntry, Lora, Release
from lora_pipeline.workspace.records import Loaded


class Strictness(msgspec.Struct, frozen=True):
    """What must be on this machine; else it is said to be not proven.

    Attributes:
        weights: Whether the weights must be here.
        images: Whether the images of the grid must be here.
        base: The commit that the branch is to be merged into: what the branch promotes must
            pass the policy of that commit as well. Empty when nobody named one.
    """

    weights: bool = False
    images: bool = False
    base: str = ""


def audit_lora(
    reader: EvidenceReader, loaded: Loaded[Lora], strictness: Strictness | None = None
) -> list[Finding]:
    """Return what is wrong with a LoRA's history, statuses and active release.

    Nothing is written, and nothing that stands in the record is believed: the chain, the
    pointer, the statuses and the gate are computed anew.
    """
    auditor = _Auditor(reader, loaded, strictness or Strictness())
    return [
        *auditor.history(),
        *auditor.statuses(),
        *auditor.active(),
        *auditor.recommended(),
    ]


class _Auditor(msgspec.Struct, frozen=True):
    reader: EvidenceReader
    loaded: Loaded[Lora]
    strictness: Strictness

    @property
    def lora(self) -> Lora:
        return self.loaded.record

    def history(self) -> Iterator[Finding]:
        broken = broken_link(self.lora.history)
        if broken:
            yield self._error(
                "history_broken",
                f"the history of {self.lora.id} was changed by hand: {broken}",
                "git log -p on the file shows who; restore it from there",
            )
        for earlier in self.reader.past.earlier_histories(self.loaded.path):
            if not begins_with(self.lora.history, earlier):
                yield self._error(
                    "history_rewritten",
                    f"Git holds a history of {self.lora.id} with {len(earlier)} entries that the "
                    "present one does not go on from",
                    "restore the entries; a history only grows",
                )
                return
        for earlier in self.reader.past.moved_histories(self.lora):
            if not begins_with(self.lora.history, earlier):
                yield self._error(
                    "history_rewritten",
                    f"Git holds a history of the same weights with {len(earlier)} entries, in a "
                    f"place that is gone, and that of {self.lora.id} does not go on from it",
                    "restore the entries; a history only grows",
                )
                return
        yield from self._times()

    def _times(self) -> Iterator[Finding]:
        """Say where the clock went backwards: the order is that of the chain, not of the times."""
        today, latest = self.reader.workspace.now(), ""
        for number, entry in enumerate(self.lora.history, start=1):
            what = f"entry {number} ({entry.event} {entry.release_id}".strip() + ")"
            if is_future(entry.at, today):
                yield self._error(
                    "history_times",
                    f"{what} of {self.lora.id} is dated {entry.at[:10]}, in the future",
                    "set the clock of the machine that wrote it, and promote again",
                )
            elif entry.at < latest:
                yield self._error(
                    "history_times",
                    f"{what} of {self.lora.id} is dated {entry.at}, before the entry it follows",
                    "set the clock of the machine that wrote it, and promote again",
                )
            latest = max(latest, entry.at)

    def statuses(self) -> Iterator[Finding]:
        for release in self.lora.releases:
            expected = status_after(self.lora.history, release.id)
            allowed = {expected, "deprecated"} if expected == "candidate" else {expected}
            if release.status not in allowed:
                yield self._error(
                    "status_unproven",
                    f"{release.id} is called {release.status}, its history makes it a {expected}"
                    if expected == "candidate"
                    else f"{release.id} is called {release.status}, its history says {expected}",
                    f"lora promote {self.lora.id} {release.id}"
                    if release.status == "approved"
                    else f"set its status to {expected}",
                )

    def active(self) -> Iterator[Finding]:
        pointer, expected = self.lora.active_release_id, active_after(self.lora.history)
        if pointer != expected:
            yield self._forged(pointer, expected)
        if not pointer:
            return
        release = self.lora.release(pointer)
        if release is None:
            yield self._error(
                "active_release_unknown",
                f"{pointer} is active, and {self.lora.id} has no such release",
                f"lora rollback {self.lora.id}",
            )
            return
        if release.status == "deprecated":
            yield self._error(
                "active_release_deprecated",
                f"{pointer} is active and deprecated",
                f"lora rollback {self.lora.id}",
            )
        yield from self._gate(release, last_activation(self.lora))

    def recommended(self) -> Iterator[Finding]:
        """Recommended is what passed the gate: a LoRA without an active release is not."""
        if self.lora.recommended and self.lora.releases and not active_after(self.lora.history):
            yield self._error(
                "recommended_unproven",
                f"{self.lora.id} is recommended, and no release of it passed the gate",
                f"take recommended out, or lora promote {self.lora.id} RELEASE --recommended",
            )

    def _forged(self, pointer: str, expected: str) -> Finding:
        if not pointer:
            words = f"nothing is active, the history says {expected}"
        elif not expected and not self.lora.history:
            words = f"{pointer} is active, and no promotion is on record"
        else:
            words = f"{pointer} is active, the history says {expected or 'nothing is'}"
        back = f"set activeReleaseId back to {expected}" if expected else "remove activeReleaseId"
        return self._error(
            "active_release_forged",
            words,
            f"{back}, or lora promote {self.lora.id} {pointer or expected}",
        )

    def _gate(self, release: Release, entry: HistoryEntry | None) -> Iterator[Finding]:
        bound = entry.evidence if entry else None
        try:
            judged = judge(
                self.reader,
                self.loaded,
                release,
                # A decision that was in time stays in time.
                entry=entry,
                base=self.strictness.base,
            )
        except PipelineError as error:
            yield self._error(
                "active_release_unproven", f"{release.id} cannot be judged: {error.message}", ""
            )
            return
        evidence, decision, force = judged.evidence, judged.decision, judged.force
        emergency = judge_emergency(evidence, decision, force.policy)
        if emergency is not None:
            yield self._error(
                "emergency_over" if emergency.objection else "emergency_open",
                f"EMERGENCY: {emergency.words}"
                + (f". It must not be used: {emergency.objection}" if emergency.objection else ""),
                f"lora eval review {self.lora.id} {release.id}, then lora promote "
                f"{self.lora.id} {release.id}; or lora rollback {self.lora.id}",
            )
            return
        for condition in decision.refusing:
            yield self._refused(release, condition, evidence)
        yield from self._waived(release, judged)
        yield from self._taken_back(release, evidence, force.policy)
        yield from self._recorded_late(release, entry, evidence)
        if bound:
            yield from self._changed(release, bound, evidence)
            if bound.policy_digest != decision.policy_digest:
                passes = "which it passes too" if decision.passed else "which it does not pass"
                yield Finding(
                    "policy_changed",
                    "warning",
                    self._where,
                    f"{release.id} was promoted under {bound.policy_id} "
                    f"{short(bound.policy_digest)}; today {force.source} holds, {passes}",
                    f"lora promote {self.lora.id} {release.id} renews the evidence",
                )

    def _waived(self, release: Release, judged: Judged) -> Iterator[Finding]:
        """Say what was set aside: it must not be forgotten."""
        for condition in judged.decision.conditions:
            if condition.status == "waived":
                yield Finding(
                    "condition_waived",
                    "warning",
                    self._where,
                    f"{release.id} is active, {condition.title}: {condition.reason}",
                    f"lora eval show {self.lora.id} {release.id}",
                )

    def _recorded_late(
        self, release: Release, entry: HistoryEntry | None, evidence: ReleaseEvidence
    ) -> Iterator[Finding]:
        """Say which reviews came after the promotion that rests on them."""
        if entry is None or entry.evidence is None:
            return
        bound = {*entry.evidence.review_digests, *entry.evidence.blind_digests}
        reviews = [one.review for one in evidence.reviews]
        blinds = [one.review for one in evidence.blinds]
        given = {one.digest: (one.reviewer, one.created_at) for one in reviews}
        given |= {one.digest: (one.reviewer, one.created_at) for one in blinds}
        for digest in sorted(bound & set(given)):
            reviewer, when = given[digest]
            if when > entry.at:
                yield self._error(
                    "history_times",
                    f"{release.id} was promoted at {entry.at} on a review that {reviewer} gave "
                    f"at {when}",
                    f"lora promote {self.lora.id} {release.id}, now that the review is there",
                )

    def _taken_back(
        self, release: Release, evidence: ReleaseEvidence, policy: GatePolicy
    ) -> Iterator[Finding]:
        """Say what is allowed for a while, or for a reason: it must not be forgotten."""
        name = f"{self.lora.id} {release.id}"
        condition = conditions_rights.withdrawals_answered(evidence, policy)
        if condition is not None and condition.passed:
            judged = conditions_rights.judge_withdrawals(evidence, policy)
            for_a_while = any(one.until for one in judged)
            dataset = release.training.get("datasetId")
            yield Finding(
                "withdrawal_answered",
                "warning" if for_a_while else "info",
                self._where,
                f"{release.id} is active with images that must no longer be used: "
                f"{condition.reason}",
                f"lora train --lora {self.lora.id} --dataset {dataset}" if for_a_while else "",
            )
        ending = () if isinstance(evidence.rights, Unproven) else evidence.rights.ending
        if ending:
            named = ", ".join(f"{one.asset_id} {one.text}" for one in ending[:3])
            yield Finding(
                "license_ends_soon",
                "warning",
                self._where,
                f"{release.id} is active, and a licence ends of {len(ending)} of its images: "
                f"{named}",
                f"get a longer one and record it (lora asset rights --expires DATE), or "
                f"lora release answer {name}",
            )

    def _refused(
        self, release: Release, condition: Condition, evidence: ReleaseEvidence
    ) -> Finding:
        if condition.id == conditions_rights.CONDITION:
            return self._error(
                "withdrawal_unanswered",
                f"{release.id} is active, {condition.title}: {condition.reason}",
                f"lora release answer {self.lora.id} {release.id} "
                f"{'|'.join(conditions_rights.answers_allowed(evidence))} --reason …",
            )
        severity: Severity = "error"
        if condition.status == "not_proven" and self._elsewhere(condition, evidence):
            severity = "not_proven"
        return Finding(
            "active_release_unproven",
            severity,
            self._where,
            f"{release.id} is active, {condition.title}: {condition.reason}",
            f"lora promote {self.lora.id} {release.id} --dry-run shows the whole decision"
            if severity == "error"
            else "run lora validate on a machine that has the store",
        )

    def _elsewhere(self, condition: Condition, evidence: ReleaseEvidence) -> bool:
        if condition.id == "weights":
            found = evidence.weights_sha256
            return isinstance(found, Unproven) and found.elsewhere and not self.strictness.weights
        return condition.id == "images" and not self.strictness.images

    def _changed(
        self, release: Release, bound: Evidence, evidence: ReleaseEvidence
    ) -> Iterator[Finding]:
        evaluation, weights = evidence.evaluation, release.weights
        given = {item.review.digest for item in evidence.reviews}
        given |= {item.review.digest for item in evidence.blinds}
        pairs = (
            ("weights", bound.weights_sha256, weights.sha256 if weights else ""),
            ("manifest", bound.manifest_hash, str(release.training.get("manifestHash", ""))),
            ("suite", bound.suite_digest, evaluation.suite_digest if evaluation else ""),
            ("grid", bound.result_digest, evaluation.result_digest if evaluation else ""),
            ("base", bound.checkpoint_digest, evaluation.checkpoint_digest if evaluation else ""),
        )
        for what, then, now in pairs:
            if then != now:
                yield self._error(
                    "evidence_changed",
                    f"{release.id} was promoted with {what} {short(then)}, the records now say "
                    f"{short(now) or 'nothing'}",
                    "git log -p on the record shows who changed it",
                )
        for digest in (*bound.review_digests, *bound.blind_digests):
            if digest not in given:
                yield self._error(
                    "evidence_changed",
                    f"{release.id} was promoted on a review {short(digest)} that is not there as "
                    "it was",
                    "restore the review from Git; a verdict is never changed",
                )

    @property
    def _where(self) -> str:
        return self.reader.workspace.relative(self.loaded.path)

    def _error(self, code: str, message: str, fix: str) -> Finding:
        return Finding(code, "error", self._where, message, fix)
