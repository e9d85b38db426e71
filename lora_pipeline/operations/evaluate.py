"""Create evaluations, render their grids, and show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lora_pipeline.evaluation.finishing import finish_evaluation
from lora_pipeline.evaluation.grid import plan_cells, problems_of_grid
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.evaluation.renderers.interface import Registry, Renderer
from lora_pipeline.evaluation.renderers.registry import RENDERERS, find_renderer
from lora_pipeline.evaluation.rendering import render_grid
from lora_pipeline.foundation.errors import ArgumentInvalidError, RendererError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation_outcome import (
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
from lora_pipeline.operations.evaluation_subject import (
    Subject,
    earlier_evaluations,
    find_evaluation,
    find_target,
    render_source,
    subject_of,
)
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

# More cells than this are drawn only when somebody said yes: they are hours of computing.
ASK_ABOVE = 200


@dataclass(frozen=True)
class GridOptions:
    """How a grid is to be rendered; the arguments of ``render_evaluation``."""

    suite: str = ""
    renderer: str = ""
    prompts: tuple[str, ...] = ()
    notes: str = ""
    limit: int | None = None
    again: bool = False
    yes: bool = False
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
    record = _planned(workspace, subject, notes)
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
    options = GridOptions(suite, renderer, prompts, notes, limit, again, yes, png)
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
    if subject.checkpoint.vae_weights is not None:
        warnings.append(
            f"checkpoint {subject.checkpoint.id} names a VAE, which renderer {name} does not load; "
            "base and LoRA are both drawn with the one inside the checkpoint"
        )
    loaded, lost = _continued(workspace, subject, earlier, name, again=options.again)
    record = loaded.record if loaded else _planned(workspace, subject, options.notes)
    lacking = lacking_cells(workspace, record)
    if loaded and record.status == "complete":
        _draw(workspace, subject, record, options)
        return complete_result(workspace, subject, loaded, png=png).with_warnings(warnings)
    if len(lacking) > ASK_ABOVE and not options.yes and options.limit is None:
        return too_many_result(workspace, subject, record, len(lacking))
    _require_healthy(renderer, workspace)
    source = render_source(workspace, subject)
    if workspace.dry_run:
        return planned_result(subject, record, lacking).with_warnings([*warnings, *lost])
    if loaded is None:
        loaded = _created(workspace, subject, record)
    # Who asks for pictures again wants to see them drawn, not taken over.
    others = [] if options.again else earlier
    donors = [one.record for one in others if one.record_id != loaded.record_id]
    loaded, report = render_grid(
        workspace, loaded, renderer, source, donors=donors, limit=options.limit
    )
    trigger = subject.target.lora.record.trigger_word
    loaded = finish_evaluation(workspace, loaded, trigger_word=trigger).loaded
    _draw(workspace, subject, loaded.record, options)
    again = f"lora eval grid {subject.target.words}{_suite_flag(options.suite)}"
    return rendered_result(workspace, subject, loaded, report, again=again, png=png).with_warnings(
        [*warnings, *lost]
    )


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
    return shown_result(workspace, target, loaded, reviews)


def write_sheet(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    png: str,
    evaluation: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Draw the contact sheet of a release anew, as PNG, and show the evaluation.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release; else the newest.
        png: The file, relative to the workspace; only an earlier PNG is replaced.
        evaluation: Id of the evaluation; else the newest complete one.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When there is no evaluation.
        ArgumentInvalidError, StateError: When nothing may be written there.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    record = find_evaluation(workspace, target, evaluation).record
    written = write_png(workspace, record, target.lora.record.trigger_word, png)
    shown = show_evaluation(
        workspace,
        target.lora.record_id,
        target.release.id,
        evaluation=record.id,
        project=project,
        scope=scope,
    )
    return replace(shown, data={**shown.data, "png": written})


def _planned(workspace: Workspace, subject: Subject, notes: str) -> Evaluation:
    lora = subject.target.lora.record
    cells = plan_cells(
        subject.suite.suite,
        trigger_word=lora.trigger_word,
        weights_sha256=subject.weights_sha256,
        checkpoint_digest=subject.checkpoint.digest,
    )
    return Evaluation(
        id=new_ulid(),
        lora_id=lora.id,
        release_id=subject.target.release.id,
        created_at=workspace.now(),
        updated_at=workspace.now(),
        status="pending",
        prompts=tuple(dict.fromkeys(cell.prompt for cell in cells)),
        notes=notes,
        suite_id=subject.suite.suite.id,
        suite_digest=subject.suite.digest,
        suite=subject.suite.suite,
        weights_sha256=subject.weights_sha256,
        checkpoint_id=subject.checkpoint.id,
        checkpoint_digest=subject.checkpoint.digest,
        cells=cells,
    )


def _continued(
    workspace: Workspace,
    subject: Subject,
    earlier: Sequence[Loaded[Evaluation]],
    renderer: str,
    *,
    again: bool,
) -> tuple[Loaded[Evaluation] | None, list[str]]:
    """Return the evaluation to go on with, and what a person should know about others.

    A complete one stays as it is: when nothing of it is lost there is nothing to do, and when
    something is, a new one takes its place.
    """
    alike = _alike(workspace, subject, earlier)
    unfinished = [one for one in alike if one.record.status != "complete"]
    complete = [
        one
        for one in alike
        if not problems_of_grid(one.record)
        and one.record.renderer is not None
        and one.record.renderer.name == renderer
    ]
    whole = [one for one in complete if not lacking_cells(workspace, one.record)]
    lost = [
        _lost(len(lacking_cells(workspace, one.record)), one.record_id)
        for one in complete
        if not whole
    ]
    choices = unfinished if again else [*whole, *unfinished]
    newest = max(choices, key=lambda one: (one.record.created_at, one.record_id), default=None)
    return newest, [] if again else lost


def _lost(count: int, evaluation_id: str) -> str:
    images = "1 image" if count == 1 else f"{count} images"
    verb = "is" if count == 1 else "are"
    return (
        f"{images} of evaluation {evaluation_id} {verb} not in this store; "
        "it stays as it is, and a new one is made"
    )


def _alike(
    workspace: Workspace, subject: Subject, earlier: Sequence[Loaded[Evaluation]]
) -> list[Loaded[Evaluation]]:
    """Return the evaluations of the same release with the same suite and the same cells."""
    wanted = _planned(workspace, subject, "")
    planned = [cell.id for cell in wanted.cells]
    return [
        one
        for one in earlier
        if one.scope == subject.target.lora.scope
        and (one.record.lora_id, one.record.release_id, one.record.suite_digest)
        == (wanted.lora_id, wanted.release_id, wanted.suite_digest)
        and [cell.id for cell in one.record.cells] == planned
    ]


def _require_healthy(renderer: Renderer, workspace: Workspace) -> None:
    problem = renderer.health(workspace.settings)
    if problem:
        raise RendererError(problem.message, hint=problem.hint)


def _draw(workspace: Workspace, subject: Subject, record: Evaluation, options: GridOptions) -> None:
    if options.png:
        write_png(workspace, record, subject.target.lora.record.trigger_word, options.png)


def _suite_flag(suite: str) -> str:
    return f" --suite {suite}" if suite else ""


def _created(workspace: Workspace, subject: Subject, record: Evaluation) -> Loaded[Evaluation]:
    changes = Changes(workspace)
    changes.create(record, subject.target.lora.scope, record.id)
    changes.apply()
    return workspace.records.read(Evaluation, subject.target.lora.scope, record.id)
