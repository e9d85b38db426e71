"""What ``ai_toolkit_start`` left in a storage of files: its log, its weights, how it ended.

Azure ML and Modal keep files differently; what the program in the container writes is the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import ServiceRefusedError, ServiceUnreachableError
from lora_pipeline.training.hosted.interface import RemoteFile, Spent

LOG, FILES, ENDED = "log.txt", "files.json", "ended.json"
_SAFE = re.compile(r"[\w.-]+\.safetensors")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST_NOTE = 1024 * 1024
_TRIES = 3


class Storage(Protocol):
    """Files of one job at a service."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        """Return a file from a byte on, in pieces; None when there is none.

        Raises:
            ServiceError: When nobody can say.
        """


class Ended(msgspec.Struct, frozen=True):
    """How the program in the container ended.

    Attributes:
        status: Its exit status.
        seconds: How long it worked.
    """

    status: int
    seconds: float


class LeftFiles:
    """Reads what a job leaves.

    Args:
        storage: Where its files are.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._offset, self._rest = 0, b""

    def new_lines(self, *, ended: bool) -> tuple[str, ...]:
        """Return what the log gained since it was last read."""
        pieces = self._storage.read(LOG, self._offset)
        text = b"".join(pieces) if pieces is not None else b""
        self._offset += len(text)
        # Progress bars redraw with CR; the last piece may not be whole yet.
        *lines, self._rest = re.split(rb"[\r\n]+", self._rest + text)
        if ended and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        return tuple(line.decode("utf-8", "replace") for line in lines if line.strip())

    def ended(self) -> Ended | None:
        """Return how the program ended, or None while it has not said so."""
        document = self._note(ENDED)
        if document is None:
            return None
        try:
            return Ended(int(document["status"]), float(document["seconds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceRefusedError(f"{ENDED} of the job is not what it writes") from error

    @property
    def has_log(self) -> bool:
        """Whether the program has printed anything."""
        return self._offset > 0 or self._storage.read(LOG) is not None

    def spent(self, price_per_hour: float, currency: str, besides: str) -> Spent | None:
        """Return the program's time by a price, or None while nobody knows."""
        try:
            ended = self.ended()
        except ServiceUnreachableError:
            return None
        if ended is None or price_per_hour <= 0:
            return None
        basis = f"{ended.seconds / 60:.1f} min at {price_per_hour:g} {currency} an hour; {besides}"
        return Spent(round(price_per_hour * ended.seconds / 3600, 4), currency, basis)

    def weights(self) -> list[RemoteFile]:
        """Return the weights that it names, with lengths and digests."""
        document = self._note(FILES)
        found = []
        for row in (document or {}).get("files") or []:
            name, digest = str(row.get("name", "")), str(row.get("sha256", ""))
            step, size = row.get("step"), row.get("bytes")
            if not _SAFE.fullmatch(name) or not _DIGEST.fullmatch(digest):
                raise ServiceRefusedError(f"{FILES} of the job names {name[:80]!r}")
            found.append(
                RemoteFile(
                    name,
                    size if isinstance(size, int) else None,
                    step if isinstance(step, int) and step >= 0 else None,
                    digest,
                )
            )
        return found

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write a file, whole or not at all, its length and digest compared.

        Raises:
            ServiceRefusedError: When it is not there any more.
            ServiceUnreachableError: When it does not come as it was promised.
        """
        problem = ""
        for _ in range(_TRIES):
            try:
                self._fetch_once(file, target)
            except ServiceUnreachableError as error:
                problem = error.message
            except _OtherBytesError as error:
                problem = str(error)
            else:
                return
        raise ServiceUnreachableError(f"{file.where} does not come whole: {problem}")

    def _fetch_once(self, file: RemoteFile, target: Path) -> None:
        pieces = self._storage.read(file.where)
        if pieces is None:
            raise ServiceRefusedError(f"{file.where} is not there any more")
        size, digest = 0, sha256()
        with files.disk_refusals(), files.open_atomic(target) as stream:
            for piece in pieces:
                size += len(piece)
                digest.update(piece)
                stream.write(piece)
                if file.bytes is not None and size > file.bytes:
                    raise _OtherBytesError(f"more than {file.bytes} bytes came")
            if file.bytes is not None and size != file.bytes:
                raise _OtherBytesError(f"{size} of {file.bytes} bytes came")
            if file.sha256 and digest.hexdigest() != file.sha256:
                raise _OtherBytesError(
                    f"its digest is {digest.hexdigest()[:12]}…, promised {file.sha256[:12]}…"
                )

    def _note(self, name: str) -> dict[str, Any] | None:
        pieces = self._storage.read(name)
        if pieces is None:
            return None
        data = b""
        for piece in pieces:
            data += piece
            if len(data) > _LARGEST_NOTE:
                raise ServiceRefusedError(f"{name} of the job is larger than it can be")
        try:
            document = json.loads(data)
        except ValueError as error:
            # Half-written, as mounted storage may show it for a moment.
            raise ServiceUnreachableError(f"{name} of the job is not whole yet") from error
        if not isinstance(document, dict):
            raise ServiceRefusedError(f"{name} of the job is not what it writes")
        return document


class _OtherBytesError(Exception):
    """Other bytes came than were promised."""
