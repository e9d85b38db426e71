"""The records that a dataset is built from: assets with their specs and rights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import UNSET

from lora_pipeline.catalog.records import Asset, Project
from lora_pipeline.catalog.rights.training import license_of, may_train
from lora_pipeline.datasets.picks import Candidate, Reason
from lora_pipeline.datasets.records import Selection
from lora_pipeline.datasets.source_worker import Read, Request, reader
from lora_pipeline.engine.children import ask_each, split_few
from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_WORKER = "lora_pipeline.datasets.source_worker"


def source_projects(workspace: Workspace, scope: Scope, selection: Selection) -> list[str]:
    """Return the projects whose assets a manifest of ``scope`` is built from.

    Raises:
        RecordNotFoundError: When the rule names a project that does not exist.
    """
    if scope.project_id:
        return [scope.project_id]
    known = workspace.records.project_ids()
    named = () if selection.projects is UNSET else selection.projects
    for project_id in named:
        if project_id not in known:
            near = did_you_mean(project_id, known)
            raise RecordNotFoundError(
                f"no project {project_id!r}", hint=f"did you mean {near}?" if near else None
            )
    return sorted(named) or known


def read_candidates(
    workspace: Workspace,
    project_ids: list[str],
    known: Callable[[str, str], bool] = lambda *_: False,
) -> Iterator[Candidate]:
    """Yield every asset of the projects, each record read once.

    Args:
        workspace: The workspace.
        project_ids: The projects.
        known: Whether nobody needs the asset of a project and an id; it is not read then.

    Raises:
        RecordError: At the first record that is not valid.
    """
    for project_id in project_ids:
        yield from _candidates(workspace, Scope(project_id), known)


def _candidates(
    workspace: Workspace, scope: Scope, known: Callable[[str, str], bool]
) -> Iterator[Candidate]:
    project_id = str(scope.project_id)
    rights = workspace.records.read(Project, scope, "project").record.rights
    ids = (
        asset_id
        for asset_id in workspace.records.ids(Asset, scope)
        if not known(project_id, asset_id)
    )
    for asset, spec in _read(workspace, project_id, ids):
        objection = may_train(asset, rights)
        yield Candidate(
            asset=asset,
            spec=spec,
            barred=Reason(objection.code, objection.text, objection.summary) if objection else None,
            license=license_of(asset),
        )


def _read(workspace: Workspace, project_id: str, ids: Iterator[str]) -> Iterator[Read]:
    """Yield assets with their specs, in order; many are read on every core."""
    root = str(workspace.data_root)
    read = reader(root, project_id)
    few, ids = split_few(ids)
    if few:
        yield from filter(None, map(read, ids))
        return

    def request(batch: Sequence[str]) -> bytes:
        return msgspec.json.encode(Request(os.fsencode(root), project_id, list(batch)))

    for asset_id, answer in ask_each(_WORKER, ids, request, _answers):
        found = answer or read(asset_id)
        if found is not None:
            yield found


def _answers(reply: bytes, _: Sequence[str]) -> list[Read | None]:
    return msgspec.json.decode(reply, type=list[Read | None])
