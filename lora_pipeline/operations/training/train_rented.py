"""Machines that were rented for runs: given back when nothing was sent there, and found again."""

from __future__ import annotations

from msgspec.structs import replace

from lora_pipeline.operations.training.train_run import with_cost
from lora_pipeline.training.hosted.fetched import FETCHED
from lora_pipeline.training.hosted.follow import HostedJob, as_paid
from lora_pipeline.training.hosted.interface import HostedService
from lora_pipeline.training.hosted.rented import Renting
from lora_pipeline.training.records import Run, RunError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_BROKEN_OFF = RunError(
    code="interrupted",
    message="it was broken off before its images were sent, and what was rented is given back",
    hint="the same lora train command again does the work anew",
)


def let_go_unsent(
    workspace: Workspace, loaded: Loaded[Run], service: HostedService, job: HostedJob, job_id: str
) -> bool:
    """Give back a machine into which nothing was sent yet; returns whether there was one.

    Raises:
        ServiceError: When nobody can say what it holds, or it cannot be given back.
    """
    if not isinstance(service, Renting) or (job.folder / FETCHED).exists():
        return False
    if service.holds_job(job_id):
        return False
    service.let_go(job.name)
    if loaded.record.state == "failed":
        run = with_cost(loaded.record, as_paid(service.spent(job_id)))
        changes = Changes(workspace)
        changes.update(loaded, replace(run, external_job_id="", error=_BROKEN_OFF))
        changes.apply()
    return True
