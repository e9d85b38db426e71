"""Create evaluations, render their grids, and show them."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from lora_pipeline.evaluation.finishing import finish_evaluation
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.evaluation.renderers.interface import Registry, Renderer
from lora_pipeline.evaluation.renderers.registry import RENDERERS, find_renderer
from lora_pipeline.evaluation.rendering import render_grid
from lora_pipeline.foundation.errors import ArgumentInvalidError, RendererError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluation_cost import estimate_grid, sending_refusal
from lora_pipeline.operations.evaluation.evaluation_metrics import training_of
from lora_pipeline.operations.evaluation.evaluation_outcome import (
    complete_result,
    evaluation_facts,
    lacking_cells,
    planned_result,
    rendered_result,
    require_png_target,
    shown_result,
    too_many_result,
    write_png,
)
from lora_pipeline.operations.evaluation.evaluation_plan import (
    continued_evaluation,
    planned_evaluation,
    withdraw_evaluation,
    write_evaluation,
)
from lora_pipeline.operations.evaluation.evaluation_subject import (
    Subject,
    earlier_evaluations,
    find_evaluation,
    find_target,
    render_source,
    subject_of,
)
from lora_pipeline.operations.evaluation.till import settle_left, spent_on, till_for, with_spent
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace

# More cells than this are drawn only when somebody said yes: they are hours of computing.
ASK_ABOVE = 200
_SIZES_APART = 2  # times; SD 1.5 at 768 px and SDXL at 768 px still draw


class GridOptions(msgspec.Struct, frozen=True):
    """How a grid is to be rendered; the arguments of ``render_evaluation``."""

    suite: str = ""
    renderer: str = ""
    prompts: tuple[str, ...] = ()
    notes: str = ""
    limit: int | None = None
    again: bool = False
    yes: bool = False
    yes_upload: bool = False
    png: str = ""


def create_evaluation(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    suite: str = "",
    prompts: tuple[str, ...] = (),
    notes: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Create an evaluation: every cell that is to be rendered, before any is.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release; else the newest.
        suite: Id of the suite; else that of the LoRA's asset type.
        prompts: Other prompts, for a look; the gate knows the suite's only.
        notes: Anything worth keeping.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA, release, suite or checkpoint do not exist.
        RecordInvalidError: When a digest that everything rests on was never recorded.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    subject = subject_of(workspace, target, suite_id=suite, prompts=prompts)
    record = planned_evaluation(workspace, subject, notes)
    changes = Changes(workspace)
    changes.create(record, target.lora.scope, record.id)
    return Result(
        data=evaluation_facts(record),
        reasoning=f"Created an evaluation of {target.words} with suite {record.suite_id}",
        suggestions=(f"lora eval grid {target.words}{_suite_flag(suite)}",),
        written=tuple(changes.apply()),
        dry_run=workspace.dry_run,
    )


def render_evaluation(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    suite: str = "",
    renderer: str = "",
    prompts: tuple[str, ...] = (),
    notes: str = "",
    limit: int | None = None,
    again: bool = False,
    yes: bool = False,
    yes_upload: bool = False,
    png: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Render what a grid lacks, measure the effect, and draw the contact sheet.

    An unfinished grid of the same suite, weights and base is continued; a complete one is never
    written again.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release; else the newest.
        suite: Id of the suite; else that of the LoRA's asset type.
        renderer: Name of the renderer; else the setting ``renderers.default``.
        prompts: Other prompts, for a look; the gate knows the suite's only.
        notes: Anything worth keeping, for a new evaluation.
        limit: Most cells to draw now; the rest waits for the next call.
        again: Whether to start a new evaluation where one is complete.
        yes: Whether a large grid may be drawn.
        yes_upload: Whether weights and prompts may be sent to a renderer on another machine.
        png: File for the contact sheet as PNG as well, relative to the workspace.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA, release, suite or checkpoint do not exist.
        FileMissingError, DigestMismatchError: When weights or base are not here, or not the
            ones that were recorded.
        RendererError: When the renderer cannot run, or the LoRA does not apply.
        LockedError: When another process renders the same evaluation.
    """
    options = GridOptions(suite, renderer, prompts, notes, limit, again, yes, yes_upload, png)
    target = find_target(workspace, lora, release, project=project, scope=scope)
    subject = subject_of(workspace, target, suite_id=suite, prompts=prompts)
    return render_subject(workspace, subject, options)


def render_subject(
    workspace: Workspace, subject: Subject, options: GridOptions, registry: Registry = RENDERERS
) -> Result:
    """Render a grid with one of the renderers of ``registry``; see ``render_evaluation``.

    Raises:
        ArgumentInvalidError: When an option breaks its rule.
        PipelineError: As ``render_evaluation``.
    """
    if options.limit is not None and options.limit < 1:
        raise ArgumentInvalidError(f"limit must be at least 1, got {options.limit}")
    png = require_png_target(workspace, options.png) if options.png else ""
    name = options.renderer or workspace.settings.require_text("renderers.default")
    renderer = find_renderer(name, registry)
    earlier, warnings = earlier_evaluations(workspace, subject.target.lora.scope)
    warnings += [*_unused_parts(subject, renderer), *(unfit := _size_that_says_little(subject))]
    planned = planned_evaluation(workspace, subject, options.notes)
    loaded, lost = continued_evaluation(
        workspace, planned, earlier, name, scope=subject.target.lora.scope, again=options.again
    )
    record = loaded.record if loaded else planned
    lacking = lacking_cells(workspace, record)
    if loaded and record.status == "complete":
        _draw(workspace, subject, record, options)
        return complete_result(workspace, subject, loaded, png=png).with_warnings(warnings)
    again = f"lora eval grid {subject.target.words}{_flags(options)}"
    estimate = estimate_grid(workspace, renderer, lacking, options.limit)
    if len(lacking) > ASK_ABOVE and not options.yes and options.limit is None:
        return too_many_result(workspace, subject, record, estimate, again=again)
    _require_healthy(renderer, workspace)
    counted = [] if workspace.dry_run or not estimate.sent_to else settle_left(workspace)
    refusal = sending_refusal(workspace, subject, estimate, yes_upload=options.yes_upload)
    if workspace.dry_run or refusal is not None:
        render_source(workspace, subject, with_base=renderer.loads_base)
        planned_grid = planned_result(
            workspace, subject, record, estimate, again=again, refusal=refusal
        )
        return with_spent(planned_grid, None, counted).with_warnings([*warnings, *lost])
    source = render_source(workspace, subject, with_base=renderer.loads_base)
    # Who asks for pictures again wants to see them drawn, not taken over.
    donors = () if options.again else [one.record for one in earlier if one is not loaded]
    for words in unfit:  # before hours are spent on it
        workspace.events(Event("warning", "grid", words))
    started = loaded or write_evaluation(workspace, subject, record)
    till = till_for(
        workspace,
        subject.target,
        estimate,
        service=name,
        purpose="grid",
        evaluation_id=record.id,
    )
    try:
        loaded, report = render_grid(
            workspace,
            started,
            renderer,
            source,
            donors=donors,
            takes_swept=not options.again,
            limit=options.limit,
            paying=till.opened,
        )
    except RendererError:
        if loaded is None:
            withdraw_evaluation(workspace, started)
        raise
    trigger = subject.target.lora.record.trigger_word
    loaded = finish_evaluation(
        workspace,
        loaded,
        trigger_word=trigger,
        training=lambda: training_of(workspace, subject.target),
    ).loaded
    _draw(workspace, subject, loaded.record, options)
    done = rendered_result(workspace, subject, loaded, report, again=again, png=png)
    return with_spent(done, till, counted).with_warnings([*warnings, *lost])


def show_evaluation(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    evaluation: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Show the evaluation of a release: its cells, what was measured, and what people said.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release; else the newest.
        evaluation: Id of the evaluation; else the newest complete one.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When there is no evaluation.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    loaded = find_evaluation(workspace, target, evaluation)
    reviews = [
        one.record
        for one in workspace.records.all(Review, loaded.scope)
        if one.record.evaluation_id == loaded.record_id
    ]
    spent = spent_on(workspace, loaded.scope, loaded.record_id)
    return shown_result(workspace, target, loaded, reviews, spent)


def write_sheet(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    png: str,
    page: int = 1,
    evaluation: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Draw a page of the contact sheet of a release anew, as PNG, and show the evaluation.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release; else the newest.
        png: The file, relative to the workspace; only an earlier PNG is replaced.
        page: Which page, where a large grid has several.
        evaluation: Id of the evaluation; else the newest complete one.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When there is no evaluation.
        ArgumentInvalidError, StateError: When nothing may be written there.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    record = find_evaluation(workspace, target, evaluation).record
    written = write_png(workspace, record, target.lora.record.trigger_word, png, page=page)
    shown = show_evaluation(
        workspace,
        target.lora.record_id,
        target.release.id,
        evaluation=record.id,
        project=project,
        scope=scope,
    )
    return replace(shown, data={**shown.data, "png": written})


def _unused_parts(subject: Subject, renderer: Renderer) -> list[str]:
    checkpoint = subject.checkpoint
    if checkpoint.vae_weights is None or not renderer.loads_base:
        return []
    return [
        (
            f"checkpoint {checkpoint.id} names a VAE, which renderer {renderer.name} does not "
            "load; base and LoRA are both drawn with the one inside the checkpoint"
        )
    ]


def _size_that_says_little(subject: Subject) -> list[str]:
    made_for, render = subject.checkpoint.native_resolution, subject.suite.suite.render
    side = max(render.width, render.height)
    if not made_for or made_for / _SIZES_APART < side < made_for * _SIZES_APART:
        return []
    return [
        (
            f"suite {subject.suite.suite.id} draws {side} px and {subject.checkpoint.id} was made "
            f"for {made_for} px: that says little; --suite ID takes another (lora suite list)"
        )
    ]


def _require_healthy(renderer: Renderer, workspace: Workspace) -> None:
    problem = renderer.health(workspace.settings)
    if problem:
        raise RendererError(problem.message, hint=problem.hint)


def _draw(workspace: Workspace, subject: Subject, record: Evaluation, options: GridOptions) -> None:
    if options.png:
        write_png(workspace, record, subject.target.lora.record.trigger_word, options.png)


def _flags(options: GridOptions) -> str:
    """Return the options that a command needs to go on with the same grid."""
    renderer = f" --renderer {options.renderer}" if options.renderer else ""
    upload = " --yes-upload" if options.yes_upload else ""
    return f"{_suite_flag(options.suite)}{renderer}{upload}"


def _suite_flag(suite: str) -> str:
    return f" --suite {suite}" if suite else ""
