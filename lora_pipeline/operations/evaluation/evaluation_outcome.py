"""What evaluating came to, as every face says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_pipeline.evaluation.effect import doubts
from lora_pipeline.evaluation.finishing import sheet_path, sheet_png
from lora_pipeline.evaluation.grid import missing_cells, problems_of_grid
from lora_pipeline.evaluation.metrics.words import measured_facts
from lora_pipeline.evaluation.records import Cell, Evaluation, Review
from lora_pipeline.evaluation.rendering import GridReport
from lora_pipeline.evaluation.reviews import is_unchanged
from lora_pipeline.evaluation.sheet_layout import page_count
from lora_pipeline.evaluation.suites import rules_of
from lora_pipeline.evaluation.suspicion import suspicious_cells
from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError, UnsafePathError
from lora_pipeline.foundation.files import write_atomic
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.evaluation.evaluation_cost import GridEstimate
from lora_pipeline.operations.evaluation.evaluation_subject import Subject, Target
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

_PNG = b"\x89PNG\r\n\x1a\n"


def evaluation_facts(record: Evaluation) -> dict[str, Any]:
    """Return what every answer about an evaluation says."""
    return {
        "evaluationId": record.id,
        "loraId": record.lora_id,
        "releaseId": record.release_id,
        "suiteId": record.suite_id,
        "suiteDigest": record.suite_digest,
        "checkpointId": record.checkpoint_id,
        "status": record.status,
        "cellsTotal": len(record.cells),
        "cellsDone": len(record.cells) - len(missing_cells(record)),
        "renderer": record.renderer.to_dict() if record.renderer else None,
        "metrics": record.metrics.to_dict() if record.metrics else None,
        **measured_facts(record.metrics, record.cells),
        "resultDigest": record.result_digest,
    }


def rendered_result(
    workspace: Workspace,
    subject: Subject,
    loaded: Loaded[Evaluation],
    report: GridReport,
    *,
    again: str,
    png: str,
) -> Result:
    """Say what rendering came to; holes make it a refusal.

    Args:
        workspace: The workspace.
        subject: What was rendered.
        loaded: The evaluation as it now stands.
        report: What was done.
        again: The command that renders the rest.
        png: Where the sheet was written as PNG, or empty.
    """
    record, words = loaded.record, subject.target.words
    missing = missing_cells(record)
    failed = [cell for cell in missing if cell.status == "failed"]
    done = len(record.cells) - len(missing)
    refusal = None
    if failed or report.stopped:
        reason = report.stopped or f"{len(failed)} failed: {failed[0].error}"
        refusal = Refusal(
            "grid_incomplete", f"{done} of {len(record.cells)} cells have an image, {reason}", again
        )
    return Result(
        data={
            **evaluation_facts(record),
            "sheet": sheet_shown(workspace, loaded),
            "png": png,
            "rendered": report.rendered,
            "reused": report.reused,
            "kept": report.kept,
            "failed": [cell.to_dict() for cell in failed],
            "stopped": report.stopped,
        },
        reasoning=f"Rendered {done} of {len(record.cells)} cells of {words} with suite "
        f"{record.suite_id}",
        warnings=tuple(
            ([f"drawn anew: {report.restarted}"] if report.restarted else [])
            + list(report.cautions)
            + _unproven(record)
            + (doubts(record.metrics) if record.metrics else [])
        ),
        suggestions=(again,) if missing else (f"lora eval review {words}",),
        written=tuple(workspace.relative(path) for path in (loaded.path, sheet_path(loaded))),
        refusal=refusal,
    )


def _unproven(record: Evaluation) -> list[str]:
    """Say what the renderer had to take on somebody's word; the gate will not pass over it."""
    found = record.renderer.unproven if record.renderer else ()
    return [f"not proven: {one}" for one in found]


def complete_result(
    workspace: Workspace, subject: Subject, loaded: Loaded[Evaluation], *, png: str
) -> Result:
    """Say that there is nothing to render."""
    words = subject.target.words
    return Result(
        data={
            **evaluation_facts(loaded.record),
            "sheet": sheet_shown(workspace, loaded),
            "png": png,
            "rendered": 0,
            "reused": 0,
            "kept": len(loaded.record.cells),
            "failed": [],
            "stopped": "",
        },
        reasoning=f"The grid of {words} is complete",
        suggestions=(f"lora eval review {words}", f"lora eval grid {words} --again"),
        dry_run=workspace.dry_run,
    )


def planned_result(
    workspace: Workspace,
    subject: Subject,
    record: Evaluation,
    estimate: GridEstimate,
    *,
    again: str,
    refusal: Refusal | None = None,
) -> Result:
    """Say what would be rendered, or why nothing is sent where it would be rendered."""
    words = subject.target.words
    return Result(
        data=_not_drawn(record, estimate),
        reasoning=f"{estimate.cells} of {len(record.cells)} cells of {words} would be rendered",
        suggestions=_next_of(refusal, again),
        dry_run=workspace.dry_run,
        refusal=refusal,
    )


def too_many_result(
    workspace: Workspace,
    subject: Subject,
    record: Evaluation,
    estimate: GridEstimate,
    *,
    again: str,
) -> Result:
    """Ask before hours of computing."""
    words = subject.target.words
    return Result(
        data=_not_drawn(record, estimate),
        reasoning=f"{estimate.cells:,} cells of {words} would be rendered",
        suggestions=(f"{again} --yes", f"{again} --limit 50"),
        dry_run=workspace.dry_run,
        refusal=Refusal(
            "confirmation_needed",
            f"{estimate.cells:,} cells are to be drawn: {estimate.words}",
            f"{again} --yes",
        ),
    )


def _next_of(refusal: Refusal | None, again: str) -> tuple[str, ...]:
    if refusal is None:
        return (again,)
    return (f"{again} --yes-upload",) if refusal.code == "upload_not_agreed" else ()


def _not_drawn(record: Evaluation, estimate: GridEstimate) -> dict[str, Any]:
    return {
        **evaluation_facts(record),
        "toRender": estimate.cells,
        "estimate": estimate.to_dict(),
    }


def shown_result(
    workspace: Workspace,
    target: Target,
    loaded: Loaded[Evaluation],
    reviews: Sequence[Review],
    spent: dict[str, Any] | None,
) -> Result:
    """Say all that is known about an evaluation."""
    record = loaded.record
    problems = problems_of_grid(record)
    suspicious = suspicious_cells(record.cells)
    approved = any(one.verdict == "approved" and is_unchanged(one) for one in reviews)
    verb = "eval grid" if problems else "promote" if approved else "eval review"
    return Result(
        data={
            **evaluation_facts(record),
            "sheet": sheet_shown(workspace, loaded),
            "sheetPages": page_count(record),
            "png": "",
            "spent": spent,
            "problems": problems,
            "suspicious": suspicious,
            "rules": rules_of(record.suite) if record.suite else {},
            "cells": [cell.to_dict() for cell in record.cells],
            "reviews": [
                {**review.to_dict(), "unchanged": is_unchanged(review)} for review in reviews
            ],
        },
        reasoning=f"Evaluation {record.id} of {target.words} is {record.status}",
        warnings=tuple(_unproven(record) + (doubts(record.metrics) if record.metrics else [])),
        suggestions=(f"lora {verb} {target.words}",),
        dry_run=workspace.dry_run,
    )


def lacking_cells(workspace: Workspace, record: Evaluation) -> list[Cell]:
    """Return the cells whose image is still to be drawn, or is not in this store."""
    store = open_store(workspace)
    return [
        cell for cell in record.cells if cell.status != "done" or not store.has(cell.image_sha256)
    ]


def sheet_shown(workspace: Workspace, loaded: Loaded[Evaluation]) -> str:
    """Return where the contact sheet is, or empty."""
    path = sheet_path(loaded)
    return workspace.relative(path) if path.is_file() else ""


def write_png(
    workspace: Workspace, record: Evaluation, trigger_word: str, png: str, *, page: int = 1
) -> str:
    """Write a page of the contact sheet as PNG, to be looked at; return where, as people read it.

    Raises:
        ArgumentInvalidError, StateError, UnsafePathError: When nothing may be written there.
    """
    shown = require_png_target(workspace, png)
    data = sheet_png(workspace, record, trigger_word=trigger_word, page=page)
    if not workspace.dry_run:
        write_atomic(workspace.root / shown, data)
    return shown


def require_png_target(workspace: Workspace, png: str) -> str:
    """Return where a PNG may be written, relative to the workspace.

    It stays in the workspace, and replaces nothing but an earlier picture: agents may name it.

    Raises:
        ArgumentInvalidError: When its name does not say what it is.
        StateError: When something else is there.
        UnsafePathError: When it leads outside the workspace.
    """
    path = (workspace.root / png).resolve()
    if path.suffix.lower() != ".png":
        raise ArgumentInvalidError(f"the sheet is a PNG, {png!r} does not end with .png")
    if not path.is_relative_to(workspace.root):
        raise UnsafePathError(f"{png} leads outside the workspace", hint="--png sheet.png")
    if path.exists():
        with path.open("rb") as stream:
            if stream.read(len(_PNG)) != _PNG:
                raise StateError(f"{png} is there and no PNG, it is not replaced")
    return workspace.relative(path)
