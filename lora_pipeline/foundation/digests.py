"""Digests of files: one read gives both identities.

SHA-256 is what a stranger can check and what a Git LFS pointer carries; XXH3-128 is the fast
identity of our own caches.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import msgspec

from lora_pipeline.foundation.errors import DigestMismatchError, FileMissingError

_readers = threading.local()  # each has a buffer that is filled again and again


class FileDigest(msgspec.Struct, frozen=True):
    """What the bytes of a file are.

    Attributes:
        bytes: Length of the file.
        sha256: 64 lower-case hexadecimal digits.
        xxh3: XXH3-128, 32 lower-case hexadecimal digits.
    """

    bytes: int
    sha256: str
    xxh3: str


def digest_file(path: Path) -> FileDigest:
    """Return both digests of a file from one read.

    Raises:
        FileMissingError: When it cannot be read.
    """
    from lora_pipeline.foundation.file_facts import FileReader  # late: it needs xxhash

    reader = getattr(_readers, "reader", None)
    if reader is None:
        reader = _readers.reader = FileReader()
    try:
        facts = reader.facts(str(path))
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}") from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    return FileDigest(facts.size, facts.sha256, facts.xxh3)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        FileMissingError: When it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}") from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error


def require_sha256(path: Path, expected: str) -> None:
    """Check that a file is what its digest says.

    Raises:
        FileMissingError: When it cannot be read.
        DigestMismatchError: When its bytes differ.
    """
    found = sha256_of_file(path)
    if found != expected:
        raise DigestMismatchError(
            f"{path} is not the file that was recorded: sha256 {found[:12]}…, "
            f"recorded {expected[:12]}…"
        )
