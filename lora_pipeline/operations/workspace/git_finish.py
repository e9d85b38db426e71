"""Confirm manifests that were merged: build them again from the merged rule and assets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from lora_pipeline.datasets.diff.changes import compare
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.datasets.dataset import build_dataset
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def finish_merges(workspace: Workspace, *, project: str | None = None) -> Result:
    """Build every manifest again that a merge has left unconfirmed.

    One whose images are not all on this machine, or whose rule chooses nothing any more, stays
    as it is, with the reason: a build would leave out what is only missing here.

    Args:
        workspace: The workspace.
        project: Look at this project only; else at all of them and at the shared manifests.

    Raises:
        RecordNotFoundError: When the project does not exist.
        RecordError: When a manifest cannot be read, as while it holds an unresolved merge.
    """
    chosen = project or workspace.project
    scopes = [workspace.scope(chosen)] if chosen else workspace.records.scopes()
    confirmed: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    written: list[str] = []
    for loaded in _unconfirmed(workspace, scopes):
        problem, built = _build(workspace, loaded)
        if built is None:
            waiting.append({**_place(workspace, loaded), "reason": problem})
            continue
        written += built.written
        confirmed.append({**_place(workspace, loaded), **_compared(workspace, loaded, built)})
    return Result(
        data={"confirmed": confirmed, "waiting": waiting},
        reasoning=_reasoning(confirmed, waiting),
        suggestions=_suggestions(workspace, waiting, written),
        written=written,
        dry_run=workspace.dry_run,
        refusal=_refusal(waiting),
    )


def _unconfirmed(workspace: Workspace, scopes: list[Scope]) -> Iterator[Loaded[Manifest]]:
    for scope in scopes:
        # All at once: a build below changes what is being listed.
        for loaded in list(workspace.records.all(Manifest, scope)):
            if loaded.record.unconfirmed_merge is not None:
                yield loaded


def _build(workspace: Workspace, loaded: Loaded[Manifest]) -> tuple[str, Result | None]:
    """Build a manifest by its own rule; return why not, or the result."""
    arguments: dict[str, Any] = (
        {"scope": "baseline"} if loaded.scope == SHARED else {"project": loaded.scope.project_id}
    )
    # The project of this call must not narrow what a shared manifest takes its images from.
    here = replace(workspace, project=None)
    try:
        tried = build_dataset(replace(here, dry_run=True), loaded.record_id, **arguments)
        findings = tried.data["findings"]
        if findings:
            first = f"{findings[0]['message']} ({findings[0]['fix']})"
            more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
            return f"{first}{more}", None
        if workspace.dry_run:
            return "", tried
        return "", build_dataset(here, loaded.record_id, **arguments)
    except PipelineError as error:
        return error.message, None


def _compared(workspace: Workspace, loaded: Loaded[Manifest], built: Result) -> dict[str, Any]:
    same = built.data["contentHash"] == loaded.record.content_hash
    difference = None
    if not same and not workspace.dry_run:
        after = workspace.records.read(Manifest, loaded.scope, loaded.record_id).record
        difference = compare(loaded.record, after).summary()
    return {
        "images": built.data["images"],
        "contentHash": built.data["contentHash"],
        "asMerged": same,
        "difference": difference,
    }


def _place(workspace: Workspace, loaded: Loaded[Manifest]) -> dict[str, Any]:
    return {
        "datasetId": loaded.record_id,
        "projectId": loaded.scope.project_id,
        "path": workspace.relative(loaded.path),
        "build": with_place(workspace, loaded.scope, f"lora dataset build {loaded.record_id}"),
    }


def _reasoning(confirmed: list[dict[str, Any]], waiting: list[dict[str, Any]]) -> str:
    if not confirmed and not waiting:
        return "No dataset waits for a build"
    names = ", ".join(one["datasetId"] for one in confirmed) or "nothing"
    return f"Built again after the merge: {names}"


def _suggestions(
    workspace: Workspace, waiting: list[dict[str, Any]], written: list[str]
) -> tuple[str, ...]:
    if waiting:
        return tuple(one["build"] for one in waiting[:3])
    if written and not workspace.dry_run:
        return ("git diff", f"git add {' '.join(written[:3])}")
    return ()


def _refusal(waiting: list[dict[str, Any]]) -> Refusal | None:
    if not waiting:
        return None
    first = waiting[0]
    return Refusal(
        "merge_unconfirmed",
        f"{len(waiting)} merged datasets could not be built, the first is {first['datasetId']}: "
        f"{first['reason']}",
        first["build"],
    )
