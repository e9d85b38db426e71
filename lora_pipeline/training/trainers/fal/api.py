"""fal's queue, as its client 1.0 speaks to it.

It has habits to know: the client submits a job again, up to ten times, when an answer is lost;
requests cannot be listed, so one whose answer was lost can only be found by a person; a job that
failed is "completed"; what was uploaded stays for ever unless it is given an end.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec.structs import asdict

from lora_pipeline.foundation.errors import JobInDoubtError, ServiceRefusedError
from lora_pipeline.training.hosted.client_bridge import ClientBridge, mapping, understood
from lora_pipeline.training.hosted.http_client import AnsweredNoError, Manner, ServiceClient
from lora_pipeline.training.hosted.interface import (
    AS_ESTIMATED,
    JobView,
    RemoteFile,
    Spent,
)
from lora_pipeline.training.hosted.parcel import fetch_weights, origin_of, pack
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.fal.trainer import ENDPOINTS, REQUEST_FILE

_JOB = re.compile(r"(?P<endpoint>[\w./-]+)/requests/(?P<request>[\w-]{8,64})")
_WEIGHTS = ("diffusers_lora_file", "lora_file", "diffusers_lora", "lora")
_EXPIRED = frozenset({401, 403, 404, 410})
_LARGEST_PARCEL = 1024 * 1024 * 1024
_NO_SUCH = "00000000-0000-4000-8000-000000000000"


class Addresses(msgspec.Struct, frozen=True):
    """Where fal is.

    Attributes:
        queue: Takes jobs.
        storage: Gives leave to upload.
        files: Takes uploads.
    """

    queue: str
    storage: str
    files: str


def connect(addresses: Addresses, *, variable: str, keep_days: int, pause_s: float) -> FalService:
    """Open a connection; nothing is asked yet."""
    import fal_client.auth

    key = os.environ[variable].strip()

    def client(address: str) -> ServiceClient:
        return ServiceClient(
            address,
            token=key,
            variable=variable,
            manner=Manner(scheme="Key", hint="see fal.ai/dashboard/requests"),
            first_wait_s=pause_s,
        )

    ours = {address: client(address) for address in asdict(addresses).values()}
    # The client writes to fixed addresses; here they lead to those that are set.
    routes = {
        f"https://{fal_client.auth.FAL_QUEUE_RUN_HOST}": ours[addresses.queue],
        "https://rest.fal.ai": ours[addresses.storage],
        "https://v3.fal.media": ours[addresses.files],
        **{origin_of(address): one for address, one in ours.items()},
    }
    bridge = ClientBridge(
        routes,
        # An upload that arrives twice is not trained twice, and a job is cancelled but once.
        repeats=lambda method, path: method == "PUT" or "upload" in path or "/auth/" in path,
        mend=_with_logs,
    )
    return FalService(_client_of(key, bridge), bridge, addresses, keep_days, pause_s)


class FalService:
    """A connection to fal.

    Args:
        client: fal's own client, which speaks through the bridge.
        bridge: Closed with the connection.
        addresses: Where fal is.
        keep_days: How long uploaded images stay there.
        pause_s: How long is waited before a second try.
    """

    def __init__(
        self,
        client: Any,
        bridge: ClientBridge,
        addresses: Addresses,
        keep_days: int,
        pause_s: float,
    ) -> None:
        self._client, self._bridge, self._addresses = client, bridge, addresses
        self._keep_days, self._pause_s = keep_days, pause_s
        self._told = 0

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
        self._bridge.close()

    def check(self) -> None:
        """Check that fal takes the key, by asking for a job that is not there."""
        try:
            with understood("fal"):
                self._client.status(next(iter(ENDPOINTS)), _NO_SUCH)
        except AnsweredNoError as refusal:
            if refusal.status not in {404, 422}:
                raise

    def find(self, name: str) -> str | None:
        """Say that nobody can tell: fal lists no requests of trainers that are its own.

        Raises:
            JobInDoubtError: Always.
        """
        run = name.rpartition("-")[2].upper()
        raise JobInDoubtError(
            f"fal was asked to train run {run}, its answer was lost, and fal lists no requests",
            hint=f"look for a request whose images are {name}.zip at fal.ai/dashboard/requests; "
            f"then lora run resume {run} --job ENDPOINT/requests/ID, or "
            f"lora run cancel {run} --no-job",
        )

    def send(self, plan: Plan, name: str, creating: Callable[[], None]) -> str:
        """Send the images as one zip, and submit the job, which is queued at once."""
        from fal_client.client import StorageSettings

        (text,) = [file.content for file in plan.files if file.path == REQUEST_FILE]
        wanted = json.loads(text)
        endpoint = ENDPOINTS[wanted["endpoint"]]
        parcel = plan.cwd / f"{name}.zip"
        size = pack(plan.uploads, parcel)
        if size > _LARGEST_PARCEL:
            raise ServiceRefusedError(
                f"the images are {size >> 20} MB, more than {_LARGEST_PARCEL >> 20}",
                hint="fewer or smaller images",
            )
        keep = StorageSettings(expires_in=max(1, self._keep_days) * 86400)
        with understood("fal"):
            address = self._client.upload_file(
                parcel, repository="fal_v3", fallback_repository=[], lifecycle=keep
            )
        parcel.unlink(missing_ok=True)
        if not isinstance(address, str) or not address.startswith(("https://", "http://127.")):
            raise ServiceRefusedError("fal does not say where it keeps the images")
        creating()
        with understood("fal"):
            handle = self._client.submit(
                endpoint.name, {**wanted["input"], endpoint.images: address}
            )
            return _job_id(endpoint.name, str(handle.request_id))

    def start(self, job_id: str) -> None:
        """Do nothing: a job is queued when it is submitted."""

    def look(self, job_id: str) -> JobView:
        """Return how a job stands, with what its log gained since the last look."""
        from fal_client.client import Completed, InProgress, Queued

        status = self._status(job_id, logs=True)
        lines = tuple(self._lines(getattr(status, "logs", None)))
        if isinstance(status, Queued):
            return JobView("waiting", message=f"{status.position} before it")
        if isinstance(status, InProgress):
            return JobView("running", message="in progress", lines=lines)
        if isinstance(status, Completed) and status.error:
            words = f"{status.error_type or 'error'}: {status.error}"
            stopped = "cancel" in words.lower()
            return JobView("stopped" if stopped else "failed", message=words, lines=lines)
        try:
            self._result(job_id)
        except AnsweredNoError as refusal:
            # A job that failed is completed, and says so only when its result is asked for.
            if refusal.status in {401, 403}:
                raise
            return JobView("failed", message=refusal.message, lines=lines)
        return JobView("ended", message="completed", lines=lines)

    def stop(self, job_id: str) -> None:
        """Ask for a job to be cancelled; does nothing for one that ended or is not there."""
        endpoint, request = _parts(job_id)
        try:
            with understood("fal"):
                self._client.cancel(endpoint, request)
        except AnsweredNoError as refusal:
            # 400 ALREADY_COMPLETED; 404 not there any more.
            if refusal.status not in {400, 404}:
                raise

    def outputs(self, job_id: str) -> Sequence[RemoteFile]:
        """Return the weights that a job left; their address is asked for when fetching."""
        found = _weights_of(self._result(job_id))
        if found is None:
            return []
        size = found.get("file_size")
        return [RemoteFile(job_id, size if isinstance(size, int) and size > 0 else None)]

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write the weights, their length compared with what fal tells."""
        found = _weights_of(self._result(file.where)) or {}
        try:
            fetch_weights(
                str(found.get("url", "")),
                target,
                near=self._addresses.queue,
                bytes_expected=file.bytes,
                first_wait_s=self._pause_s,
            )
        except AnsweredNoError as refusal:
            if refusal.status not in _EXPIRED:
                raise
            raise ServiceRefusedError(
                f"the weights of job {file.where} are not at fal any more",
                hint="see fal.ai/dashboard/requests; lora train --trainer manual takes a file",
            ) from refusal

    def spent(self, job_id: str) -> Spent | None:
        """Return that a job cost what was estimated: fal is paid by the step, and tells no sum."""
        try:
            done = self.look(job_id).state == "ended"
        except ServiceRefusedError:
            return None
        return AS_ESTIMATED if done else None

    def _status(self, job_id: str, *, logs: bool) -> Any:
        endpoint, request = _parts(job_id)
        try:
            with understood("fal"):
                return self._client.status(endpoint, request, with_logs=logs)
        except AnsweredNoError as refusal:
            if refusal.status != 404:
                raise
            raise ServiceRefusedError(
                f"fal has no job {job_id} any more",
                hint="nothing was sent again: see whether the key is of the same account",
            ) from refusal

    def _result(self, job_id: str) -> Mapping[str, Any]:
        # The client's own way waits until a job has ended; here it has.
        endpoint, request = _parts(job_id)
        with understood("fal"):
            handle = self._client.get_handle(endpoint, request)
            return mapping(handle.client.get(handle.response_url).json(), "what fal trained")

    def _lines(self, logs: Any) -> Iterator[str]:
        rows = [one for one in logs or [] if isinstance(one, dict)]
        if len(rows) < self._told:
            self._told = 0
        fresh, self._told = rows[self._told :], len(rows)
        for row in fresh:
            yield from (line for line in re.split(r"[\r\n]+", str(row.get("message", ""))) if line)


def _client_of(key: str, bridge: ClientBridge) -> Any:
    """Return fal's client with its connections led through the bridge."""
    import fal_client.client as theirs
    import httpx

    def led(headers: dict[str, str]) -> Any:
        return httpx.Client(transport=bridge, headers=headers, follow_redirects=False)

    class Tokens(theirs.CDNTokenManager):  # type: ignore[misc]
        def _refresh_token(self) -> Any:
            answer = led({}).post(self._url, headers=self._headers, json={}).json()
            ends = datetime.fromisoformat(answer["expires_at"])
            return theirs.CDNToken(
                token=answer["token"],
                token_type=answer["token_type"],
                base_upload_url=answer["base_url"],
                expires_at=ends if ends.tzinfo else ends.replace(tzinfo=UTC),
            )

    class Client(theirs.SyncClient):  # type: ignore[misc]
        @cached_property
        def _client(self) -> Any:
            return led({"Authorization": self._auth.header_value})

        @cached_property
        def _token_manager(self) -> Any:
            return Tokens(self._auth)

        def _get_cdn_client(self) -> Any:
            token = self._token_manager.get_token()
            return led({"Authorization": f"{token.token_type} {token.token}"})

    return Client(key=key)


def _with_logs(document: Any) -> Any:
    """Return a status with what the client insists on; fal leaves logs out where there are none."""
    if isinstance(document, dict) and document.get("status") in {"IN_PROGRESS", "COMPLETED"}:
        return {"logs": None} | document
    if isinstance(document, dict) and document.get("status") == "IN_QUEUE":
        return {"queue_position": 0} | document
    return document


def _job_id(endpoint: str, request: str) -> str:
    job_id = f"{endpoint}/requests/{request}"
    if not _JOB.fullmatch(job_id):
        raise ServiceRefusedError(f"fal names a job {request[:80]!r}")
    return job_id


def _parts(job_id: str) -> tuple[str, str]:
    found = _JOB.fullmatch(job_id)
    if found is None or found["endpoint"] not in ENDPOINTS:
        raise ServiceRefusedError(
            f"{job_id[:120]!r} is no job of fal's", hint="ENDPOINT/requests/ID, as fal names it"
        )
    return found["endpoint"], found["request"]


def _weights_of(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for name in _WEIGHTS:
        found = result.get(name)
        if isinstance(found, dict) and isinstance(found.get("url"), str):
            return found
    return None
