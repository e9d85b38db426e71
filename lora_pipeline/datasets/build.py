"""From records and bytes to the content of a manifest. Reads, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from lora_pipeline.datasets.described import Described, Describing
from lora_pipeline.datasets.limits import Drawn, within_limits
from lora_pipeline.datasets.manifest import content_hash, in_order, summarise
from lora_pipeline.datasets.picks import Reason
from lora_pipeline.datasets.proof import prove_images
from lora_pipeline.datasets.proving import index_path
from lora_pipeline.datasets.records import Item, ProvenanceSummary
from lora_pipeline.datasets.remembered import Remembered
from lora_pipeline.datasets.rules import DatasetRule
from lora_pipeline.datasets.selection import LeftOut, Sieve, Step, duplicates, require_some
from lora_pipeline.datasets.sources import read_candidates, source_projects
from lora_pipeline.datasets.split import with_splits
from lora_pipeline.engine.many_objects import many_objects
from lora_pipeline.foundation.errors import CaptionInvalidError
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.stat_index import StatIndex


class Draft(msgspec.Struct, frozen=True):
    """What a manifest would hold.

    Attributes:
        items: The images, in the order of the file.
        summary: Who made them and under which licences they stand.
        content_hash: Digest of what training sees.
        left_out: Every asset that is not in, with its reason.
        steps: What each filter did, in order.
        considered: Number of assets looked at.
        findings: What is wrong with the files of assets that were left out.
        index: Knows every image that was looked at.
    """

    items: tuple[Item, ...]
    summary: ProvenanceSummary
    content_hash: str
    left_out: tuple[LeftOut, ...]
    steps: tuple[Step, ...]
    considered: int
    findings: tuple[Finding, ...]
    index: StatIndex

    @property
    def barred(self) -> list[LeftOut]:
        """The assets that match, but may not or cannot be used."""
        return [one for one in self.left_out if one.matches]

    @property
    def matching(self) -> int:
        """Number of assets that are what was asked for."""
        return len(self.items) + len(self.barred)


def draft_dataset(
    workspace: Workspace, scope: Scope, rule: DatasetRule, stands: Iterable[Item] = ()
) -> Draft:
    """Return what a manifest of that rule would hold.

    Assets pass one by one from their record to their line of the manifest, while other cores
    hash the images of those before; only the lines are kept.

    Args:
        workspace: The workspace.
        scope: Where the manifest will stand.
        rule: The rule.
        stands: The lines of the manifest that stands there; they save memory, and no more.

    Raises:
        SelectionEmptyError: When a filter leaves nothing over; names it.
        CaptionInvalidError: When a caption would be empty or hold what it may not.
        RecordError: At the first record that is not valid.
    """
    with many_objects():
        return _draft(workspace, scope, rule, stands)


def _draft(workspace: Workspace, scope: Scope, rule: DatasetRule, stands: Iterable[Item]) -> Draft:
    projects = source_projects(workspace, scope, rule.selection)
    start = ", ".join(projects) or "the workspace"
    sieve = Sieve(rule.selection)
    index = StatIndex.load(index_path(workspace))
    remembered = Remembered(workspace, projects, rule, stands)
    passed: list[Described] = []
    described = _described(workspace, projects, rule, sieve, remembered, passed)
    proven = prove_images(workspace, described, index)
    steps = sieve.steps(lambda: read_candidates(workspace, projects))
    require_some(steps or [Step("", 0, 0)], start=start)
    if proven.left_out:
        before = len(proven.images) + len(proven.left_out)
        steps.append(Step("files as imported", before, len(proven.images), proven.findings[0].fix))
    require_some(steps, start=start)
    _require_captions(proven.images)
    kept, repeats = _without_duplicates(proven.images)
    kept, beyond, limits = _within_limits(kept, rule)
    require_some([*steps, *limits], start=start)
    lines = (one.item for one in kept)
    background = rule.normalization.background
    items = in_order(with_splits(workspace, lines, rule.split, background))
    if not workspace.dry_run:
        index.save()
        remembered.keep(sieve, passed)
    return Draft(
        items=items,
        summary=summarise((one.author for one in kept), (one.source for one in kept), items),
        content_hash=content_hash(items, rule.normalization, rule.split),
        left_out=(*sieve.left_out, *proven.left_out, *repeats, *beyond),
        steps=(*steps, *limits),
        considered=sieve.considered,
        findings=proven.findings,
        index=index,
    )


def _described(
    workspace: Workspace,
    projects: list[str],
    rule: DatasetRule,
    sieve: Sieve,
    remembered: Remembered,
    passed: list[Described],
) -> Iterator[Described]:
    """Yield every image that the rule chooses, and add it to ``passed``.

    Records that are as they were are not read.
    """

    def is_known(project_id: str, asset_id: str) -> bool:
        outcome = remembered.recall(sieve, project_id, asset_id)
        if outcome is not None and outcome.item is not None:
            sieve.count_one_that_passes()
            passed.append(outcome.described(outcome.item))
        return outcome is not None

    candidates = read_candidates(workspace, projects, is_known)
    told = 0
    for one in Describing(workspace, rule).each(sieve.through(candidates)):
        yield from passed[told:]
        passed.append(one)
        told = len(passed)
        yield one
    yield from passed[told:]


def _require_captions(images: Sequence[Described]) -> None:
    errors = [one.objection for one in images if one.objection is not None]
    if not errors:
        return
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise CaptionInvalidError(
        f"{first.message}{more}",
        hint=first.hint,
        violations=[violation for error in errors for violation in error.violations],
    )


def _without_duplicates(images: Sequence[Described]) -> tuple[list[Described], list[LeftOut]]:
    repeats = duplicates(images, _duplicate_key)
    kept = [one for index, one in enumerate(images) if index not in repeats]
    left = []
    for index, kept_index in sorted(repeats.items()):
        original = images[kept_index]
        text = f"duplicate of {original.title} ({original.item.asset_id})"
        left.append(_left_out(images[index], Reason("duplicate", text, "exact duplicate")))
    return kept, left


def _within_limits(
    images: Sequence[Described], rule: DatasetRule
) -> tuple[list[Described], list[LeftOut], tuple[Step, ...]]:
    limited = within_limits(
        [Drawn(one.item.asset_id, one.item.sha256, one.item.tags, one.rating) for one in images],
        rule.selection,
    )
    left = [_left_out(images[index], why) for index, why in sorted(limited.left_out.items())]
    return [images[index] for index in limited.kept], left, limited.steps


def _left_out(one: Described, reason: Reason) -> LeftOut:
    return LeftOut(one.item.asset_id, one.title, reason, matches=True)


def _duplicate_key(one: Described) -> tuple[str, ...]:
    # Content decides which of several is kept, the better described one first, so that a
    # workspace that imported the same files in another order keeps the same. Only between
    # equals the id decides.
    item = one.item
    return (
        item.sha256,
        f"{10_000 - len(item.tags):05}",
        item.caption,
        "\n".join(item.tags),
        item.license,
        item.asset_id,
    )
