"""Finding a LoRA and its releases by what a person typed."""

from __future__ import annotations

from typing import Literal

from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]


def scope_of(workspace: Workspace, project: str | None, scope: ScopeName) -> Scope:
    """Return the scope that was asked for.

    Raises:
        RecordNotFoundError, ArgumentInvalidError: When the project does not exist, or none was
            named and there are several.
    """
    return SHARED if scope == "baseline" else workspace.scope(project)


def find_lora(
    workspace: Workspace,
    lora_id: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Loaded[Lora]:
    """Return a LoRA: the project's own, else the shared one of that id.

    Raises:
        RecordNotFoundError: When there is none; names a near one.
        ArgumentInvalidError: When no project was named and there are several.
        RecordError: When its file is not a valid record.
    """
    places = [SHARED]
    if scope == "project" and (workspace.records.project_ids() or project):
        places = workspace.visible(workspace.scope(project))
    for place in places:
        if workspace.records.exists(Lora, place, lora_id):
            return workspace.records.read(Lora, place, lora_id)
    raise _no_lora(workspace, lora_id, places)


def require_release(lora: Lora, release_id: str) -> Release:
    """Return one release of a LoRA.

    Raises:
        RecordNotFoundError: When there is none of that id; names a near one.
    """
    found = lora.release(release_id)
    if found:
        return found
    known = [release.id for release in lora.releases]
    near = did_you_mean(release_id, known)
    hint = f"lora train --lora {lora.id} --dataset ID"
    if near:
        hint = f"did you mean {near}?"
    elif known:
        hint = "there are: " + ", ".join(known[-8:])
    raise RecordNotFoundError(f"no release {release_id!r} of {lora.id}", hint=hint)


def _no_lora(workspace: Workspace, lora_id: str, places: list[Scope]) -> RecordNotFoundError:
    known = sorted({one for place in places for one in workspace.records.ids(Lora, place)})
    near = did_you_mean(lora_id, known)
    where = str(places[0])
    hint = f"lora create {lora_id} --checkpoint ID --asset-type TYPE"
    if near:
        hint = f"did you mean {near}?"
    elif known:
        hint = "there are: " + ", ".join(known[:8])
    return RecordNotFoundError(f"no LoRA {lora_id!r} in {where}", hint=hint)
