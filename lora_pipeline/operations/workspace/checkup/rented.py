"""Machines rented for runs as a check-up sees them: none may cost money that nobody waits for."""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.operations.training.run_states import UNDER_WAY
from lora_pipeline.operations.training.train_sending import may_have_job
from lora_pipeline.training.hosted.interface import HostedTrainer
from lora_pipeline.training.hosted.rented import Kept, Renting
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.health.machine import Check
from lora_pipeline.workspace.root import Workspace

_PREFIX = "lora-"


def rented_checks(workspace: Workspace) -> Iterator[Check]:
    """Yield what is rented now, for each service that rents and that a run here was sent to."""
    runs = _runs(workspace)
    for name in sorted({run.trainer for run in runs.values()}):
        trainer = TRAINERS.get(name)
        if isinstance(trainer, HostedTrainer) and trainer.health(workspace.settings) is None:
            yield from _of(workspace, trainer, runs)


def _of(workspace: Workspace, trainer: HostedTrainer, runs: dict[str, Run]) -> Iterator[Check]:
    title = f"rented {trainer.name}"
    try:
        with trainer.service(workspace.settings) as service:
            if not isinstance(service, Renting):
                return
            kept = service.kept(_PREFIX)
    except PipelineError as error:
        yield Check(title, "skipped", error.message, error.hint or "")
        return
    if not kept:
        yield Check(title, "ok", "nothing is kept there")
    for one in kept:
        yield _kept(workspace, trainer, one, runs.get(one.name.removeprefix(_PREFIX).upper()))


def _kept(workspace: Workspace, trainer: HostedTrainer, kept: Kept, run: Run | None) -> Check:
    title = f"rented {trainer.name} {kept.id}"
    price = f" at {kept.cost_per_hour:g} USD an hour" if kept.cost_per_hour else ""
    since = f" since {kept.since[:16].replace('T', ' ')} UTC" if kept.since else ""
    rented = f"kept{since}{price}"
    if run is None:
        words = f"{rented} for {kept.name}, which is no run of this workspace"
        return Check(title, "warn", words, "see where that run is, or end it in the console")
    if run.state in UNDER_WAY and is_alive(workspace, run.id):
        return Check(title, "ok", f"{rented} for run {run.id}, which is under way")
    if may_have_job(run):
        words = f"{rented} for run {run.id}, which nobody follows"
        fix = f"lora run resume {run.id}, or lora run cancel {run.id}"
        return Check(title, "warn", words, fix)

    def give_back() -> list[str]:
        with trainer.service(workspace.settings) as service:
            if isinstance(service, Renting):
                service.let_go(kept.name)
        return []

    words = f"{rented} for run {run.id}, which is {run.state}"
    return Check(title, "warn", words, "lora doctor --fix", give_back)


def _runs(workspace: Workspace) -> dict[str, Run]:
    found = {}
    for scope in workspace.records.scopes():
        for run_id in workspace.records.ids(Run, scope):
            try:
                found[run_id] = workspace.records.read(Run, scope, run_id).record
            except PipelineError:
                continue  # lora validate says why
    return found
