"""Which checkpoints of a run are compared, and with which cells."""

from __future__ import annotations

import msgspec

from lora_pipeline.catalog.records import Weights
from lora_pipeline.evaluation.grid import plan_cells
from lora_pipeline.evaluation.records import Suite
from lora_pipeline.evaluation.suites import LoadedSuite, suite_digest, violations_of_suite
from lora_pipeline.evaluation.sweep import sweep_suite, thinned
from lora_pipeline.evaluation.sweep_rendering import SweepPart
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.operations.evaluation.evaluation_subject import (
    Subject,
    Target,
    render_source,
    subject_of,
)
from lora_pipeline.operations.training.run_lookup import find_run
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.records import OutputFile, Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store


class SweepOptions(msgspec.Struct, frozen=True):
    """How a sweep is drawn; the arguments of ``sweep_run``."""

    suite: str = ""
    prompts: tuple[str, ...] = ()
    seeds: int = 2
    strength: float | None = None
    most: int = 12
    renderer: str = ""
    yes: bool = False
    yes_upload: bool = False
    png: str = ""


class Sweep(msgspec.Struct, frozen=True):
    """A sweep that can be drawn: what, of which run, and what is left out."""

    run: Run
    lora: Loaded[Lora]
    suite: Suite
    subjects: tuple[tuple[int, Subject], ...]
    parts: tuple[SweepPart, ...]
    warnings: tuple[str, ...]


def run_to_sweep(
    workspace: Workspace, lora: Loaded[Lora], run: str, *, project: str | None, scope: ScopeName
) -> Run:
    """Return the run that is named, else the newest of the LoRA that kept checkpoints.

    Raises:
        RecordNotFoundError: When there is none.
        ArgumentInvalidError: When it trained another LoRA.
    """
    if run:
        found = find_run(workspace, run, project=project, scope=scope).record
        if found.lora_id != lora.record_id:
            raise ArgumentInvalidError(
                f"run {found.id} trained {found.lora_id}, not {lora.record_id}",
                hint=f"lora eval sweep {found.lora_id} {found.id}",
            )
        return found
    kept = [
        one
        for one in workspace.records.each(Run, lora.scope)
        if one.lora_id == lora.record_id and any(file.step is not None for file in one.outputs)
    ]
    if not kept:
        raise RecordNotFoundError(
            f"no run of {lora.record_id} kept a checkpoint",
            hint=f"lora train --lora {lora.record_id} --dataset ID "
            "--config '{\"saveEvery\": 200}'",
        )
    return max(kept, key=lambda one: (one.created_at, one.id))


def planned_sweep(
    workspace: Workspace,
    lora: Loaded[Lora],
    run: Run,
    options: SweepOptions,
    *,
    with_base: bool,
) -> Sweep:
    """Return what is drawn with which checkpoints of a run.

    Raises:
        RecordNotFoundError: When fewer than two checkpoints are on this machine.
        ArgumentInvalidError: When the cells break a rule of suites.
        PipelineError: When a file is not here, or is another one than was recorded.
    """
    here, warnings = _checkpoints_here(workspace, run)
    if len(here) < 2:
        raise RecordNotFoundError(
            f"run {run.id} has {len(here)} checkpoints on this machine, two are compared",
            hint="train with saveEvery, or sweep on the machine that trained",
        )
    steps = thinned(sorted(here), options.most)
    if len(steps) < len(here):
        warnings.append(f"{len(steps)} of {len(here)} checkpoints are compared; --most takes more")
    subjects = []
    for step in steps:
        _, weights = here[step]
        release = Release(
            id=f"step{step}", created_at=run.created_at, status="candidate", weights=weights
        )
        target = Target(lora, release)
        subject = subject_of(workspace, target, suite_id=options.suite, prompts=options.prompts)
        subjects.append((step, _reduced(subject, options)))
    suite = subjects[0][1].suite.suite
    parts = tuple(
        SweepPart(
            step=step,
            sha256=subject.weights_sha256,
            cells=plan_cells(
                suite,
                trigger_word=lora.record.trigger_word,
                weights_sha256=subject.weights_sha256,
                checkpoint_digest=subject.checkpoint.digest,
            ),
            source=render_source(workspace, subject, with_base=with_base),
        )
        for step, subject in subjects
    )
    return Sweep(run, lora, suite, tuple(subjects), parts, tuple(warnings))


def _reduced(subject: Subject, options: SweepOptions) -> Subject:
    suite = sweep_suite(
        subject.suite.suite,
        every_prompt=bool(options.prompts),
        seeds=options.seeds,
        strength=options.strength,
    )
    violations = violations_of_suite(suite)
    if violations:
        raise ArgumentInvalidError(f"sweep: {violations[0]}")
    loaded = LoadedSuite(suite, suite_digest(suite), f"{subject.suite.source}, a part of it")
    return Subject(subject.target, subject.weights_sha256, subject.checkpoint, loaded)


def _checkpoints_here(
    workspace: Workspace, run: Run
) -> tuple[dict[int, tuple[OutputFile, Weights]], list[str]]:
    """Return the checkpoints of a run that are on this machine, by step."""
    here: dict[int, tuple[OutputFile, Weights]] = {}
    gone: list[int] = []
    for output in run.outputs:
        step = run.steps_done if output.step is None else output.step
        weights = _place(workspace, run, output)
        if weights is None:
            gone.append(step)
        else:
            here[step] = (output, weights)
    words = ", ".join(f"{step:,}" for step in sorted(gone))
    return here, [f"not on this machine: step {words}"] if gone else []


def _place(workspace: Workspace, run: Run, output: OutputFile) -> Weights | None:
    if open_store(workspace).has(output.sha256):
        return Weights(kind="store", sha256=output.sha256)
    path = run_folder(workspace, run.id) / output.name
    if not path.is_file():
        return None
    return Weights(kind="repo_relative", path=workspace.relative(path), sha256=output.sha256)
