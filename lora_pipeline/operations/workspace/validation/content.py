"""What records say of themselves: digests that must be those of their content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from lora_pipeline.datasets.captions.templates import parse_template
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.datasets.verify import content_findings
from lora_pipeline.evaluation.blind.comparison import plan_digest, problem_of
from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview
from lora_pipeline.evaluation.finishing import sheet_path
from lora_pipeline.evaluation.grid import problems_of_grid
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.evaluation.reviews import is_unchanged
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import CaptionInvalidError
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.releases.evidence.record_past import RecordPast
from lora_pipeline.releases.gate.waivers import waiver_digest
from lora_pipeline.releases.records import Lora, Waiver
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_ASSETS_ROOT = "assetsRoot:"


def content_of_records(
    workspace: Workspace, records: CollectedRecords, past: RecordPast
) -> Iterator[Finding]:
    """Yield manifests, grids and reviews that were changed after they were made."""
    for manifest in records.everywhere(Manifest):
        where = workspace.relative(manifest.path)
        yield from content_findings(manifest.record, where)[1]
        yield from _template(manifest, where)
        yield from _unconfirmed(manifest, where)
        yield from _item_paths(manifest.record, where)
    for evaluation in records.everywhere(Evaluation):
        yield from _grid(workspace, evaluation)
    for review in records.everywhere(Review):
        yield from _review(workspace, past, review)
    yield from _sealed_words(workspace, records, past)
    yield from _removed_reviews(workspace, records, past)
    if past.shallow:
        yield Finding(
            "history_shallow",
            "not_proven",
            ".git",
            "this clone lacks the older history, which shows whether a review was rewritten",
            "git fetch --unshallow (fetch-depth: 0 in a CI checkout)",
        )


def _template(loaded: Loaded[Manifest], where: str) -> Iterator[Finding]:
    template = loaded.record.caption_rule.template
    if template is UNSET:
        return
    try:
        parse_template(template)
    except CaptionInvalidError as error:
        again = f"lora dataset build {loaded.record_id} --template sentence"
        yield Finding("caption_template_invalid", "error", where, error.message, again)


def _unconfirmed(loaded: Loaded[Manifest], where: str) -> Iterator[Finding]:
    merge = loaded.record.unconfirmed_merge
    if merge is None:
        return
    doubt = f", and {len(merge.undecided)} of them are in doubt" if merge.undecided else ""
    yield Finding(
        "merge_unconfirmed",
        "error",
        where,
        f"two branches came together in it, and no build has confirmed its images since{doubt}",
        "lora git finish",
    )


def _item_paths(manifest: Manifest, where: str) -> Iterator[Finding]:
    for item in manifest.items:
        reason = unsafe_reason(item.path.removeprefix(_ASSETS_ROOT))
        if reason:
            yield Finding(
                "path_unsafe", "error", where, f"item {item.asset_id}: its path {reason}", ""
            )


def _grid(workspace: Workspace, loaded: Loaded[Evaluation]) -> Iterator[Finding]:
    evaluation, where = loaded.record, workspace.relative(loaded.path)
    name = f"{evaluation.lora_id} {evaluation.release_id}"
    if evaluation.status != "complete":
        if evaluation.suite is not None:
            done = sum(cell.status == "done" for cell in evaluation.cells)
            yield Finding(
                "grid_unfinished",
                "info",
                where,
                f"{done} of {len(evaluation.cells)} cells are rendered",
                f"lora eval grid {name}",
            )
        return
    # Grids of the base format hold no cells; nothing can be computed from them.
    problems = problems_of_grid(evaluation) if evaluation.cells else []
    for problem in problems:
        yield Finding(
            "grid_edited", "error", where, problem, f"restore it from Git, or lora eval grid {name}"
        )
    sheet = sheet_path(loaded)
    if evaluation.sheet_sha256 and not sheet.is_file():
        yield Finding(
            "sheet_missing", "warning", where, f"the contact sheet {sheet.name} is not there",
            f"git checkout -- {workspace.relative(sheet)}",
        )  # fmt: skip
    elif evaluation.sheet_sha256 and sha256_of_file(sheet) != evaluation.sheet_sha256:
        yield Finding(
            "sheet_differs", "error", workspace.relative(sheet),
            "the contact sheet is another picture than the one that was drawn",
            f"git checkout -- {workspace.relative(sheet)}",
        )  # fmt: skip


def _review(workspace: Workspace, past: RecordPast, loaded: Loaded[Review]) -> Iterator[Finding]:
    review, where = loaded.record, workspace.relative(loaded.path)
    if not is_unchanged(review):
        yield Finding(
            "review_edited",
            "error",
            where,
            f"the review of {review.reviewer} was edited: its digest is not that of its content",
            "restore it from Git; whoever changed their mind gives another verdict",
        )
    if past.rewritten(loaded.path):
        yield Finding(
            "review_rewritten",
            "error",
            where,
            f"the Git history holds another content for the review of {review.reviewer}",
            "git log -p on the file shows who changed it; a verdict is never changed",
        )


def _sealed_words(
    workspace: Workspace, records: CollectedRecords, past: RecordPast
) -> Iterator[Finding]:
    """Yield blind reviews, their plans and waivers that are not what was written."""
    plans = {(one.scope, one.record_id): one.record for one in records.everywhere(BlindPlan)}
    written: list[tuple[Loaded[Any], str]] = [
        (one, problem_of(one.record, plans.get((one.scope, one.record.plan_id))))
        for one in records.everywhere(BlindReview)
    ]
    written += [
        (one, "" if plan_digest(one.record) == one.record.digest else "the plan was edited")
        for one in records.everywhere(BlindPlan)
    ]
    written += [
        (
            one,
            ""
            if waiver_digest(one.record) == one.record.digest
            else f"the waiver of {one.record.waived_by} was edited",
        )
        for one in records.everywhere(Waiver)
    ]
    for loaded, problem in written:
        words = problem or (
            "the Git history holds another content for it" if past.rewritten(loaded.path) else ""
        )
        if words:
            yield Finding(
                "verdict_edited",
                "error",
                workspace.relative(loaded.path),
                words,
                "restore it from Git; what a person said is never changed",
            )


def _removed_reviews(
    workspace: Workspace, records: CollectedRecords, past: RecordPast
) -> Iterator[Finding]:
    present = {one.record.digest for one in records.everywhere(Review)}
    present |= {one.record.digest for one in records.everywhere(BlindReview)}
    for lora in records.everywhere(Lora):
        for release in lora.record.releases:
            weights = release.weights.sha256 if release.weights else ""
            for review in past.removed_reviews(weights, present):
                yield _removed(
                    workspace, lora, f"the review of {review.reviewer} ({review.verdict})"
                )
            for blind in past.removed_blinds(weights, present):
                yield _removed(workspace, lora, f"the blind review of {blind.reviewer}")


def _removed(workspace: Workspace, lora: Loaded[Lora], what: str) -> Finding:
    return Finding(
        "review_removed",
        "error",
        workspace.relative(lora.path),
        f"{what} was removed",
        "restore it from Git; a verdict is never removed",
    )
