"""Gather everything that the gate may look at, from records, disk and Git; nothing is written."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.evaluation.suites import judging_suites, read_suite
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    FileMissingError,
    PipelineError,
    RecordNotFoundError,
    SettingsError,
)
from lora_pipeline.foundation.record import Record
from lora_pipeline.releases.evidence.facts import (
    GivenAnswer,
    GivenBlind,
    GivenReview,
    GivenWaiver,
    ReleaseEvidence,
    Unproven,
)
from lora_pipeline.releases.evidence.images import image_facts
from lora_pipeline.releases.evidence.manifest import ManifestFinder
from lora_pipeline.releases.evidence.people import joined_people
from lora_pipeline.releases.evidence.record_past import RecordPast
from lora_pipeline.releases.evidence.rights import rights_facts
from lora_pipeline.releases.records import Lora, Release, Waiver, WithdrawalAnswer
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded, RecordStore
from lora_pipeline.workspace.root import Workspace

R = TypeVar("R", bound=Record)


@dataclass
class EvidenceReader:
    """Gathers evidence; what several releases share is read once.

    Attributes:
        workspace: Where the evidence lies.
        records: The records, for a caller that has read them already.
        measure_images: Whether to decode and measure every image anew; else their digests
            are checked, which is much faster.
    """

    workspace: Workspace
    records: RecordStore
    measure_images: bool = False
    past: RecordPast = field(init=False)
    manifests: ManifestFinder = field(init=False)
    _digests: dict[Path, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Prepare to ask Git."""
        self.past = RecordPast(self.workspace)
        self.manifests = ManifestFinder(self.workspace, self.records, self.past)

    def gather(
        self, lora: Loaded[Lora], release: Release, *, evaluation_id: str = "", now: str = ""
    ) -> ReleaseEvidence:
        """Return all evidence about a release.

        Args:
            lora: The LoRA.
            release: One of its releases.
            evaluation_id: The evaluation to judge; else the newest that is complete.
            now: The time that freshness is counted to; else the present.

        Raises:
            RecordError: When a record that belongs to the release is not valid.
        """
        suites = self._suites(lora)
        evaluation = self._evaluation(lora, release, evaluation_id, suites)
        manifest = self.manifests.trained(lora.scope, release)
        run = self._run(lora, release)
        reviews = self._reviews(lora, release)
        answers = self.answers(lora, release)
        blinds = self._blinds(lora, release)
        waivers = self._waivers(lora, release)
        weights = release.weights.sha256 if release.weights else ""
        today = self.workspace.now()
        return ReleaseEvidence(
            lora=lora.record,
            release=release,
            now=now or today,
            today=today,
            weights_sha256=self._weights(release),
            manifest=manifest,
            checkpoint_digest=self._checkpoint(lora),
            suite_digest=self._suite(evaluation),
            suites=suites,
            rights=rights_facts(self.records, manifest, today),
            images=image_facts(self.workspace, evaluation, measure=self.measure_images),
            run=run,
            evaluation=evaluation,
            reviews=reviews,
            removed_reviews=tuple(
                self.past.removed_reviews(weights, {one.review.digest for one in reviews})
            ),
            removed_blinds=tuple(
                self.past.removed_blinds(weights, {one.review.digest for one in blinds})
            ),
            answers=answers,
            blinds=blinds,
            open_pages=self._open_pages(evaluation, lora.scope, blinds),
            waivers=waivers,
            people=self._people(
                release,
                run,
                *((one.review.reviewer, one.committed_by, one.signed_by) for one in reviews),
                *((one.answer.answered_by, one.committed_by, one.signed_by) for one in answers),
                *((one.review.reviewer, one.committed_by, one.signed_by) for one in blinds),
                *((one.waiver.waived_by, one.committed_by, one.signed_by) for one in waivers),
            ),
        )

    def gather_rights(
        self, lora: Loaded[Lora], release: Release, *, only: Container[str] | None = None
    ) -> ReleaseEvidence:
        """Return what is known of the rights in a release's images, and nothing else.

        Args:
            lora: The LoRA.
            release: One of its releases.
            only: The assets that are asked about; else all of its manifest.

        Raises:
            RecordError: When a record that belongs to the release is not valid.
        """
        manifest = self.manifests.trained(lora.scope, release)
        run, answers = self._run(lora, release), self.answers(lora, release)
        today, aside = self.workspace.now(), Unproven("not looked at")
        return ReleaseEvidence(
            lora=lora.record,
            release=release,
            now=today,
            today=today,
            weights_sha256=aside,
            manifest=manifest,
            checkpoint_digest=aside,
            suite_digest=aside,
            rights=rights_facts(self.records, manifest, today, only=only),
            images=aside,
            run=run,
            answers=answers,
            people=self._people(
                release,
                run,
                *((one.answer.answered_by, one.committed_by, one.signed_by) for one in answers),
            ),
        )

    def _people(
        self, release: Release, run: Run | None, *spoke: tuple[str | Unproven, ...]
    ) -> dict[str, str]:
        found = {release.created_by, run.requested_by if run else ""}
        found |= {one for words in spoke for one in words if isinstance(one, str)}
        mapped = git.mailmap(self.workspace.root, sorted(found - {""}))
        return joined_people(found - {""}, mapped, self.past.joined_people)

    def _weights(self, release: Release) -> str | Unproven:
        if release.weights is None:
            return Unproven(f"{release.id} names no weights")
        name = f"weights of {release.id}"
        try:
            path = weights_path(
                self.workspace, release.weights, name=name, check_digest=False
            ).resolve()
            if path not in self._digests:
                self._digests[path] = sha256_of_file(path)
            return self._digests[path]
        except (FileMissingError, SettingsError):
            return Unproven(f"{name} are not on this machine", elsewhere=True)
        except PipelineError as error:
            return Unproven(error.message)

    def _run(self, lora: Loaded[Lora], release: Release) -> Run | None:
        run_id = str(release.training.get("runId", ""))
        return self._found(Run, self.manifests.near(lora.scope), run_id)

    def _checkpoint(self, lora: Loaded[Lora]) -> str | Unproven:
        checkpoint_id = lora.record.checkpoint_id
        found = self._found(Checkpoint, self.workspace.visible(lora.scope), checkpoint_id)
        if found is None:
            return Unproven(f"checkpoint {checkpoint_id} has no record")
        return found.digest or Unproven(f"checkpoint {checkpoint_id} has no digest on record")

    def _suite(self, evaluation: Evaluation | None) -> str | Unproven:
        if evaluation is None:
            return Unproven("no evaluation")
        try:
            return read_suite(self.workspace, evaluation.suite_id).digest
        except RecordNotFoundError:
            return ""
        except PipelineError as error:
            return Unproven(error.message)

    def _suites(self, lora: Loaded[Lora]) -> tuple[str, ...]:
        try:
            return judging_suites(self.workspace, lora.scope, lora.record.asset_types)
        except PipelineError:
            return ()  # a suite that cannot be read judges nothing

    def _evaluation(
        self,
        lora: Loaded[Lora],
        release: Release,
        evaluation_id: str,
        suites: tuple[str, ...],
    ) -> Evaluation | None:
        if evaluation_id:
            return self._found(Evaluation, [lora.scope], evaluation_id)
        own = [
            loaded.record
            for loaded in self.records.all(Evaluation, lora.scope)
            if (loaded.record.lora_id, loaded.record.release_id) == (lora.record.id, release.id)
        ]
        # Neither an unfinished grid nor one of prompts or a suite for a look takes the place of
        # a complete grid of the suite as it stands.
        own.sort(
            key=lambda one: (
                one.status == "complete",
                one.suite_id in suites and self._suite(one) == one.suite_digest,
                one.created_at,
                one.id,
            )
        )
        return own[-1] if own else None

    def _reviews(self, lora: Loaded[Lora], release: Release) -> tuple[GivenReview, ...]:
        return tuple(
            GivenReview(
                review=loaded.record,
                committed_by=self._committer(loaded.path),
                rewritten=self.past.rewritten(loaded.path),
                signed_by=self._signer(loaded.path),
            )
            for loaded in self.records.all(Review, lora.scope)
            if (loaded.record.lora_id, loaded.record.release_id) == (lora.record.id, release.id)
        )

    def answers(self, lora: Loaded[Lora], release: Release) -> tuple[GivenAnswer, ...]:
        """Return what was answered for a release's withdrawn images, whether it counts or not."""
        return tuple(
            GivenAnswer(
                answer=loaded.record,
                committed_by=self._committer(loaded.path),
                rewritten=self.past.rewritten(loaded.path),
                signed_by=self._signer(loaded.path),
            )
            for loaded in self.records.all(WithdrawalAnswer, lora.scope)
            if (loaded.record.lora_id, loaded.record.release_id) == (lora.record.id, release.id)
        )

    def _blinds(self, lora: Loaded[Lora], release: Release) -> tuple[GivenBlind, ...]:
        found = []
        for loaded in self.records.all(BlindReview, lora.scope):
            review = loaded.record
            if (review.lora_id, review.release_id) != (lora.record.id, release.id):
                continue
            plan = self.records.path(BlindPlan.KIND, lora.scope, review.plan_id)
            opponent = review.against
            found.append(
                GivenBlind(
                    review=review,
                    plan=self._found(BlindPlan, [lora.scope], review.plan_id),
                    opponent=self._found(Evaluation, [lora.scope], opponent.evaluation_id)
                    if opponent.kind == "release"
                    else None,
                    committed_by=self._committer(loaded.path),
                    rewritten=self.past.rewritten(loaded.path)
                    or (plan.is_file() and self.past.rewritten(plan)),
                    signed_by=self._signer(loaded.path),
                )
            )
        return tuple(found)

    def _open_pages(
        self, evaluation: Evaluation | None, scope: Scope, blinds: tuple[GivenBlind, ...]
    ) -> int:
        answered = {one.review.plan_id for one in blinds}
        return sum(
            loaded.record_id not in answered
            for loaded in self.records.all(BlindPlan, scope)
            if evaluation is not None and loaded.record.evaluation_id == evaluation.id
        )

    def _waivers(self, lora: Loaded[Lora], release: Release) -> tuple[GivenWaiver, ...]:
        return tuple(
            GivenWaiver(
                waiver=loaded.record,
                committed_by=self._committer(loaded.path),
                rewritten=self.past.rewritten(loaded.path),
                signed_by=self._signer(loaded.path),
            )
            for loaded in self.records.all(Waiver, lora.scope)
            if (loaded.record.lora_id, loaded.record.release_id) == (lora.record.id, release.id)
        )

    def _signer(self, path: Path) -> str | Unproven:
        found = self.past.signature(path)
        if found.state == "unknown":
            return Unproven(
                "a signature cannot be judged here: its key is not known, or not trusted"
            )
        return found.signer if found.state == "good" else ""

    def _committer(self, path: Path) -> str | Unproven:
        if not self.past.known:
            return Unproven("without a Git repository nobody knows who brought a review")
        author = self.past.first_author(path)
        if author and self.past.shallow:
            return Unproven("this clone lacks the older history, which says who brought a review")
        return author

    def _found(self, kind: type[R], scopes: list[Scope], record_id: str) -> R | None:
        for scope in scopes:
            if record_id and self.records.exists(kind, scope, record_id):
                return self.records.read(kind, scope, record_id).record
        return None
