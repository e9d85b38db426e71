"""A remote store in a folder: a network share, a second disk.

A folder proves nothing by itself: whether what was written is whole is known by reading it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import RemoteMissingError, RemoteStoreError
from lora_pipeline.workspace.remote.address import RemoteAddress
from lora_pipeline.workspace.remote.store import RemoteObject, digest_in

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES, errno.ENOSYS})
_BLOCK = 1024 * 1024


class FolderRemote(msgspec.Struct, frozen=True):
    """Objects below a folder that must be there already: an unmounted share is no empty store.

    Attributes:
        address: The folder.
    """

    address: RemoteAddress

    def all(self) -> dict[str, RemoteObject]:
        """Return every object by its digest, sorted."""
        with self._told("listed"):
            paths = [path for path in sorted(self._root().glob("??/*")) if digest_in(str(path))]
            return {path.name: _facts(path) for path in paths}

    def find(self, sha256: str) -> RemoteObject | None:
        """Return length and time of an object, or None when it is not there."""
        with self._told("read"):
            path = self._path(sha256)
            return _facts(path) if path.is_file() else None

    def read(self, sha256: str, start: int, end: int) -> bytes:
        """Return exactly the bytes from ``start`` up to ``end`` of an object."""
        with self._told("read"), self._path(sha256).open("rb") as stream:
            stream.seek(start)
            block = stream.read(end - start)
        if len(block) != end - start:
            raise RemoteStoreError(
                f"object {sha256[:12]}… of {self.address} ended at byte {start + len(block)}",
                hint="lora store verify --remote",
            )
        return block

    def create(self, sha256: str, source: Path) -> bool:
        """Copy a file under a private name, then give it its own name if that is free."""
        with self._told("written"):
            target = self._path(sha256)
            if target.exists():
                return False
            target.parent.mkdir(exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=files.TEMPORARY_PREFIX, dir=target.parent)
            private = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as stream, source.open("rb") as reader:
                    while block := reader.read(_BLOCK):
                        stream.write(block)
                    stream.flush()
                    files.fsync_descriptor(stream.fileno())
                private.chmod(0o664)  # mkstemp's are for us alone; this one is to be shared
                return _named_once(private, target)
            finally:
                with contextlib.suppress(OSError):
                    private.unlink()

    def has_checksum_of(self, sha256: str, source: Path) -> bool:  # noqa: ARG002 - a Protocol
        """Return False: a folder keeps no checksums, the bytes have to be read."""
        return False

    def delete(self, sha256: str) -> None:
        """Delete an object."""
        with self._told("deleted"):
            self._path(sha256).unlink(missing_ok=True)

    def _root(self) -> Path:
        root = Path(self.address.place)
        if not root.is_dir():
            raise RemoteMissingError(
                f"the remote store {self.address} is not there",
                hint=f"mount it, or make the folder {root}",
            )
        return root

    def _path(self, sha256: str) -> Path:
        return self._root() / sha256[:2] / sha256

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            with files.disk_refusals():
                yield
        except FileNotFoundError as error:
            raise RemoteMissingError(
                f"{self.address} could not be {what}: {error.filename} is not there",
                hint="lora store status",
            ) from error
        except OSError as error:
            raise RemoteStoreError(
                f"{self.address} could not be {what}: {error.strerror}", hint="run it again"
            ) from error


def _facts(path: Path) -> RemoteObject:
    facts = path.stat()
    return RemoteObject(facts.st_size, facts.st_mtime)


def _named_once(private: Path, target: Path) -> bool:
    """Give a finished file its name; False when the name was taken meanwhile."""
    try:
        os.link(private, target)  # creates or fails; a rename would replace
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():  # shares without links: the same bytes, were both to win
            return False
        private.replace(target)
    files.fsync_folder(target.parent)
    return True
