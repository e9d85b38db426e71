"""The store: bytes too big for Git, found by their digest.

An object is written once and never again; its name is the SHA-256 of its bytes, so a record
that names it cannot mean anything else. The store is a local folder; what other machines
share is fetched into it by ``lora store pull``, never on the way.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.digests import require_sha256, sha256_of_file
from lora_pipeline.foundation.errors import FileMissingError, UnsafePathError
from lora_pipeline.workspace.root import Workspace

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ObjectStore(msgspec.Struct, frozen=True):
    """A folder of objects, each at ``<two digits>/<sha256>``.

    Attributes:
        root: The folder; made with the first object.
    """

    root: Path

    def path(self, sha256: str) -> Path:
        """Return where an object stands, whether it is there or not.

        Raises:
            UnsafePathError: When the digest is none: it could lead anywhere.
        """
        if not _SHA256.fullmatch(sha256):
            raise UnsafePathError(f"{sha256!r} is no SHA-256")
        return self.root / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Return whether an object is there (its bytes are not read)."""
        return self.path(sha256).is_file()

    def put_file(self, source: Path) -> str:
        """Store a file and return its SHA-256.

        Raises:
            FileMissingError: When it cannot be read.
            DigestMismatchError: When it changed while it was copied.
            StorageError: When the disk refuses.
        """
        sha256 = sha256_of_file(source)
        target = self.path(sha256)
        if not _is_whole(target, sha256):
            with files.disk_refusals():
                files.write_all([files.Write(target, source=source, sha256=sha256)])
        return sha256

    def open_path(self, sha256: str) -> Path:
        """Return the file of an object after its bytes were checked.

        Raises:
            FileMissingError: When it is not in the store.
            DigestMismatchError: When its bytes are not what its name says.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise FileMissingError(
                f"object {sha256[:12]}… is not in the store {self.root}",
                hint=f"lora store pull {sha256}",
            )
        require_sha256(path, sha256)
        return path

    def all(self) -> list[str]:
        """Return the digests of all objects, sorted."""
        return sorted(p.name for p in self.root.glob("??/*") if _SHA256.fullmatch(p.name))


def _is_whole(path: Path, sha256: str) -> bool:
    # A damaged object is replaced by whoever brings its bytes again.
    whole = path.is_file() and sha256_of_file(path) == sha256
    if whole:
        with contextlib.suppress(OSError):
            os.utime(path)  # young again: who brings it is about to name it
    return whole


def open_store(workspace: Workspace) -> ObjectStore:
    """Return the store that the settings name."""
    return ObjectStore(workspace.root / workspace.settings.require_text("store.root"))


def hint_to_fetch(workspace: Workspace, sha256: str) -> str:
    """Return how an object that is not here gets here."""
    if workspace.settings.text("store.remote"):
        return f"lora store pull {sha256}"
    return "copy the object from a machine that has it, or set store.remote and lora store pull"
