"""The HTTP interface of ai-toolkit's web server, as version 0.12 answers.

It has habits to know: most changes are GETs that answer with the state before the change;
malformed requests are answered with 500; a job runs only when its queue was started after it;
names with unusual characters overwrite each other; a job's configuration is not checked.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from lora_pipeline.foundation.errors import ServiceRefusedError
from lora_pipeline.training.hosted.http_client import ServiceClient
from lora_pipeline.training.hosted.interface import JobState, JobView, RemoteFile
from lora_pipeline.training.plan import Plan, Upload

# What the plan writes where only the server knows the folder.
TRAINING_FOLDER, DATASETS_FOLDER = "{TRAINING_FOLDER}", "{DATASETS_FOLDER}"
JOB_FILE = "job.json"
_STATES: Mapping[str, JobState] = {
    "queued": "waiting", "running": "running", "stopping": "running", "completed": "ended",
    "error": "failed", "stopped": "stopped",
}  # fmt: skip
_BATCH_BYTES, _BATCH_FILES = 32 * 1024 * 1024, 50
_SAVED = re.compile(r"_(\d{9})\.safetensors$")
_STOP_LOOKS = 20
_QUEUE_STARTS = 3


class AiToolkitService:
    """A connection to an ai-toolkit server.

    Args:
        client: Speaks to it.
        gpu: Which GPU runs the job, as the server numbers them: ``0``, or ``0,1``.
        pause_s: How long is waited for a job to stop before looking again.
        sleep: Waits; tests give their own.
    """

    def __init__(
        self,
        client: ServiceClient,
        *,
        gpu: str,
        pause_s: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._gpu, self._pause_s, self._sleep = client, gpu, pause_s, sleep
        self._offset = 0
        self._rest = ""
        self._queue_starts = 0

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
        self._client.close()

    def check(self) -> None:
        """Check that the server is there and takes our token."""
        answer = self._client.read("/api/auth")
        if not isinstance(answer, dict) or answer.get("isAuthenticated") is not True:
            raise ServiceRefusedError(
                f"{self._client.base} does not answer as an ai-toolkit server does",
                hint="set trainers.ai_toolkit_server.baseUrl to the address of its web page",
            )

    def find(self, name: str) -> str | None:
        """Return the id of the job of a name, or None."""
        answer = _mapping(self._client.read("/api/jobs"), "/api/jobs")
        for row in answer.get("jobs") or []:
            if isinstance(row, dict) and row.get("name") == name:
                return str(row["id"])
        return None

    def send(self, plan: Plan, name: str, creating: Callable[[], None]) -> str:
        """Send images and captions, check that they arrived, and create the job, stopped."""
        places = self._folders()
        for data_set, uploads in _by_data_set(plan.uploads).items():
            self._send_images(data_set, uploads)
        (text,) = [file.content for file in plan.files if file.path == JOB_FILE]
        job = _placed(json.loads(text), places)
        body = {"name": name, "gpu_ids": self._gpu, "job_config": job, "job_type": "train"}
        creating()
        try:
            row = _mapping(self._client.act("POST", "/api/jobs", body), "/api/jobs")
        except ServiceRefusedError:
            # 409, a job of this name: ours, because the name is made from the run's id.
            known = self.find(name)
            if known is None:
                raise
            return known
        if not row.get("id"):
            raise ServiceRefusedError(f"{self._client.base} created a job without an id")
        return str(row["id"])

    def start(self, job_id: str) -> None:
        """Queue a job that never ran, and start its queue."""
        row = self._row(job_id)
        if row.get("status") == "stopped" and _never_ran(row):
            self._client.act("GET", f"/api/jobs/{quote(job_id, safe='')}/start")
            self._start_queue(row)
        elif row.get("status") == "queued":
            self._start_queue(row)

    def look(self, job_id: str) -> JobView:
        """Return how a job stands, with what its log gained since the last look."""
        row = self._row(job_id)
        status = str(row.get("status"))
        state = _STATES.get(status)
        if state is None:
            raise ServiceRefusedError(f"job {job_id} has a state that is not known: {status!r}")
        if state == "waiting" and self._queue_starts < _QUEUE_STARTS and self._queue_is_off(row):
            # A queue turns itself off when its last job ends, also just after we started it.
            self._start_queue(row)
        step = row.get("step")
        return JobView(
            state=state,
            step=step if isinstance(step, int) and step >= 0 else None,
            message=str(row.get("info") or ""),
            lines=tuple(self._log(job_id, ended=state not in {"waiting", "running"})),
        )

    def stop(self, job_id: str) -> None:
        """Stop a job and wait until it is; a waiting one is taken out of the queue."""
        for _ in range(_STOP_LOOKS):
            row = self._row_or_none(job_id)
            if row is None:
                return
            status = row.get("status")
            if status in {"completed", "error"} or (status == "stopped" and not row.get("stop")):
                return
            # A plain stop does nothing to a job without a process.
            verb = "stop" if status == "running" and row.get("pid") else "mark_stopped"
            self._client.act("GET", f"/api/jobs/{quote(job_id, safe='')}/{verb}")
            if verb == "mark_stopped":
                return
            self._sleep(self._pause_s)
        raise ServiceRefusedError(f"job {job_id} does not stop", hint=f"see {self._client.base}")

    def outputs(self, job_id: str) -> Sequence[RemoteFile]:
        """Return the weights in the job's folder."""
        name = str(self._row(job_id).get("name"))
        path = f"/api/jobs/{quote(job_id, safe='')}/files"
        found = []
        for file in _mapping(self._client.read(path), path).get("files") or []:
            where, size = str(file.get("path", "")), file.get("size")
            base = PureWindowsPath(where).name
            saved = _SAVED.search(base)
            step = int(saved.group(1)) if saved else None
            if base == f"{name}.safetensors" or (saved and base.startswith(f"{name}_")):
                found.append(RemoteFile(where, size if isinstance(size, int) else None, step))
        return found

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write a file of the server; it tells no digest, so its length is compared."""
        path = f"/api/files/{quote(file.where, safe='')}"
        self._client.download(path, target, bytes_expected=file.bytes, sha256=file.sha256)

    def spent(self, job_id: str) -> None:
        """Return None: the server is somebody's own and costs nothing for each job."""

    def _folders(self) -> dict[str, str]:
        settings = _mapping(self._client.read("/api/settings"), "/api/settings")
        places = {}
        for name in ("TRAINING_FOLDER", "DATASETS_FOLDER"):
            folder = str(settings.get(name) or "").rstrip("/\\")
            if not folder:
                raise ServiceRefusedError(f"{self._client.base} does not say its {name}")
            places[f"{{{name}}}"] = folder
        return places

    def _send_images(self, data_set: str, uploads: Sequence[Upload]) -> None:
        self._client.read("/api/datasets/list")  # makes the folder of all data sets
        made = _mapping(
            self._client.act("POST", "/api/datasets/create", {"name": data_set}), "datasets/create"
        )
        if made.get("name") != data_set:
            # An empty or another name would put our images among somebody else's.
            raise ServiceRefusedError(
                f"{self._client.base} named data set {data_set} {made.get('name')!r}"
            )
        for batch in _batches(uploads):
            names = [name for name, _ in batch]
            answer = _mapping(
                self._client.upload("/api/datasets/upload", {"datasetName": data_set}, batch),
                "datasets/upload",
            )
            if answer.get("files") != names:
                raise ServiceRefusedError(
                    f"{self._client.base} stored {len(answer.get('files') or [])} of "
                    f"{len(names)} files under their names"
                )
        self._require_images(data_set, uploads)

    def _require_images(self, data_set: str, uploads: Sequence[Upload]) -> None:
        listed = _mapping(
            self._client.act("POST", "/api/datasets/listImages", {"datasetName": data_set}),
            "datasets/listImages",
        )
        there = {PureWindowsPath(str(one)).name for one in listed.get("images") or []}
        sent = {Path(one.name).name for one in uploads if one.source.suffix != ".txt"}
        if there != sent:
            missing, more = len(sent - there), len(there - sent)
            raise ServiceRefusedError(
                f"data set {data_set} at {self._client.base} is not what was sent: "
                f"{missing} images are missing, {more} are not ours"
            )

    def _row(self, job_id: str) -> dict[str, Any]:
        row = self._row_or_none(job_id)
        if row is None:
            raise ServiceRefusedError(
                f"{self._client.base} has no job {job_id} any more",
                hint="nothing was sent again: see whether this is the server that it was sent to",
            )
        return row

    def _row_or_none(self, job_id: str) -> dict[str, Any] | None:
        answer = self._client.read("/api/jobs", {"id": job_id})
        return None if answer is None else _mapping(answer, "/api/jobs")

    def _queue_is_off(self, row: Mapping[str, Any]) -> bool:
        answer = _mapping(self._client.read("/api/queue"), "/api/queue")
        queues = [one for one in answer.get("queues") or [] if isinstance(one, dict)]
        ours = [one for one in queues if one.get("gpu_ids") == row.get("gpu_ids")]
        return not any(one.get("is_running") for one in ours)

    def _start_queue(self, row: Mapping[str, Any]) -> None:
        self._queue_starts += 1
        gpu = quote(str(row.get("gpu_ids") or self._gpu), safe=",")
        self._client.act("GET", f"/api/queue/{gpu}/start")

    def _log(self, job_id: str, *, ended: bool) -> Iterator[str]:
        path = f"/api/jobs/{quote(job_id, safe='')}/log"
        answer = _mapping(self._client.read(path, {"offset": str(self._offset)}), path)
        offset, text = answer.get("offset"), str(answer.get("log") or "")
        if answer.get("reset") and self._offset:
            self._rest = ""  # another log: what was read before stands in ours already
        if isinstance(offset, int) and offset >= 0:
            self._offset = offset
        # Progress bars redraw with CR; the last piece may not be whole yet.
        *lines, self._rest = re.split(r"[\r\n]+", self._rest + text)
        if ended and self._rest:
            lines, self._rest = [*lines, self._rest], ""
        yield from (line for line in lines if line.strip())


def _never_ran(row: Mapping[str, Any]) -> bool:
    # A new job looks like one that was stopped, but it has no step, process or words yet.
    return not row.get("step") and not row.get("pid") and not row.get("info")


def _mapping(answer: Any, where: str) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ServiceRefusedError(f"{where} answers with another document than ai-toolkit's")
    return answer


def _placed(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _placed(one, places) for key, one in value.items()}
    if isinstance(value, list):
        return [_placed(one, places) for one in value]
    if isinstance(value, str):
        for name, folder in places.items():
            if value == name or value.startswith(f"{name}/"):
                return folder + value.removeprefix(name)
    return value


def _by_data_set(uploads: Sequence[Upload]) -> dict[str, list[Upload]]:
    found: dict[str, list[Upload]] = {}
    for one in uploads:
        found.setdefault(one.name.partition("/")[0], []).append(one)
    return found


def _batches(uploads: Sequence[Upload]) -> Iterator[list[tuple[str, Path]]]:
    batch, size = list[tuple[str, Path]](), 0
    for one in uploads:
        length = one.source.stat().st_size
        if batch and (size + length > _BATCH_BYTES or len(batch) >= _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append((Path(one.name).name, one.source))
        size += length
    if batch:
        yield batch
