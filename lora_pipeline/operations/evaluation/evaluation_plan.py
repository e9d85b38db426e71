"""Which evaluation a grid belongs to: one to go on with, or a new one."""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.evaluation.grid import plan_cells, problems_of_grid
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.training_captions import captions_wanted, training_captions
from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.operations.evaluation.evaluation_outcome import lacking_cells
from lora_pipeline.operations.evaluation.evaluation_subject import Subject
from lora_pipeline.releases.evidence.facts import TrainedManifest
from lora_pipeline.releases.evidence.manifest import ManifestFinder
from lora_pipeline.releases.evidence.record_past import RecordPast
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def planned_evaluation(workspace: Workspace, subject: Subject, notes: str) -> Evaluation:
    """Return a new evaluation with every cell that is to be rendered.

    Raises:
        RecordNotFoundError: When the suite asks for captions and the manifest is not there.
    """
    lora = subject.target.lora.record
    cells = plan_cells(
        subject.suite.suite,
        trigger_word=lora.trigger_word,
        weights_sha256=subject.weights_sha256,
        checkpoint_digest=subject.checkpoint.digest,
        captions=_captions(workspace, subject),
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


def continued_evaluation(
    workspace: Workspace,
    wanted: Evaluation,
    earlier: Sequence[Loaded[Evaluation]],
    renderer: str,
    *,
    scope: Scope,
    again: bool,
) -> tuple[Loaded[Evaluation] | None, list[str]]:
    """Return the evaluation to go on with, and what a person should know about others.

    A complete one stays as it is: when nothing of it is lost there is nothing to do, and when
    something is, a new one takes its place.

    Args:
        workspace: The workspace.
        wanted: The evaluation as it would be planned now.
        earlier: Every evaluation that is there.
        renderer: The renderer that was chosen.
        scope: The scope of the LoRA.
        again: Whether a new one is wanted where one is complete.
    """
    alike = _alike(wanted, scope, earlier)
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


def _captions(workspace: Workspace, subject: Subject) -> tuple[str, ...]:
    """Return the captions that the suite asks for, from the manifest that was trained on."""
    suite, target = subject.suite.suite, subject.target
    if not captions_wanted(suite):
        return ()
    finder = ManifestFinder(workspace, workspace.records, RecordPast(workspace))
    found = finder.trained(target.lora.scope, target.release)
    if isinstance(found, TrainedManifest):
        return training_captions(suite, found.manifest)
    raise RecordNotFoundError(
        f"suite {suite.id} asks for captions that {target.words} was trained on: {found.reason}",
        hint="check out the whole Git history, or choose another suite with --suite",
    )


def _alike(
    wanted: Evaluation, scope: Scope, earlier: Sequence[Loaded[Evaluation]]
) -> list[Loaded[Evaluation]]:
    """Return the evaluations of the same release with the same suite and the same cells."""
    planned = [cell.id for cell in wanted.cells]
    return [
        one
        for one in earlier
        if one.scope == scope
        and (one.record.lora_id, one.record.release_id, one.record.suite_digest)
        == (wanted.lora_id, wanted.release_id, wanted.suite_digest)
        and [cell.id for cell in one.record.cells] == planned
    ]


def write_evaluation(
    workspace: Workspace, subject: Subject, record: Evaluation
) -> Loaded[Evaluation]:
    """Write a new evaluation and return it as it stands."""
    changes = Changes(workspace)
    changes.create(record, subject.target.lora.scope, record.id)
    changes.apply()
    return workspace.records.read(Evaluation, subject.target.lora.scope, record.id)


def withdraw_evaluation(workspace: Workspace, started: Loaded[Evaluation]) -> None:
    """Take back an evaluation that was made a moment ago, when nothing could be drawn for it."""
    loaded = workspace.records.read(Evaluation, started.scope, started.record_id)
    if loaded.record.status == "pending":
        changes = Changes(workspace)
        changes.remove(loaded)
        changes.apply()
