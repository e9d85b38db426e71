"""Compare the checkpoints that a training run kept: which step to take."""

from __future__ import annotations

from lora_pipeline.evaluation.finishing import KeptPictures
from lora_pipeline.evaluation.renderers.interface import Registry
from lora_pipeline.evaluation.renderers.registry import RENDERERS, find_renderer
from lora_pipeline.evaluation.sweep import advice, measure_step
from lora_pipeline.evaluation.sweep_rendering import lacking_in_sweep, render_sweep
from lora_pipeline.foundation.errors import ArgumentInvalidError, RendererError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluation_cost import estimate_grid, sending_refusal
from lora_pipeline.operations.evaluation.evaluation_outcome import require_png_target
from lora_pipeline.operations.evaluation.evaluation_subject import earlier_evaluations
from lora_pipeline.operations.evaluation.evaluation_sweep_outcome import (
    asked_result,
    sweep_again,
    swept_result,
    undrawn_result,
    write_sweep_sheet,
)
from lora_pipeline.operations.evaluation.evaluation_sweep_plan import (
    SweepOptions,
    planned_sweep,
    run_to_sweep,
)
from lora_pipeline.operations.evaluation.till import settle_left, till_for, with_spent
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

# More cells than this are drawn only when somebody said yes, as with a grid.
_ASK_ABOVE = 200


def sweep_run(
    workspace: Workspace,
    lora: str,
    run: str = "",
    *,
    suite: str = "",
    prompts: tuple[str, ...] = (),
    seeds: int = 2,
    strength: float | None = None,
    most: int = 12,
    renderer: str = "",
    yes: bool = False,
    yes_upload: bool = False,
    png: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Draw a few cells with every checkpoint that a run kept, and say which step to take.

    A sweep is for choosing: it writes no record, and the gate does not know it. Its cells are
    those of the release grid, so what it drew is not drawn again there.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        run: Id of the run; else the newest that kept checkpoints.
        suite: Id of the suite; else that of the LoRA's asset type.
        prompts: Other prompts; else three of the suite's.
        seeds: How many seeds of each prompt.
        strength: Strength of the LoRA; else the highest of the suite.
        most: Most checkpoints to compare; of more, some evenly spread ones are taken.
        renderer: Name of the renderer; else the setting ``renderers.default``.
        yes: Whether a large sweep may be drawn.
        yes_upload: Whether weights and prompts may be sent to a renderer on another machine.
        png: File for the sheet, relative to the workspace; else one below ``.lora/``.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA, run, suite or checkpoint do not exist, or the run kept
            nothing to compare.
        DigestMismatchError: When a checkpoint is not the one that was recorded.
        RendererError: When the renderer cannot run, or a checkpoint does not apply.
        LockedError: When another process draws the same sweep.
    """
    options = SweepOptions(suite, prompts, seeds, strength, most, renderer, yes, yes_upload, png)
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = run_to_sweep(workspace, loaded, run, project=project, scope=scope)
    return sweep_checkpoints(workspace, loaded, chosen, options)


def sweep_checkpoints(
    workspace: Workspace,
    lora: Loaded[Lora],
    run: Run,
    options: SweepOptions,
    registry: Registry = RENDERERS,
) -> Result:
    """Draw a sweep with one of the renderers of ``registry``; see ``sweep_run``.

    Raises:
        ArgumentInvalidError: When an option breaks its rule.
        PipelineError: As ``sweep_run``.
    """
    if options.seeds < 1 or options.most < 2:
        raise ArgumentInvalidError("a sweep needs at least 1 seed and 2 checkpoints")
    png = require_png_target(workspace, options.png) if options.png else ""
    name = options.renderer or workspace.settings.require_text("renderers.default")
    renderer = find_renderer(name, registry)
    sweep = planned_sweep(workspace, lora, run, options, with_base=renderer.loads_base)
    lacking = lacking_in_sweep(workspace, run.id, sweep.parts)
    waiting = {cell.id for cell in lacking}
    sessions = sum(any(cell.id in waiting for cell in part.cells) for part in sweep.parts)
    estimate = estimate_grid(workspace, renderer, lacking, None, sessions=sessions)
    again = sweep_again(sweep, options)
    if len(lacking) > _ASK_ABOVE and not options.yes:
        return asked_result(workspace, sweep, estimate, again)
    counted: list[str] = []
    newest = sweep.subjects[-1][1]
    if lacking:
        problem = renderer.health(workspace.settings)
        if problem:
            raise RendererError(problem.message, hint=problem.hint)
        counted = [] if workspace.dry_run or not estimate.sent_to else settle_left(workspace)
        refusal = sending_refusal(workspace, newest, estimate, yes_upload=options.yes_upload)
        if refusal is not None:
            return undrawn_result(workspace, sweep, estimate, again, refusal)
    if workspace.dry_run:
        return undrawn_result(workspace, sweep, estimate, again, None)
    earlier, warnings = earlier_evaluations(workspace, lora.scope)
    donors = [one.record for one in earlier]
    till = till_for(
        workspace, newest.target, estimate, service=name, purpose="sweep", run_id=run.id
    )
    cells, report = render_sweep(
        workspace, run.id, sweep.parts, renderer, donors, paying=till.opened
    )
    pictures = KeptPictures(open_store(workspace))
    measured = [
        measure_step(part.step, part.sha256, sweep.suite, drawn, pictures.load)
        for part, drawn in zip(sweep.parts, cells, strict=True)
    ]
    steps = [one for _, one in measured]
    found = advice(steps)
    sheet = write_sweep_sheet(
        workspace, sweep, [one for one, _ in measured], report, found, pictures, png
    )
    done = swept_result(workspace, sweep, steps, report, found, sheet, [*sweep.warnings, *warnings])
    return with_spent(done, till, counted)
