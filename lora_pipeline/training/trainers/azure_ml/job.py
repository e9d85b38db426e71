"""One command job at Azure ML: what is sent, how it stands, and what it left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from lora_pipeline.foundation.errors import ServiceRefusedError
from lora_pipeline.training.hosted.interface import JobState, JobView, RemoteFile, Spent
from lora_pipeline.training.hosted.left_files import LeftFiles
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.azure_ml.api import AzureCommand, AzureJob

_STATES: Mapping[str, JobState] = {
    "notstarted": "waiting", "queued": "waiting", "preparing": "waiting",
    "provisioning": "waiting", "starting": "waiting", "running": "running",
    "finalizing": "running", "cancelrequested": "running", "paused": "waiting",
    "completed": "ended", "failed": "failed", "notresponding": "failed",
    "canceled": "stopped", "cancelled": "stopped",
}  # fmt: skip
_OVER = frozenset({"ended", "failed", "stopped"})


class AzureWorkspace(Protocol):
    """What is asked of Azure ML; ``azure_ml_api`` speaks to the real one."""

    def close(self) -> None:
        """Close what was opened."""

    def check(self) -> None:
        """Check that the workspace lets us in and has the datastore."""

    def job(self, name: str) -> AzureJob | None:
        """Return a job, or None when there surely is none."""

    def submit(self, wanted: AzureCommand) -> AzureJob:
        """Create a job."""

    def cancel(self, name: str) -> None:
        """Ask for a job to be cancelled."""

    def put(self, source: Path, name: str) -> None:
        """Write a file into the datastore."""

    def put_bytes(self, data: bytes, name: str) -> None:
        """Write bytes into the datastore."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        """Return a file of the datastore from a byte on; None when there is none."""


class AzureMlService:
    """A connection to a workspace, used for one run.

    Args:
        workspace: Speaks to Azure.
        datastore: Name of the datastore.
        command: What runs; its name, inputs and output are filled in here.
        models: Folder of base models in Azure's storage, or empty.
        price_per_hour: What the compute costs; 0 is not known.
        currency: ISO 4217.
    """

    def __init__(
        self,
        workspace: AzureWorkspace,
        datastore: str,
        command: AzureCommand,
        *,
        models: str,
        price_per_hour: float,
        currency: str,
    ) -> None:
        self._azure, self._datastore, self._command = workspace, datastore, command
        self._models, self._price, self._currency = models, price_per_hour, currency
        self._left: dict[str, LeftFiles] = {}

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._azure.close()

    def check(self) -> None:
        """Check that the workspace lets us in and has the datastore."""
        self._azure.check()

    def find(self, name: str) -> str | None:
        """Return the name again when there is such a job: names are ids at Azure ML."""
        job = self._azure.job(name)
        return job.name if job else None

    def send(self, plan: Plan, name: str, creating: Callable[[], None]) -> str:
        """Send images, captions and the job, and submit it."""
        for upload in plan.uploads:
            self._azure.put(upload.source, f"{_folder(name)}/work/{upload.name}")
        for file in plan.files:
            self._azure.put_bytes(file.content.encode(), f"{_folder(name)}/work/{file.path}")
        creating()
        try:
            return self._azure.submit(self._filled(name)).name
        except ServiceRefusedError:
            # It may be the answer to a second try of the client's own: the first one made it.
            if self._azure.job(name) is None:
                raise
            return name

    def start(self, job_id: str) -> None:
        """Do nothing: a job starts when there is room for it."""

    def look(self, job_id: str) -> JobView:
        """Return how a job stands, with what its log gained since the last look."""
        job = self._azure.job(job_id)
        if job is None:
            raise ServiceRefusedError(
                f"Azure ML has no job {job_id} any more",
                hint="nothing was sent again: see whether this is the workspace it was sent to",
            )
        state = _STATES.get(job.status)
        if state is None:
            raise ServiceRefusedError(f"job {job_id} has a state that is not known: {job.status}")
        lines = self._files(job_id).new_lines(ended=state in _OVER)
        return JobView(state, message=job.status, lines=lines)

    def stop(self, job_id: str) -> None:
        """Cancel a job; does nothing for one that ended or is not there any more."""
        job = self._azure.job(job_id)
        if job is not None and _STATES.get(job.status) not in _OVER:
            self._azure.cancel(job_id)

    def outputs(self, job_id: str) -> Sequence[RemoteFile]:
        """Return the weights that the job names, with lengths and digests."""
        # Each with the job that it belongs to: whoever fetches it may be another process.
        return [
            RemoteFile(f"{job_id}/{file.where}", file.bytes, file.step, file.sha256)
            for file in self._files(job_id).weights()
        ]

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write a file of the job's folder, its length and digest compared."""
        job_id, _, name = file.where.partition("/")
        remote = RemoteFile(name, file.bytes, file.step, file.sha256)
        self._files(job_id).fetch(remote, target)

    def spent(self, job_id: str) -> Spent | None:
        """Return the job's own time by the price of its compute, or None while nobody knows."""
        return self._files(job_id).spent(
            self._price, self._currency, "what the node took to start and to stop is not counted"
        )

    def _files(self, job_id: str) -> LeftFiles:
        if job_id not in self._left:
            self._left[job_id] = LeftFiles(_Folder(self._azure, f"{_folder(job_id)}/out"))
        return self._left[job_id]

    def _filled(self, name: str) -> AzureCommand:
        root = f"azureml://datastores/{self._datastore}/paths/{_folder(name)}"
        command = self._command
        models = {"models": self._models} if self._models else {}
        return AzureCommand(
            name, command.command, command.image, command.compute,
            {"work": f"{root}/work/", **models}, f"{root}/out/", command.max_seconds,
        )  # fmt: skip


class _Folder:
    """The files of one job in the datastore."""

    def __init__(self, azure: AzureWorkspace, folder: str) -> None:
        self._azure, self._root = azure, folder

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        """Return a file from a byte on; None when there is none."""
        return self._azure.read(f"{self._root}/{name}", start)


def _folder(name: str) -> str:
    return f"lora-pipeline/{name}"
