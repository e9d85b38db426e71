"""What a sweep came to: its sheet, and what every face says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_pipeline.evaluation.finishing import KeptPictures
from lora_pipeline.evaluation.grid import BASE
from lora_pipeline.evaluation.records import Cell, Evaluation
from lora_pipeline.evaluation.sheet import SheetHeader, draw_sheet
from lora_pipeline.evaluation.sweep import Advice, StepMeasure
from lora_pipeline.evaluation.sweep_rendering import SweepReport, sweep_folder
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.drawing import encode_png
from lora_pipeline.foundation.files import write_atomic
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.evaluation.evaluation_cost import GridEstimate
from lora_pipeline.operations.evaluation.evaluation_sweep_plan import Sweep, SweepOptions
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.workspace.root import Workspace


def write_sweep_sheet(
    workspace: Workspace,
    sweep: Sweep,
    measured: Sequence[Sequence[Cell]],
    report: SweepReport,
    found: Advice,
    pictures: KeptPictures,
    png: str,
) -> str:
    """Draw base and every step side by side; return where the picture is, as people read it."""
    captions = {
        cell.id: f"step {part.step:,}"
        for part, cells in zip(sweep.parts, measured, strict=True)
        for cell in cells
        if cell.strength > BASE
    }
    rows = [
        cell
        for places in zip(*measured, strict=True)
        for cell in (places if places[0].strength > BASE else places[:1])
    ]
    evaluation = _as_evaluation(sweep, rows)
    steps = [part.step for part in sweep.parts]
    subject = sweep.subjects[0][1]
    facts = [
        ("trigger", sweep.lora.record.trigger_word or "none"),
        ("checkpoint", f"{subject.checkpoint.id}  ·  {short(subject.checkpoint.digest)}"),
        ("suite", f"a part of {sweep.suite.id}, strength {sweep.suite.strengths[0]:g}"),
        ("advice", found.words),
    ]
    if report.identity:
        facts.insert(3, ("renderer", f"{report.identity.name} {report.identity.version}"))
    span = f"steps {steps[0]:,} to {steps[-1]:,}"
    title = f"{sweep.lora.record_id}  ·  run {sweep.run.id[-8:]}  ·  {span}"
    image = draw_sheet(SheetHeader(title, facts), evaluation, pictures.load, captions=captions)
    place = workspace.root / png if png else sweep_folder(workspace, sweep.run.id) / "sheet.png"
    write_atomic(place, encode_png(image))
    return workspace.relative(place)


def _as_evaluation(sweep: Sweep, cells: Sequence[Cell]) -> Evaluation:
    """Return the cells in the form that the sheet draws; it is written nowhere."""
    subject = sweep.subjects[0][1]
    return Evaluation(
        id=sweep.run.id,
        lora_id=sweep.lora.record_id,
        release_id=sweep.run.release_id,
        created_at=sweep.run.created_at,
        status="running",
        suite_id=sweep.suite.id,
        suite=sweep.suite,
        checkpoint_id=subject.checkpoint.id,
        checkpoint_digest=subject.checkpoint.digest,
        cells=tuple(cells),
    )


def swept_result(
    workspace: Workspace,
    sweep: Sweep,
    steps: Sequence[StepMeasure],
    report: SweepReport,
    found: Advice,
    sheet: str,
    warnings: Sequence[str],
) -> Result:
    """Say what the checkpoints came to; holes make it a refusal."""
    holes = sum(one.cells - one.drawn for one in steps)
    return Result(
        data={
            **_sweep_facts(sweep),
            "steps": [one.to_dict() for one in steps],
            "advice": {"step": found.step, "words": found.words},
            "fingerprint": report.fingerprint,
            "rendered": report.rendered,
            "reused": report.reused,
            "failed": report.failed,
            "sheet": sheet,
        },
        reasoning=f"Compared {len(steps)} checkpoints of {sweep.lora.record_id}: {found.words}",
        warnings=[*warnings, *report.cautions],
        suggestions=_next(workspace, sweep, found),
        refusal=Refusal(
            "sweep_incomplete",
            f"{holes} cells have no picture",
            f"lora eval sweep {sweep.lora.record_id} {sweep.run.id}",
        )
        if holes
        else None,
    )


def _next(workspace: Workspace, sweep: Sweep, found: Advice) -> list[str]:
    lora = sweep.lora.record_id
    if found.step is None:
        return []
    output = next(
        one
        for one in sweep.run.outputs
        if (sweep.run.steps_done if one.step is None else one.step) == found.step
    )
    known = next(
        (
            release.id
            for release in sweep.lora.record.releases
            if release.weights and release.weights.sha256 == output.sha256
        ),
        "",
    )
    if known:
        return [f"lora eval grid {lora} {known}"]
    file = workspace.relative(run_folder(workspace, sweep.run.id) / output.name)
    return [
        f"lora release register {lora} {file} --dataset {sweep.run.dataset_id}",
        f"lora eval grid {lora}",
    ]


def _sweep_facts(sweep: Sweep) -> dict[str, Any]:
    return {
        "loraId": sweep.lora.record_id,
        "runId": sweep.run.id,
        "releaseId": sweep.run.release_id,
        "suiteId": sweep.suite.id,
        "strength": sweep.suite.strengths[0],
        "prompts": [one.id for one in sweep.suite.prompts],
        "stepsCompared": [part.step for part in sweep.parts],
    }


def undrawn_result(
    workspace: Workspace,
    sweep: Sweep,
    estimate: GridEstimate,
    again: str,
    refusal: Refusal | None,
) -> Result:
    """Say what would be drawn, or why nothing is."""
    flags = {"upload_not_agreed": " --yes-upload", "confirmation_needed": " --yes"}
    flag = flags.get(refusal.code, "") if refusal is not None else ""
    return Result(
        data={**_sweep_facts(sweep), "toRender": estimate.cells, "estimate": estimate.to_dict()},
        reasoning=f"{estimate.cells} cells of {len(sweep.parts)} checkpoints would be drawn",
        warnings=sweep.warnings,
        suggestions=(again + flag,) if refusal is None or flag else (),
        dry_run=workspace.dry_run,
        refusal=refusal,
    )


def asked_result(workspace: Workspace, sweep: Sweep, estimate: GridEstimate, again: str) -> Result:
    """Ask before hours of computing."""
    refusal = Refusal(
        "confirmation_needed",
        f"{estimate.cells:,} cells are to be drawn: {estimate.words}",
        f"{again} --yes",
    )
    return undrawn_result(workspace, sweep, estimate, again, refusal)


def sweep_again(sweep: Sweep, options: SweepOptions) -> str:
    """Return the command that draws the same sweep."""
    suite = f" --suite {options.suite}" if options.suite else ""
    renderer = f" --renderer {options.renderer}" if options.renderer else ""
    return f"lora eval sweep {sweep.lora.record_id} {sweep.run.id}{suite}{renderer}"
