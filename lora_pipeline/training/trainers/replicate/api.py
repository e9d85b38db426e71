"""Replicate's trainings, as its client 1.0 reads them.

It has habits to know: a training has no name or tag of ours, but keeps its inputs, and lists them;
its logs come as one growing text; weights come as a tar behind an address that may expire; the
client knows five states and fails on any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from lora_pipeline.foundation.errors import JobInDoubtError, PipelineError, ServiceRefusedError
from lora_pipeline.foundation.ids import time_of_ulid
from lora_pipeline.training.hosted.client_bridge import ClientBridge, mapping, understood
from lora_pipeline.training.hosted.http_client import AnsweredNoError, Manner, ServiceClient
from lora_pipeline.training.hosted.interface import JobState, JobView, RemoteFile, Spent
from lora_pipeline.training.hosted.parcel import fetch_weights, origin_of, pack
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.replicate.trainer import REQUEST_FILE

_ORIGIN = "https://api.replicate.com"
_STATES: dict[str, JobState] = {
    "starting": "waiting", "processing": "running", "succeeded": "ended", "failed": "failed",
    "canceled": "stopped",
}  # fmt: skip
_OVER = frozenset({"ended", "failed", "stopped"})
_LARGEST_PARCEL = 100 * 1024 * 1024
_CLOCKS_DIFFER = timedelta(minutes=10)
_MOST_PAGES = 50
_EXPIRED = frozenset({401, 403, 404, 410})


class Account(msgspec.Struct, frozen=True):
    """Whose trainings, and which trainer.

    Attributes:
        address: Replicate's address.
        variable: Environment variable that holds the token.
        trainer: ``owner/name`` of the trainer.
        version: Its version.
        destination: ``owner/name`` of the model that takes what is trained.
        hardware: What that model would run on.
        price_per_second: In USD; 0 when it is not known.
        pause_s: How long is waited before a second try.
    """

    address: str
    variable: str
    trainer: str
    version: str
    destination: str
    hardware: str
    price_per_second: float
    pause_s: float = 1.0


def connect(account: Account) -> ReplicateService:
    """Open a connection; nothing is asked yet."""
    import replicate

    token = os.environ[account.variable].strip()
    ours = ServiceClient(
        account.address,
        token=token,
        variable=account.variable,
        manner=Manner(hint="see replicate.com/trainings"),
        first_wait_s=account.pause_s,
    )
    # Pages of a list are named by their whole address, also behind a proxy of somebody's.
    routes = {origin_of(account.address): ours, _ORIGIN: ours}
    bridge = ClientBridge(routes, repeats=_may_repeat, mend=_in_known_states)
    client = replicate.Client(
        api_token=token, base_url=account.address, transport=bridge, headers={}
    )
    return ReplicateService(client, bridge, account)


class ReplicateService:
    """A connection to Replicate.

    Args:
        client: Replicate's own client, which speaks through the bridge.
        bridge: Closed with the connection.
        account: Whose trainings, and which trainer.
    """

    def __init__(self, client: Any, bridge: ClientBridge, account: Account) -> None:
        self._client, self._bridge, self._account = client, bridge, account
        self._read = 0

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
        """Check token, trainer and destination; changes nothing there."""
        self.account()
        with self._asked():
            trainer = self._client.models.get(self._account.trainer)
            trainer.versions.get(self._account.version)
        self._destination_is_there()

    def account(self) -> str:
        """Return the name of the account that the token is of."""
        with self._asked():
            return str(self._client.accounts.current().username)

    def newest_version(self) -> str:
        """Return the newest version of the trainer."""
        with self._asked():
            return str(self._client.models.get(self._account.trainer).latest_version.id)

    def find(self, name: str) -> str | None:
        """Return the id of the training that was given this name, or None when there is none.

        Replicate lists trainings with their inputs, and removes inputs after a while: one of our
        time and trainer without inputs may be the one, and then nobody can tell.
        """
        begun = time_of_ulid(name.rpartition("-")[2].upper()) - _CLOCKS_DIFFER
        for training in self._trainings(begun):
            given = training.input or {}
            if given.get("wandb_run") == name:
                return str(training.id)
            if not given and str(training.version) in {"", "hidden", self._account.version}:
                run = name.rpartition("-")[2].upper()
                raise JobInDoubtError(
                    f"nobody can tell whether training {training.id} is that of run {run}: "
                    "Replicate does not show its inputs any more",
                    hint=f"see replicate.com/p/{training.id}, then lora run resume {run} "
                    f"--job {training.id}, or lora run cancel {run} --no-job",
                )
        return None

    def send(self, plan: Plan, name: str, creating: Callable[[], None]) -> str:
        """Send the images as one zip, and create the training, which starts at once."""
        (text,) = [file.content for file in plan.files if file.path == REQUEST_FILE]
        wanted = json.loads(text)
        parcel = plan.cwd / f"{name}.zip"
        size = pack(plan.uploads, parcel)
        if size > _LARGEST_PARCEL:
            raise ServiceRefusedError(
                f"the images are {size >> 20} MB, and Replicate takes {_LARGEST_PARCEL >> 20}",
                hint="fewer or smaller images; lora dataset build --max-images",
            )
        self._have_destination()
        with self._asked():
            file = self._client.files.create(parcel, metadata={"run": name})
            address = str(file.urls["get"])
        parcel.unlink(missing_ok=True)
        inputs = {**wanted["input"], "input_images": address}
        begun = False
        try:
            creating()
            begun = True
            with self._asked():
                training = self._client.trainings.create(
                    version=f"{wanted['trainer']}:{wanted['version']}",
                    input=inputs,
                    destination=wanted["destination"],
                )
                return str(training.id)
        except AnsweredNoError:
            begun = False
            raise
        finally:
            if not begun:
                self._forget(str(file.id))

    def start(self, job_id: str) -> None:
        """Do nothing: a training starts when it is created."""

    def look(self, job_id: str) -> JobView:
        """Return how a training stands, with what its log gained since the last look."""
        training = self._training(job_id)
        state = _STATES[training.status]
        return JobView(
            state=state,
            message=str(training.error or training.status),
            lines=tuple(self._log(str(training.logs or ""), ended=state in _OVER)),
        )

    def stop(self, job_id: str) -> None:
        """Cancel a training; does nothing for one that ended or is not there any more."""
        with contextlib.suppress(_GoneError), self._asked(gone=True):
            training = self._client.trainings.get(job_id)
            if _STATES[training.status] not in _OVER:
                self._client.trainings.cancel(job_id)

    def outputs(self, job_id: str) -> Sequence[RemoteFile]:
        """Return the weights that a training left; their address is asked for when fetching."""
        address = _weights_address(self._training(job_id).output)
        return [RemoteFile(job_id, None)] if address else []

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Take the weights out of the archive that a training left."""
        tried = ""
        for _ in range(2):
            address = _weights_address(self._training(file.where).output)
            if not address or address == tried:
                break
            tried = address
            try:
                fetch_weights(
                    address, target, near=self._account.address, first_wait_s=self._account.pause_s
                )
            except AnsweredNoError as refusal:
                if refusal.status not in _EXPIRED:
                    raise
            else:
                return
        raise ServiceRefusedError(
            f"the address of the weights of training {file.where} has expired",
            hint=f"fetch them at replicate.com/p/{file.where}, then lora train --trainer manual",
        )

    def spent(self, job_id: str) -> Spent | None:
        """Return the time between start and end, at the price of a second."""
        price = self._account.price_per_second
        training = self._training(job_id)
        if _STATES[training.status] not in _OVER or not price:
            return None
        if not training.started_at:
            return Spent(0.0, "USD", "it never started")
        if not training.completed_at:
            return None
        seconds = (_time(training.completed_at) - _time(training.started_at)).total_seconds()
        seconds = max(0.0, seconds)
        return Spent(
            round(seconds * price, 4),
            "USD",
            f"{seconds:.0f} s from start to end, {price:g} USD a second; no bill",
        )

    @contextlib.contextmanager
    def _asked(self, *, gone: bool = False) -> Iterator[None]:
        try:
            with understood("Replicate"):
                yield
        except AnsweredNoError as refusal:
            if gone and refusal.status == 404:
                raise _GoneError from refusal
            raise

    def _training(self, job_id: str) -> Any:
        try:
            with self._asked(gone=True):
                return self._client.trainings.get(job_id)
        except _GoneError:
            raise ServiceRefusedError(
                f"Replicate has no training {job_id} any more",
                hint="nothing was sent again: see whether the token is of the same account",
            ) from None

    def _trainings(self, since: datetime) -> Iterator[Any]:
        with self._asked():
            page = self._client.trainings.list()
            for _ in range(_MOST_PAGES):
                young = [one for one in page.results if _time(one.created_at) >= since]
                yield from young
                if not page.next or (page.results and not young):
                    return
                page = self._client.trainings.list(cursor=page.next)
        raise ServiceRefusedError("Replicate lists more trainings than can be looked through")

    def _destination_is_there(self) -> bool:
        owner, _, name = self._account.destination.partition("/")
        try:
            with self._asked(gone=True):
                model = self._client.models.get(owner, name)
        except _GoneError:
            return False
        if model.visibility != "private":
            raise ServiceRefusedError(
                f"model {self._account.destination} at Replicate is public, and so would be what "
                "is trained into it",
                hint="make it private, or set another trainers.replicate.destination",
            )
        return True

    def _have_destination(self) -> None:
        if self._destination_is_there():
            return
        owner, _, name = self._account.destination.partition("/")
        try:
            with self._asked():
                self._client.models.create(
                    owner, name, visibility="private", hardware=self._account.hardware
                )
        except AnsweredNoError as refusal:
            if refusal.status != 409 or not self._destination_is_there():
                raise

    def _forget(self, file_id: str) -> None:
        # Images that no training was made of: what cannot be taken back expires in a day.
        with contextlib.suppress(PipelineError), self._asked():
            self._client.files.delete(file_id)

    def _log(self, text: str, *, ended: bool) -> Iterator[str]:
        if len(text) < self._read:
            self._read = 0  # another log: what was read before stands in ours already
        # Progress bars redraw with CR; the last piece may not be whole yet.
        whole = len(text) if ended else max(text.rfind("\n"), text.rfind("\r")) + 1
        fresh, self._read = text[self._read : whole], max(self._read, whole)
        yield from (line for line in re.split(r"[\r\n]+", fresh) if line.strip())


class _GoneError(Exception):
    """What was asked for is not there."""


def _may_repeat(method: str, path: str) -> bool:
    # An image that arrives twice is not trained twice, and a cancelled training stays cancelled.
    return path.endswith(("/files", "/cancel")) or method == "DELETE"


def _in_known_states(document: Any) -> Any:
    """Return an answer in which every training is in a state that the client knows."""
    for one in document.get("results", [document]) if isinstance(document, dict) else []:
        if isinstance(one, dict) and "logs" in one and one.get("status") not in _STATES:
            odd = str(one.get("status"))[:40]
            one |= {"status": "failed", "error": one.get("error") or f"Replicate says {odd}"}
    return document


def _weights_address(output: Any) -> str:
    if output is None:
        return ""
    address = mapping(output, "what the training left").get("weights")
    return address if isinstance(address, str) and urlsplit(address).hostname else ""


def _time(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise ServiceRefusedError(f"Replicate names a time that is none: {text!r:.40}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
