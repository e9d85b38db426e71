"""One object from here to the remote store, or from there to here, proven by its digest."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from lora_pipeline.foundation import files
from lora_pipeline.foundation.digests import require_sha256, sha256_of_file
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    RemoteMissingError,
    RemoteStoreError,
    StorageError,
)
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.remote.store import RemoteStore
from lora_pipeline.workspace.store import ObjectStore

Sent = Literal["checksum", "readBack", "wasThere", "differsThere"]
_BLOCK = 8 * 1024 * 1024
_SPARE = 64 * 1024 * 1024  # bytes that stay free on the disk


def send_object(remote: RemoteStore, store: ObjectStore, sha256: str) -> Sent:
    """Bring an object of the local store to the remote one, and prove that it arrived.

    Returns:
        How it was proven (the service's own checksum, or reading it back), ``wasThere`` when
        the same bytes stood there, ``differsThere`` when other bytes stand under its name.

    Raises:
        FileMissingError, DigestMismatchError: When the local bytes are gone or damaged;
            nothing is sent then.
        RemoteStoreError: When the service does not answer or refuses.
    """
    path = store.path(sha256)
    require_sha256(path, sha256)
    created = remote.create(sha256, path)
    if remote.has_checksum_of(sha256, path):
        return "checksum" if created else "wasThere"
    facts = remote.find(sha256)
    if facts is None:
        raise RemoteStoreError(
            f"{remote.address} took object {sha256[:12]}… and does not have it",
            hint=f"lora store push {sha256}",
        )
    if facts.bytes != path.stat().st_size or remote_sha256(remote, sha256) != sha256:
        return "differsThere"
    return "readBack" if created else "wasThere"


def fetch_object(
    remote: RemoteStore, store: ObjectStore, sha256: str, tell: Callable[[int], None]
) -> None:
    """Bring an object of the remote store to the local one.

    Its bytes are kept under a temporary name, where the next try goes on after a failure. They
    get their place when their digest is right, and are deleted when it is not.

    Args:
        remote: From where.
        store: To where; the caller holds ``receiving``.
        sha256: Which one.
        tell: Is told how many bytes came, block by block.

    Raises:
        RemoteMissingError: When it is not there.
        RemoteStoreError: When the service does not answer, refuses, or ends early.
        DigestMismatchError: When other bytes stand there under its name.
        StorageError: When the disk refuses.
    """
    facts = remote.find(sha256)
    if facts is None:
        raise RemoteMissingError(
            f"object {sha256[:12]}… is not in {remote.address}",
            hint=f"on a machine that has it: lora store push {sha256}",
        )
    part = partial_path(store, sha256)
    resumed = part.is_file()
    found = _received(remote, sha256, part, facts.bytes, tell)
    if found != sha256 and resumed:  # what was kept may be the damaged half
        _drop(part)
        found = _received(remote, sha256, part, facts.bytes, tell)
    if found != sha256:
        _drop(part)
        raise DigestMismatchError(
            f"{remote.address} holds other bytes as object {sha256[:12]}…: sha256 {found[:12]}…,"
            f" {facts.bytes} bytes; they were not kept",
            hint="lora store verify --remote; a machine that has the object can bring it again"
            " once the damaged one is deleted at the service",
        )
    with files.disk_refusals():
        target = store.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.install(part, target)
        files.fsync_folder(target.parent)


def partial_path(store: ObjectStore, sha256: str) -> Path:
    """Return where the first part of an object waits for the rest; ``gc`` clears it away."""
    return store.root / f"{files.TEMPORARY_PREFIX}pull-{sha256}"


@contextlib.contextmanager
def receiving(store: ObjectStore, *, timeout_s: float) -> Iterator[None]:
    """Hold the right to fetch into a store: two machines must not fill the same part.

    Raises:
        LockedError: When another process fetches for longer than ``timeout_s``.
        StorageError: When the lock cannot be taken because of the disk.
    """
    with workspace_lock(store.root / ".receiving", timeout_s=timeout_s):
        yield


def remote_sha256(
    remote: RemoteStore, sha256: str, tell: Callable[[int], None] = lambda _: None
) -> str:
    """Return the SHA-256 of what the remote store holds as an object; reads all of it.

    Raises:
        RemoteMissingError: When it is not there.
        RemoteStoreError: When the service does not answer, refuses, or ends early.
    """
    facts = remote.find(sha256)
    if facts is None:
        raise RemoteMissingError(f"object {sha256[:12]}… is not in {remote.address}")
    digest = hashlib.sha256()
    for start in range(0, facts.bytes, _BLOCK):
        block = remote.read(sha256, start, min(start + _BLOCK, facts.bytes))
        digest.update(block)
        tell(len(block))
    return digest.hexdigest()


def require_space(store: ObjectStore, size: int) -> None:
    """Check that the disk of the store has room for so many bytes.

    Raises:
        StorageError: When it has not.
    """
    folder = next(path for path in (store.root, *store.root.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        raise StorageError(
            f"{size} bytes are to come, and {store.root} has {free} free",
            hint="free disk space, or set store.root in config/local.json to a larger disk",
        )


def _received(
    remote: RemoteStore, sha256: str, part: Path, size: int, tell: Callable[[int], None]
) -> str:
    """Complete the temporary file, and return the digest of what the disk holds then."""
    with files.disk_refusals():
        part.parent.mkdir(parents=True, exist_ok=True)
        if part.is_file() and part.stat().st_size > size:
            part.unlink()
        with part.open("ab") as stream:
            start = stream.tell()
            tell(start)
            while start < size:
                end = min(start + _BLOCK, size)
                stream.write(_block(remote, sha256, start, end, size))
                tell(end - start)
                start = end
            stream.flush()
            files.fsync_descriptor(stream.fileno())
    return sha256_of_file(part)


def _block(remote: RemoteStore, sha256: str, start: int, end: int, size: int) -> bytes:
    try:
        return remote.read(sha256, start, end)
    except RemoteStoreError as error:
        words = f"{error.message}; {start} of {size} bytes are here, and the next try goes on there"
        raise type(error)(words, hint=error.hint) from error


def _drop(part: Path) -> None:
    with files.disk_refusals():
        part.unlink(missing_ok=True)
