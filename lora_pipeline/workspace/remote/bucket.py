"""A remote store in a bucket of S3, Azure Blob Storage or Google Cloud Storage, over fsspec.

Credentials are found by the service's own client, in its own environment; none passes
through here.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lora_pipeline.foundation.errors import RemoteMissingError, RemoteStoreError
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.workspace.remote.address import RemoteAddress, Service
from lora_pipeline.workspace.remote.failures import explained, kind_of, unopened
from lora_pipeline.workspace.remote.store import RemoteObject, digest_in

T = TypeVar("T")
_PART = 16 * 1024 * 1024
_CLIENT: dict[Service, str] = {"s3": "s3fs", "az": "adlfs", "gs": "gcsfs"}
_QUIET = ("s3fs", "adlfs", "gcsfs", "fsspec", "azure", "botocore", "aiobotocore", "asyncio",
          "google", "urllib3")  # fmt: skip
# S3's clients are told to try once, and we try again. The other two try again themselves.
_TRIES: dict[Service, int] = {"s3": 5, "az": 1, "gs": 1}
_FIRST_WAIT_S = 0.4
_PROGRAMMING = (TypeError, AttributeError, NameError, AssertionError)


def open_bucket(address: RemoteAddress) -> BucketRemote:
    """Return the remote store in a bucket; nothing is asked of the service yet.

    Raises:
        ExtraMissingError: When the service's client is not installed.
        RemoteRefusedError: When the client finds no account or credentials.
    """
    require_extra("storage", ("fsspec", _CLIENT[address.service]))
    import fsspec

    for name in _QUIET:  # what they log goes nowhere: it may hold signed addresses
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    warnings.filterwarnings("ignore", category=UserWarning, module=r"adlfs(\.|$)")
    try:
        filesystem = fsspec.filesystem(address.service, **_OPTIONS[address.service])
    except Exception as error:
        if isinstance(error, _PROGRAMMING):
            raise
        raise unopened(error, address) from error
    if address.service == "s3":
        filesystem.retries = 1
    return BucketRemote(address, filesystem, tries=_TRIES[address.service])


_OPTIONS: dict[Service, dict[str, Any]] = {
    "s3": {
        "skip_instance_cache": True,
        "use_listings_cache": False,
        "config_kwargs": {
            "retries": {"max_attempts": 0},
            "connect_timeout": 15,
            "read_timeout": 60,
        },
    },
    "az": {"skip_instance_cache": True, "use_listings_cache": False, "max_concurrency": 4},
    "gs": {"skip_instance_cache": True, "use_listings_cache": False},
}
_PUT: dict[Service, dict[str, Any]] = {
    "s3": {"chunksize": _PART, "max_concurrency": 4},
    "az": {"max_concurrency": 4},
    "gs": {"chunksize": _PART},
}


class BucketRemote(msgspec.Struct, frozen=True):
    """Objects below a prefix of a bucket.

    Attributes:
        address: Bucket and prefix.
        filesystem: The client, an fsspec file system.
        tries: How often a request is sent before its failure is told.
    """

    address: RemoteAddress
    filesystem: Any
    tries: int = 1

    def all(self) -> dict[str, RemoteObject]:
        """Return every object by its digest, sorted."""
        listed = self._ask(
            "listing it", lambda: self.filesystem.find(self.address.place, detail=True)
        )
        if not listed:
            self._require_bucket()
        found = {digest_in(path): _facts(info) for path, info in listed.items()}
        return {digest: found[digest] for digest in sorted(found) if digest}

    def find(self, sha256: str) -> RemoteObject | None:
        """Return what the service says of one object, or None when it is not there."""
        try:
            return _facts(self._info(sha256))
        except RemoteMissingError:
            self._require_bucket()
            return None

    def read(self, sha256: str, start: int, end: int) -> bytes:
        """Return exactly the bytes from ``start`` up to ``end`` of an object."""
        if start == end:
            return b""  # no service has a range for that
        block: bytes = self._ask(
            f"reading object {sha256[:12]}…",
            lambda: self.filesystem.cat_file(self._key(sha256), start=start, end=end),
        )
        if len(block) != end - start:
            raise RemoteStoreError(
                f"{self.address} gave {len(block)} bytes of object {sha256[:12]}…"
                f" when asked for {end - start}",
                hint="lora store verify --remote",
            )
        return block

    def create(self, sha256: str, source: Path) -> bool:
        """Upload a file on the condition that nothing stands there; in parts when it is large."""
        put = functools.partial(
            self.filesystem.put_file,
            str(source),
            self._key(sha256),
            mode="create",
            **_PUT[self.address.service],
        )
        try:
            self._ask(f"writing object {sha256[:12]}…", put)
        except FileExistsError:
            return False
        return True

    def has_checksum_of(self, sha256: str, source: Path) -> bool:
        """Return whether the service's own MD5 of the object is that of the file."""
        info = self._info(sha256)
        if info.get("size") != source.stat().st_size:
            return False
        if self.address.service == "gs":
            return str(info.get("md5Hash", "")) == _md5_base64(source)
        if self.address.service == "s3":
            return str(info.get("ETag", "")).strip('"') == _etag(source)
        return False  # what Azure keeps as MD5 is whatever the sender said

    def delete(self, sha256: str) -> None:
        """Delete an object."""
        self._ask(
            f"deleting object {sha256[:12]}…",
            lambda: self.filesystem.rm_file(self._key(sha256)),
        )

    def file_bytes(self) -> int:
        """Return the length of the one file that the address names, when it names one.

        Raises:
            RemoteStoreError: When it is not there, or the service does not answer or refuses.
        """
        place = self.address.place
        info = self._ask("looking at it", lambda: self.filesystem.info(place))
        if info.get("type") != "file":
            raise RemoteMissingError(f"{self.address} is no file", hint="name the file itself")
        return int(info.get("size") or 0)

    def file_block(self, start: int, end: int) -> bytes:
        """Return exactly the bytes from ``start`` up to ``end`` of that file.

        Raises:
            RemoteStoreError: When the service does not answer, refuses, or ends early.
        """
        place = self.address.place
        block: bytes = self._ask(
            "reading it", lambda: self.filesystem.cat_file(place, start=start, end=end)
        )
        if len(block) != end - start:
            raise RemoteStoreError(
                f"{self.address} gave {len(block)} bytes when asked for {end - start}",
                hint="run the command again",
            )
        return block

    def _key(self, sha256: str) -> str:
        return f"{self.address.place}/{sha256[:2]}/{sha256}"

    def _info(self, sha256: str) -> Mapping[str, Any]:
        info: Mapping[str, Any] = self._ask(
            f"asking for object {sha256[:12]}…",
            lambda: self.filesystem.info(self._key(sha256)),
        )
        return info

    def _require_bucket(self) -> None:
        # Clients list a bucket that does not exist as an empty one.
        bucket = self.address.bucket
        if not self._ask("looking for it", lambda: self.filesystem.exists(bucket)):
            raise RemoteMissingError(
                f"{self.address}: there is no {bucket}, or it may not be seen",
                hint=f"create {bucket} at the service, or check store.remote",
            )

    def _ask(self, doing: str, request: Callable[[], T]) -> T:
        """Send a request, again after a failure that may pass.

        Raises:
            RemoteStoreError: What went wrong.
            FileExistsError: When the request was to create what is there.
        """
        for attempt in range(1, self.tries + 1):
            try:
                return request()
            except Exception as error:
                if isinstance(error, _PROGRAMMING):
                    raise
                kind = kind_of(error)
                if kind == "there":
                    raise FileExistsError(doing) from error
                if kind not in ("busy", "cut") or attempt == self.tries:
                    raise explained(error, self.address, doing) from error
            time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1))
        raise AssertionError("unreachable: the last try returns or raises")


def _facts(info: Mapping[str, Any]) -> RemoteObject:
    changed = next(
        (info[name] for name in ("LastModified", "last_modified", "updated") if info.get(name)),
        None,
    )
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    seconds = changed.timestamp() if isinstance(changed, datetime) else None
    return RemoteObject(int(info.get("size") or 0), seconds)


def _md5_base64(source: Path) -> str:
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()


def _etag(source: Path) -> str:
    """Return the tag that S3 gives to a file that was uploaded as we do it."""
    parts = []
    with source.open("rb") as stream:
        while block := stream.read(_PART):
            parts.append(hashlib.md5(block, usedforsecurity=False).digest())
    if source.stat().st_size < 2 * _PART:  # sent in one piece
        whole = hashlib.md5(usedforsecurity=False)
        whole.update(source.read_bytes())
        return whole.hexdigest()
    joined = hashlib.md5(b"".join(parts), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(parts)}"
