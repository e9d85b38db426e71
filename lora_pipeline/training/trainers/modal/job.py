"""One sandbox at Modal: what is sent, how it stands, and what it left in the volume.

Its name is its id. A sandbox that has ended is not found by its name any more; the volume says
then how it ended, and one that ended without a word ran out of its time or was taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from msgspec.structs import replace

from lora_pipeline.foundation.errors import ServiceUnreachableError
from lora_pipeline.training.hosted.interface import JobView, RemoteFile, Spent
from lora_pipeline.training.hosted.left_files import LeftFiles
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.modal.api import ModalCommand

# Looks until a sandbox that ended without a word is given up: a volume may lag behind.
_PATIENCE = 3


class ModalPart(Protocol):
    """What is asked of Modal; ``modal_api`` speaks to the real one."""

    def close(self) -> None:
        """Close what was opened."""

    def check(self) -> None:
        """Check that Modal lets us in."""

    def runs(self, name: str) -> bool:
        """Return whether a sandbox of a name runs now."""

    def create(self, wanted: ModalCommand) -> None:
        """Start a sandbox; does nothing when one of its name runs already."""

    def terminate(self, name: str) -> None:
        """End a sandbox; does nothing when none of its name runs."""

    def put(self, files: Sequence[tuple[Path | bytes, str]]) -> None:
        """Write files into the volume."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        """Return a file of the volume from a byte on; None when there is none."""


class ModalService:
    """A connection to Modal, used for one run.

    Args:
        modal: Speaks to Modal.
        command: What runs; name and folders are filled in here.
        toolkit: Folder of ai-toolkit in the image.
        price_per_hour: What the GPU costs; 0 is not known.
    """

    def __init__(
        self, modal: ModalPart, command: ModalCommand, *, toolkit: str, price_per_hour: float
    ) -> None:
        self._modal, self._command = modal, command
        self._toolkit, self._price = toolkit, price_per_hour
        self._left: dict[str, LeftFiles] = {}
        self._silent = 0

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
        self._modal.close()

    def check(self) -> None:
        """Check that Modal lets us in."""
        self._modal.check()

    def find(self, name: str) -> str | None:
        """Return the name again when a sandbox of it runs, or has left something."""
        if self._modal.runs(name) or self._has_left(name):
            return name
        return None

    def send(self, plan: Plan, name: str, creating: Callable[[], None]) -> str:
        """Send images, captions and the job, and start the sandbox."""
        folder = f"/{name}/work"
        files: list[tuple[Path | bytes, str]] = [
            (upload.source, f"{folder}/{upload.name}") for upload in plan.uploads
        ]
        files += [(file.content.encode(), f"{folder}/{file.path}") for file in plan.files]
        self._modal.put(files)
        creating()
        try:
            self._modal.create(self._filled(name))
        except ServiceUnreachableError:
            if not self._modal.runs(name) and not self._has_left(name):
                raise
        return name

    def start(self, job_id: str) -> None:
        """Do nothing: a sandbox starts when it is made."""

    def look(self, job_id: str) -> JobView:
        """Return how a sandbox stands, with what its log gained since the last look."""
        left = self._files(job_id)
        runs = self._modal.runs(job_id)
        ended = left.ended()
        if ended is not None:
            lines = left.new_lines(ended=True)
            if ended.status == 0:
                return JobView("ended", lines=lines)
            return JobView("failed", message=f"it ended with {ended.status}", lines=lines)
        lines = left.new_lines(ended=False)
        if runs:
            self._silent = 0
            return JobView("running" if lines or left.has_log else "waiting", lines=lines)
        self._silent += 1
        if self._silent < _PATIENCE:
            return JobView("running", message="the volume does not say yet how it ended")
        return JobView(
            "failed",
            message="the sandbox ended without a word: it was stopped, ran out of its time, "
            "or was taken away",
            lines=left.new_lines(ended=True),
        )

    def stop(self, job_id: str) -> None:
        """End a sandbox; does nothing for one that ended or is not there any more."""
        self._modal.terminate(job_id)

    def outputs(self, job_id: str) -> Sequence[RemoteFile]:
        """Return the weights that the job names, with lengths and digests."""
        return [
            replace(file, where=f"{job_id}/{file.where}") for file in self._files(job_id).weights()
        ]

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write a file of the job's folder, its length and digest compared."""
        job_id, _, name = file.where.partition("/")
        self._files(job_id).fetch(replace(file, where=name), target)

    def spent(self, job_id: str) -> Spent | None:
        """Return the sandbox's own time by the price of its GPU, or None while nobody knows."""
        return self._files(job_id).spent(
            self._price, "USD", "processor, memory and the fetching of the image are not counted"
        )

    def _has_left(self, name: str) -> bool:
        left = self._files(name)
        return left.has_log or left.ended() is not None

    def _files(self, job_id: str) -> LeftFiles:
        if job_id not in self._left:
            self._left[job_id] = LeftFiles(_Folder(self._modal, f"{job_id}/out"))
        return self._left[job_id]

    def _filled(self, name: str) -> ModalCommand:
        work = f"/work/{name}/work"
        return replace(
            self._command,
            name=name,
            arguments=(
                "python", f"{work}/start.py", work, f"/work/{name}/out", self._toolkit, "/models",
            ),
        )  # fmt: skip


class _Folder:
    """The files of one job in the volume."""

    def __init__(self, modal: ModalPart, folder: str) -> None:
        self._modal, self._root = modal, folder

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        """Return a file from a byte on; None when there is none."""
        return self._modal.read(f"{self._root}/{name}", start)
