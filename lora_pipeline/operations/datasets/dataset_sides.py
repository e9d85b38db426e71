"""The two manifests of a comparison: two datasets, or one at two moments of its history."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from lora_pipeline.datasets.diff.view import Side
from lora_pipeline.datasets.lookup import find_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    RecordError,
    RecordNotFoundError,
    RepositoryError,
)
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.workspace.git import history as git_history
from lora_pipeline.workspace.git.moments import Moment, moments
from lora_pipeline.workspace.layout import SHARED, RecordPlace, Scope, place_of
from lora_pipeline.workspace.record_bytes import record_from
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]


class Sides(msgspec.Struct, frozen=True):
    """What is compared.

    Attributes:
        name: The dataset, or both.
        before: The older manifest.
        after: The newer one.
        scope: Where the newer one stands.
        revision: What was asked of Git, or None when two datasets are compared.
    """

    name: str
    before: Side
    after: Side
    scope: Scope
    revision: str | None


def two_datasets(
    workspace: Workspace, older: str, newer: str, *, project: str | None, scope: ScopeName
) -> Sides:
    """Return two manifests as they stand now.

    Raises:
        RecordNotFoundError: When there is no such manifest.
        RecordError: When one is not valid.
    """
    place = workspace.scope(project) if scope == "project" else SHARED
    before, after = (find_manifest(workspace, place, name) for name in (older, newer))
    return Sides(
        f"{before.record_id} → {after.record_id}",
        Side(before.record_id, before.record),
        Side(after.record_id, after.record),
        after.scope,
        None,
    )


def one_in_git(
    workspace: Workspace, name: str, revision: str, *, project: str | None, scope: ScopeName
) -> Sides:
    """Return a manifest at two moments; it may be missing at one of them.

    Args:
        workspace: The workspace.
        name: Id or path of the manifest.
        revision: ``A..B``, ``A...B`` (from where they parted), or one that is compared with
            the work tree.
        project: Project to look in.
        scope: ``baseline`` for a shared manifest.

    Raises:
        RepositoryError: When there is no repository or no such revision.
        RecordNotFoundError: When the manifest was there at neither moment.
        RecordError: When what stood there is not valid.
    """
    try:
        root = git_history.require_repository(workspace.root)
    except RepositoryError as error:
        raise RepositoryError(
            f"{error.message}, so it has no past to compare with",
            hint=f"git init, or compare two datasets: lora dataset diff {name} OTHER",
        ) from error
    older, newer = moments(root, revision)
    for place in _places(workspace, name, project, scope):
        before, after = (_at(workspace, root, place, one) for one in (older, newer))
        if before or after:
            return Sides(
                place.record_id,
                Side(older.label, before, older.commit),
                Side(newer.label, after, newer.commit),
                place.scope,
                revision,
            )
    raise _not_there(workspace, root, name, project, scope, (older, newer))


def _places(
    workspace: Workspace, name: str, project: str | None, scope: ScopeName
) -> list[RecordPlace]:
    """Return where a manifest of that name would stand, now or then."""
    if "/" in name or name.endswith(".json"):
        path, root = Path(workspace.root, name), workspace.data_root
        place = place_of(path.relative_to(root).as_posix()) if path.is_relative_to(root) else None
        if place is None or place.kind != Manifest.KIND:
            raise RecordNotFoundError(
                f"{name} is no manifest of this workspace",
                hint="they stand in data/projects/PROJECT/datasets and data/shared/datasets",
            )
        return [place]
    where = workspace.scope(project) if scope == "project" else SHARED
    return [RecordPlace(Manifest.KIND, one, name) for one in workspace.visible(where)]


def _at(workspace: Workspace, root: Path, place: RecordPlace, moment: Moment) -> Manifest | None:
    if not moment.commit:
        if not workspace.records.exists(Manifest, place.scope, place.record_id):
            return None
        return workspace.records.read(Manifest, place.scope, place.record_id).record
    path = workspace.records.path(Manifest.KIND, place.scope, place.record_id)
    name = git_history.name_in(root, path)
    data = git_history.file_in(root, moment.commit, name)
    if data is None:
        return None
    shown = f"{place.record_id}.json at {moment.label}"
    try:
        return record_from(Manifest, data, shown)
    except RecordError as error:
        error.hint = f"choose another revision: git log --oneline -- {name}"
        raise


def _not_there(
    workspace: Workspace,
    root: Path,
    name: str,
    project: str | None,
    scope: ScopeName,
    asked: tuple[Moment, Moment],
) -> RecordNotFoundError:
    known: set[str] = set()
    for place in _places(workspace, name, project, scope):
        known |= set(workspace.records.ids(Manifest, place.scope))
        folder = workspace.records.path(Manifest.KIND, place.scope, "x").parent
        for moment in asked:
            if moment.commit:
                found = git_history.files_in(root, moment.commit, git_history.name_in(root, folder))
                known |= {one.removesuffix(".json") for one in found if one.endswith(".json")}
    near = did_you_mean(name, sorted(known))
    where = " or ".join(f"at {one.label}" if one.commit else "here" for one in asked)
    hint = f"did you mean {near}?" if near else "lora dataset list"
    return RecordNotFoundError(f"no dataset {name!r} {where}", hint=hint)


def require_one_question(other_id: str | None, revision: str | None) -> None:
    """Check that a comparison asks for another manifest or for Git, not for both.

    Raises:
        ArgumentInvalidError: When it asks for both.
    """
    if other_id and revision:
        raise ArgumentInvalidError("compare with another manifest or with a commit, not both")
