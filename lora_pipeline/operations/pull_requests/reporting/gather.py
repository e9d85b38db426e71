"""Everything a report tells, gathered from two moments of a repository. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from lora_pipeline.catalog.records import Asset
from lora_pipeline.datasets.diff.view import Side, view_of
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.errors import PipelineError, RecordError
from lora_pipeline.foundation.record import Record
from lora_pipeline.operations.pull_requests.reporting.loras import lora_sentences
from lora_pipeline.operations.pull_requests.reporting.view import (
    AssetChanges,
    DatasetChange,
    GridChange,
    LoraChange,
    ReportView,
)
from lora_pipeline.operations.workspace.validate import validate_workspace
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.history import evidence_of
from lora_pipeline.releases.judging import judge
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.git import history as git_history
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.git.moments import (
    ChangedFile,
    ChangeKind,
    Moment,
    changed_files,
    contents_at,
)
from lora_pipeline.workspace.layout import RecordPlace, Scope, place_of
from lora_pipeline.workspace.record_bytes import record_from
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import PIPELINE_FILE

R = TypeVar("R", bound=Record)
_RULES = ("config/gates/", "config/suites/", "config/presets/")
_TOLD = ("dataset", "lora", "evaluation", "review", "asset", "project")  # kinds told one by one
_MOST_SHEET = 8 * 1024 * 1024  # bytes


class _Changed(msgspec.Struct, frozen=True):
    """A record that is not the same on both sides."""

    place: RecordPlace
    file: ChangedFile
    before: bytes | None
    after: bytes | None


@dataclass
class _Gathered:
    workspace: Workspace
    root: Path
    older: Moment
    newer: Moment
    files: list[ChangedFile]
    unreadable: list[str] = field(default_factory=list)
    reader: EvidenceReader = field(init=False)

    def __post_init__(self) -> None:
        """Read what several releases share once."""
        self.reader = EvidenceReader(self.workspace, self.workspace.records)

    def changed(self, kind: str) -> Iterator[_Changed]:
        """Yield the records of a kind with their bytes on both sides."""
        found = [(one, place) for one in self.files if (place := self.place_of(one)) is not None]
        wanted = [(one, place) for one, place in found if place.kind == kind]
        names = [one.name for one, _ in wanted]
        before = contents_at(self.root, self.older, names)
        after = contents_at(self.root, self.newer, names)
        for (one, place), *sides in zip(wanted, before, after, strict=True):
            yield _Changed(place, one, *sides)

    def place_of(self, file: ChangedFile) -> RecordPlace | None:
        path, root = self.root / file.name, self.workspace.data_root
        return place_of(path.relative_to(root).as_posix()) if path.is_relative_to(root) else None

    def both(self, kind: type[R], one: _Changed) -> tuple[R | None, R | None] | None:
        """Return the record on both sides; None when either cannot be read, which is noted."""
        try:
            before, after = (
                record_from(kind, data, one.file.name) if data is not None else None
                for data in (one.before, one.after)
            )
        except RecordError as error:
            self.unreadable.append(error.message)
            return None
        return before, after


def gather_report(workspace: Workspace, root: Path, older: Moment, newer: Moment) -> ReportView:
    """Return everything that changed between two moments.

    What the gate says, and what ``lora validate`` finds, is told of what is checked out: of
    another commit nobody has the files.

    Raises:
        RepositoryError: When Git says no.
    """
    top = git_history.name_in(root, workspace.root)
    files = changed_files(root, older, newer, [top or "."])
    found = _Gathered(workspace, root, older, newer, files)
    checked_out = newer.commit in ("", git.head(root))
    grids, reviews = list(_grids(found)), list(_reviews(found))
    return ReportView(
        older=older,
        newer=newer,
        rules=tuple(_rules(found)),
        datasets=tuple(_datasets(found)),
        loras=tuple(_loras(found, grids, reviews, checked_out=checked_out)),
        grids=tuple(grid for _, grid in grids),
        reviews=tuple(review for _, review in reviews),
        assets=_assets(found),
        others=_others(found),
        unreadable=tuple(found.unreadable),
        findings=_findings(workspace) if checked_out else None,
        uncommitted=_uncommitted(root, newer, [top or "."]) if checked_out else 0,
    )


def _uncommitted(root: Path, newer: Moment, pathspecs: list[str]) -> int:
    return len(changed_files(root, newer, Moment("", ""), pathspecs)) if newer.commit else 0


def _rules(found: _Gathered) -> Iterator[ChangedFile]:
    inside = f"{git_history.name_in(found.root, found.workspace.root)}/".removeprefix("./")
    for one in found.files:
        name = one.name.removeprefix(inside)
        place = found.place_of(one)
        is_project = place is not None and place.kind == "project" and one.kind == "changed"
        if name.startswith(_RULES) or name == PIPELINE_FILE or is_project:
            yield one


def _datasets(found: _Gathered) -> Iterator[DatasetChange]:
    for one in found.changed(Manifest.KIND):
        both = found.both(Manifest, one)
        if both is None or both == (None, None):
            continue
        older = Side(found.older.label, both[0], found.older.commit)
        newer = Side(found.newer.label, both[1], found.newer.commit)
        yield DatasetChange(one.place.scope, view_of(one.place.record_id, older, newer))


def _grids(found: _Gathered) -> Iterator[tuple[Scope, GridChange]]:
    for one in found.changed(Evaluation.KIND):
        both = found.both(Evaluation, one)
        if both is None or both[1] is None:
            continue
        sheet = one.file.name.removesuffix(".json") + ".webp"
        [data] = contents_at(found.root, found.newer, [sheet])
        is_sheet = data is not None and data[:4] == b"RIFF" and len(data) <= _MOST_SHEET
        grid = GridChange(both[1], one.file.kind, data if data and is_sheet else b"")
        yield one.place.scope, grid


def _reviews(found: _Gathered) -> Iterator[tuple[Scope, Review]]:
    for one in found.changed(Review.KIND):
        both = found.both(Review, one)
        if both is None:
            continue
        before, after = both
        if before is not None:
            found.unreadable.append(
                f"{one.file.name}: a verdict was {'changed' if after else 'removed'}; "
                "no command does that"
            )
        if after is not None:
            yield one.place.scope, after


def _loras(
    found: _Gathered,
    grids: Sequence[tuple[Scope, GridChange]],
    reviews: Sequence[tuple[Scope, Review]],
    *,
    checked_out: bool,
) -> Iterator[LoraChange]:
    releases: dict[tuple[Scope, str], dict[str, None]] = {}
    sentences: dict[tuple[Scope, str], list[str]] = {}
    for one in found.changed(Lora.KIND):
        both = found.both(Lora, one)
        if both is None:
            continue
        key = (one.place.scope, one.place.record_id)
        sentences[key] = lora_sentences(*both)
        releases[key] = _in_question(*both)
    subjects = [
        (scope, grid.evaluation.lora_id, grid.evaluation.release_id) for scope, grid in grids
    ]
    subjects += [(scope, review.lora_id, review.release_id) for scope, review in reviews]
    for scope, lora_id, release_id in subjects:
        releases.setdefault((scope, lora_id), {})[release_id] = None
    for key, named in sorted(releases.items(), key=lambda one: (str(one[0][0]), one[0][1])):
        decisions = _decisions(found, *key, named) if checked_out else ()
        yield LoraChange(*key, tuple(sentences.get(key, ())), tuple(decisions))


def _in_question(before: Lora | None, after: Lora | None) -> dict[str, None]:
    """Return the releases that a reviewer has to think about: the active one, and new ones."""
    if after is None:
        return {}
    known = {one.id: one for one in before.releases} if before else {}
    named = dict.fromkeys(filter(None, [after.active_release_id]))
    return named | {one.id: None for one in after.releases if known.get(one.id) != one}


def _decisions(
    found: _Gathered, scope: Scope, lora_id: str, releases: dict[str, None]
) -> Iterator[dict[str, object]]:
    home: ScopeName = "project" if scope.project_id else "baseline"
    try:
        loaded = find_lora(found.workspace, lora_id, project=scope.project_id, scope=home)
    except PipelineError as error:
        found.unreadable += [f"{lora_id} {release_id}: {error.message}" for release_id in releases]
        return
    lora = loaded.record
    for release_id in releases:
        try:
            release = require_release(lora, release_id)
            bound = evidence_of(lora.history, release_id)
            judged = judge(found.reader, loaded, release, entry=bound)
        except PipelineError as error:
            found.unreadable.append(f"{lora_id} {release_id}: {error.message}")
            continue
        yield {**judged.decision.to_dict(), "active": release_id == lora.active_release_id}


def _assets(found: _Gathered) -> AssetChanges:
    counts: Counter[str] = Counter()
    decided: Counter[str] = Counter()
    for one in found.changed(Asset.KIND):
        counts[one.file.kind] += 1
        both = found.both(Asset, one)
        if both is not None and both[1] is not None:
            decided.update(_decided(both[0], both[1]))
    order: tuple[ChangeKind, ...] = ("came", "went", "changed")
    return AssetChanges({kind: counts[kind] for kind in order if counts[kind]}, decided)


def _decided(before: Asset | None, after: Asset) -> Iterator[str]:
    known = {one.id: one.status for one in before.versions} if before else {}
    for version in after.versions:
        if version.status != known.get(version.id) and version.status not in ("draft", "review"):
            yield version.status
    rights = before.rights if before else None
    if after.rights.withdrawn_at and not (rights and rights.withdrawn_at):
        yield "withdrawn"
    if rights and after.rights.training != rights.training:
        yield f"training {after.rights.training}"


def _others(found: _Gathered) -> dict[str, int]:
    places = [place for one in found.files if (place := found.place_of(one)) is not None]
    return dict(sorted(Counter(one.kind for one in places if one.kind not in _TOLD).items()))


def _findings(workspace: Workspace) -> list[dict[str, object]]:
    return list(validate_workspace(workspace).data["findings"])
