"""Put evaluations in order: states that their cells contradict, and grids that nobody needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

from lora_pipeline.evaluation.finishing import sheet_path
from lora_pipeline.evaluation.grid import problems_of_grid
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.rendering import private_folder
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import LockedError, RecordNotFoundError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.evaluation.till import settle_left
from lora_pipeline.releases.lookup import ScopeName, scope_of
from lora_pipeline.training.records import Expense
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import FOLDERS, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def normalize_evaluations(
    workspace: Workspace, *, project: str | None = None, scope: ScopeName = "project"
) -> Result:
    """Write the state that each evaluation has by its cells, where the record says another one.

    A record of the base format is judged by its outputs, one for each prompt. A grid of ours
    is never called complete here: that needs its pictures, and ``lora eval grid`` does it.

    Args:
        workspace: The workspace.
        project: Project of the evaluations; else the one in use.
        scope: ``baseline`` for the shared ones.

    Raises:
        RecordError: When an evaluation is not a valid record.
    """
    place = scope_of(workspace, project, scope)
    changes = Changes(workspace)
    changed: list[dict[str, Any]] = []
    warnings: list[str] = []
    for loaded in workspace.records.all(Evaluation, place):
        record = loaded.record
        status = _status(record)
        if record.status == "complete" and record.cells and problems_of_grid(record):
            warnings.append(f"{record.id} is no whole grid: {problems_of_grid(record)[0]}")
        elif status != record.status:
            changed.append({"evaluationId": record.id, "from": record.status, "to": status})
            document = strict_json.load(loaded.path) | {"status": status}
            changes.rewrite(Evaluation, loaded.path, document, based_on=loaded.digest)
    return Result(
        data={"changed": changed},
        reasoning=f"Corrected the state of {len(changed)} evaluations of {place}",
        warnings=warnings,
        written=tuple(changes.apply()),
        dry_run=workspace.dry_run,
    )


def cleanup_evaluations(
    workspace: Workspace,
    evaluation: str = "",
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Remove grids that nobody needs: unfinished ones beside a newer whole one.

    An evaluation that any other record names (a verdict, a promotion, a waiver) always stays.
    The pictures stay in the store until ``lora store gc`` finds that nothing names them.

    Args:
        workspace: The workspace.
        evaluation: One that is to go, whole or not; else those that nobody needs.
        project: Project of the evaluations; else the one in use.
        scope: ``baseline`` for the shared ones.

    Raises:
        RecordNotFoundError: When there is no evaluation of that id.
        RecordError: When an evaluation is not a valid record.
        LockedError: When it is being rendered.
    """
    place = scope_of(workspace, project, scope)
    every = list(workspace.records.all(Evaluation, place))
    chosen = [one for one in every if one.record_id == evaluation] if evaluation else []
    if evaluation and not chosen:
        raise RecordNotFoundError(
            f"no evaluation {evaluation!r} in {place}", hint="lora eval show LORA names them"
        )
    chosen = chosen or [one for one in every if _is_superseded(one.record, every)]
    named = _named_elsewhere(workspace, place, {one.record_id for one in chosen})
    if evaluation and named:
        return Result(
            data={"removed": [], "kept": sorted(named)},
            reasoning=f"{evaluation} stays",
            refusal=Refusal(
                "evaluation_in_use", f"{evaluation} is evidence: {named[evaluation]} names it"
            ),
        )
    going = [one for one in chosen if one.record_id not in named]
    changes = Changes(workspace)
    for one in going:
        _require_idle(workspace, one.record_id)
        changes.remove(one)
        if sheet_path(one).is_file():
            changes.remove_file(sheet_path(one))
    written = changes.apply()
    if not workspace.dry_run:
        written += settle_left(workspace)  # what was ordered for them stays paid
        for one in going:
            shutil.rmtree(workspace.runtime / "render" / one.record_id, ignore_errors=True)
    return Result(
        data={
            "removed": [_facts(one.record) for one in going],
            "kept": [{"evaluationId": key, "namedBy": value} for key, value in named.items()],
        },
        reasoning=f"Removed {len(going)} evaluations of {place}",
        suggestions=("lora store gc",) if going else (),
        written=tuple(written),
        dry_run=workspace.dry_run,
    )


def _status(record: Evaluation) -> str:
    if record.suite is None:  # the base format: one output for each prompt
        if record.prompts and len(record.outputs) >= len(record.prompts):
            return "complete"
        return "running" if record.outputs else "pending"
    if record.status == "complete":
        return "complete"
    return "running" if any(cell.status != "pending" for cell in record.cells) else "pending"


def _is_superseded(record: Evaluation, every: list[Loaded[Evaluation]]) -> bool:
    """Return whether an unfinished grid has a whole and newer one of the same release."""
    if record.status == "complete":
        return False
    return any(
        other.record.status == "complete"
        and (other.record.lora_id, other.record.release_id, other.record.suite_digest)
        == (record.lora_id, record.release_id, record.suite_digest)
        and other.record.created_at >= record.created_at
        for other in every
    )


def _named_elsewhere(workspace: Workspace, place: Scope, ids: set[str]) -> dict[str, str]:
    """Return which of these a file of the scope names; better one too many than one too few."""
    named: dict[str, str] = {}
    if not ids:
        return named
    for path in _records(workspace, place):
        data = strict_json.read_bytes(path)
        for one in ids - set(named):
            if path.stem != one and one.encode() in data:
                named[one] = workspace.relative(path)
    return named


def _records(workspace: Workspace, place: Scope) -> Iterator[Any]:
    """Yield the records that could rest on an evaluation; what it cost does not."""
    folder = workspace.data_root / place.folder
    return (
        path
        for path in sorted(folder.rglob("*.json"))
        if path.parent != folder / FOLDERS[Expense.KIND]
    )


def _require_idle(workspace: Workspace, evaluation_id: str) -> None:
    if not (workspace.runtime / "render" / evaluation_id).is_dir():
        return
    try:
        with private_folder(workspace, evaluation_id):
            pass
    except LockedError as error:
        raise LockedError(error.message, hint="wait for it to end") from error


def _facts(record: Evaluation) -> dict[str, Any]:
    return {
        "evaluationId": record.id,
        "loraId": record.lora_id,
        "releaseId": record.release_id,
        "status": record.status,
        "createdAt": record.created_at,
    }
