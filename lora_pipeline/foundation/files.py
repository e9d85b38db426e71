"""Files that are whole or not there: atomic writes, safe joins, links.

The protocol of every write: a unique temporary file beside the target, write, flush, fsync,
``os.replace``, fsync of the folder. Nothing is ever truncated in place, and no temporary name
is shared between processes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

import msgspec

from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    StorageError,
    UnsafePathError,
)

P = TypeVar("P")
TEMPORARY_PREFIX = ".lora-tmp-"
_NO_FSYNC = frozenset({errno.ENOTSUP, errno.ENOTTY, errno.EINVAL})
_CROSS_DEVICE_OR_NO_LINKS = frozenset(
    {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES}
)
# Half surrogates stand for bytes of a file name that are no UTF-8.
_NOT_PORTABLE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f\ud800-\udfff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL)
# Short names of letters and digits, none of which is a device: nothing can be wrong with these.
_PLAIN_PATH = re.compile(
    r"(?:(?!(?:con|prn|aux|nul|com|lpt)[0-9]?[./])\w[\w-]{0,63}/){0,12}"
    r"(?!(?:con|prn|aux|nul|com|lpt)[0-9]?\.)\w[\w-]{0,63}\.[a-z0-9]{1,8}",
    re.IGNORECASE | re.ASCII,
)
_AT_ONCE = 2048  # files whose outcome is waited for together
_LONGEST_NAME = 255  # bytes of one part of a path, on every common file system
_UMASK_LOCK = threading.Lock()
_REFUSED = {
    errno.ENOSPC: "free disk space, then run the command again",
    errno.EDQUOT: "free disk space, then run the command again",
    errno.EFBIG: "free disk space, then run the command again",
    errno.EROFS: "make the folder writable, then run the command again",
    errno.EACCES: "check who owns the folder and its permissions",
    errno.EPERM: "check who owns the folder and its permissions",
    errno.EIO: "check the disk; lora validate says what is damaged",
    errno.ESTALE: "the network share went away; run the command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs, then run the command again",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "remove the symbolic link that points at itself",
}


def walk(folder: str, *, without: Collection[str] = ()) -> Iterator[str]:
    """Yield a folder, all folders below it and all of their files.

    Args:
        folder: The folder; nothing is yielded when there is none.
        without: Names of folders that are left out, wherever they stand.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if one not in without]
        yield place
        yield from (f"{place}/{name}" for name in names)


def refusal_of(error: OSError) -> StorageError | None:
    """Return what the disk refused, in words, or None when the error is of another kind."""
    hint = _REFUSED.get(error.errno or 0)
    if hint is None:
        return None
    where = f" ({os.fspath(error.filename)!s})" if error.filename is not None else ""
    return StorageError(f"the disk refused: {error.strerror}{where}", hint=hint)


@contextlib.contextmanager
def disk_refusals() -> Iterator[None]:
    """Turn what the disk refuses in the block into the error that every face can explain.

    Raises:
        StorageError: When the disk is full, read-only, forbidden or broken.
    """
    try:
        yield
    except OSError as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        raise refusal from error


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Give a stream whose bytes stand at ``path`` when the block ends without an error.

    Folders that are missing are made.

    Raises:
        OSError: As the file system says (disk full, read-only, …); nothing is left over.
    """
    folders = sorted(_make_folder(path.parent))
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            fsync_descriptor(stream.fileno())
        install(Path(temporary), path)
        _each(fsync_folder, folders)
    except BaseException:
        _discard(Path(temporary))
        raise


class Write(msgspec.Struct, frozen=True):
    """One file to be written: from bytes, or as a copy of another file.

    Attributes:
        target: Where it goes; folders that are missing are made.
        data: Its bytes, or None when it is a copy.
        source: The file to copy.
        sha256: What the copy must be, when that is known: 64 hexadecimal digits.
    """

    target: Path
    data: bytes | None = None
    source: Path | None = None
    sha256: str = ""


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``: afterwards it holds all of it, or what it held before.

    Folders that are missing are made.

    Raises:
        OSError: As the file system says (disk full, read-only, …); nothing is left over.
    """
    write_all([Write(path, data=data)])


def copy_atomic(source: Path, target: Path) -> None:
    """Copy a file so that ``target`` is whole or not there.

    Raises:
        FileMissingError: When the source cannot be read.
        OSError: As the file system says.
    """
    write_all([Write(target, source=source)])


def write_all(writes: Iterable[Write], *, tell: Callable[[int], None] | None = None) -> None:
    """Write several files, each whole or not there, in the order given.

    All of them are complete and durable under temporary names before the first is put in its
    place, and all but the last are durable there before the last one is: it may point at them.

    Args:
        writes: The files; each is looked at once, so they need not be in memory together.
        tell: Is told, for each file that was written, how many there are by now.

    Raises:
        FileMissingError: When a source cannot be read.
        DigestMismatchError: When a source is not what its ``sha256`` says.
        OSError: As the file system says; no temporary file is left over.
    """
    folders: set[Path] = set()
    temporaries: list[str] = []  # texts: 100,000 paths would need four times the memory
    targets: list[str] = []
    try:
        for write in writes:
            folders |= _make_folder(write.target.parent)
            temporaries.append(_written_beside(write))
            targets.append(str(write.target))
            if tell is not None:
                tell(len(temporaries))
        _each(_fsync_path, temporaries)
        for position, (temporary, target) in enumerate(zip(temporaries, targets, strict=True)):
            if position == len(targets) - 1 and position > 0:
                _each(fsync_folder, sorted(folders))
            install(Path(temporary), Path(target))
        _each(fsync_folder, [Path(targets[-1]).parent] if len(targets) > 1 else sorted(folders))
    except BaseException:
        for temporary in temporaries:
            _discard(Path(temporary))
        raise


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same bytes as ``source``, by hard link where the disk allows it.

    Raises:
        FileMissingError: When the source cannot be read.
        FileExistsError: When the target is there already.
    """
    _make_folder(target.parent)
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {source}") from error
    except OSError as error:
        if error.errno not in _CROSS_DEVICE_OR_NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        copy_atomic(source, target)


def append_durably(path: Path, line: bytes) -> None:
    """Add a line to a file, and return when it is on the disk.

    Raises:
        StorageError: When the disk refuses it.
    """
    with disk_refusals(), path.open("ab") as stream:
        stream.write(line + b"\n")
        stream.flush()
        fsync_descriptor(stream.fileno())


def fsync_descriptor(descriptor: int) -> None:
    """Force a file to disk; file systems that cannot are accepted, as restic does."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


def fsync_folder(folder: Path) -> None:
    """Force a folder's entries to disk; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fsync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def safe_join(root: Path, relative: str) -> Path:
    """Return ``root/relative`` when it stays inside ``root``.

    ``relative`` is a POSIX path as records hold it. Symbolic links are followed before the
    check, so that a link inside the folder cannot lead out of it.

    Raises:
        UnsafePathError: When it is absolute, holds ``..``, a backslash, a drive or a device
            name, or leads outside.
    """
    reason = unsafe_reason(relative)
    if reason:
        raise UnsafePathError(f"path {relative!r} {reason}")
    joined = root / PurePosixPath(relative)
    try:
        inside = joined.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links, by the version of Python
        raise UnsafePathError(f"path {relative!r} leads nowhere: a loop of links") from error
    if not inside:
        raise UnsafePathError(f"path {relative!r} leads outside {root}")
    return joined


def unsafe_reason(relative: str) -> str | None:
    """Return why a relative POSIX path may not be used, or None when it may."""
    if _PLAIN_PATH.fullmatch(relative):
        return None  # nearly every path is like this, and there are many
    if not relative or relative.startswith(("/", "~")):
        return "must be relative to its folder"
    if len(relative) > 1024:
        return "is longer than 1024 characters"
    reasons = (_reason_against(part) for part in relative.split("/"))
    return next((reason for reason in reasons if reason), None)


def stale_temporaries(folder: Path) -> list[Path]:
    """Return what interrupted writes left below ``folder``."""
    return sorted(folder.rglob(f"{TEMPORARY_PREFIX}*"))


@functools.lru_cache(maxsize=4096)  # the folders of many paths are the same few
def _reason_against(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "must not hold '.', '..' or empty parts"
    if _NOT_PORTABLE.search(part):
        return "holds a character that some systems forbid"
    if len(part.encode()) > _LONGEST_NAME:
        return f"holds a name longer than {_LONGEST_NAME} bytes"
    if _DEVICES.fullmatch(part) or part.endswith((" ", ".")):
        return f"holds {part!r}, which Windows cannot store"
    return None


def install(temporary: Path, path: Path) -> None:
    """Put a finished temporary file in its place; nothing is forced to disk."""
    # mkstemp makes files private; what we write is as readable as the umask says.
    temporary.chmod(0o666 & ~_umask())
    _replace(temporary, path)


def _make_folder(folder: Path) -> set[Path]:
    """Make a folder and return those whose entries must be forced to disk."""
    changed = {folder}
    try:
        folder.mkdir()
    except FileExistsError:
        pass
    except FileNotFoundError:
        changed |= _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    else:
        changed.add(folder.parent)
    return changed


def _written_beside(write: Write) -> str:
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=write.target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if write.source is not None:
                _copy_into(stream, write.source, write.sha256)
            else:
                stream.write(write.data or b"")
    except BaseException:
        _discard(Path(name))
        raise
    return name


def _copy_into(stream: BinaryIO, source: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    try:
        reader = source.open("rb")
    except OSError as error:
        raise FileMissingError(f"cannot read {source}: {error.strerror}") from error
    with reader:
        while block := reader.read(1024 * 1024):
            stream.write(block)
            if sha256:
                digest.update(block)
    if sha256 and digest.hexdigest() != sha256:
        raise DigestMismatchError(f"{source} changed while it was copied")


def _fsync_path(path: str) -> None:
    with Path(path).open("r+b") as stream:
        fsync_descriptor(stream.fileno())


def _each(function: Callable[[P], None], paths: Sequence[P]) -> None:
    if len(paths) <= 2:
        for path in paths:
            function(path)
        return
    from concurrent.futures import ThreadPoolExecutor  # 10 ms that single writes need not pay

    # Many at once cost the disk little more than one: it writes them in one go.
    with ThreadPoolExecutor(max_workers=min(16, len(paths))) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            for done in [pool.submit(function, path) for path in some]:
                done.result()


def _replace(temporary: Path, path: Path) -> None:
    deadline = time.monotonic() + 2.0
    while True:
        try:
            temporary.replace(path)
            return
        except PermissionError:
            # On Windows a virus scanner or an editor may hold the target for a moment.
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _discard(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink()


@functools.cache
def _umask() -> int:
    with _UMASK_LOCK:  # reading it means setting it: two threads at once would change it
        value = os.umask(0o077)
        os.umask(value)
    return value
