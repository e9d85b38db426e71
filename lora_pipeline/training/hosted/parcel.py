"""What is sent and what comes back as one file: a zip of images, an archive of weights."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import ServiceRefusedError
from lora_pipeline.training.hosted.http_client import ServiceClient
from lora_pipeline.training.plan import TrainingRequest, Upload

# Bytes of a zip must not depend on when it was made.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_PIECE = 1024 * 1024
LARGEST_WEIGHTS = 8 * 1024 * 1024 * 1024
_MOST_MEMBERS = 10_000
_UNREADABLE = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
    NotImplementedError, RuntimeError,
)  # fmt: skip


def uploads_of(request: TrainingRequest, name: str) -> Iterator[Upload]:
    """Yield every image and caption of a request, as files of the zip ``name``."""
    for image in request.data.images:
        source = request.data.folder / image.name
        yield Upload(source, f"{name}.zip/{image.name}")
        yield Upload(source.with_suffix(".txt"), f"{name}.zip/{source.stem}.txt")


def pack(uploads: Sequence[Upload], target: Path) -> int:
    """Write images and captions into a flat zip, always the same bytes; returns its length.

    Raises:
        DiskFullError: When there is no room for it.
    """
    with (
        files.disk_refusals(),
        files.open_atomic(target) as stream,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as parcel,
    ):
        for one in uploads:
            info = zipfile.ZipInfo(PurePosixPath(one.name).name, _LONG_AGO)
            info.external_attr = 0o644 << 16
            parcel.writestr(info, one.source.read_bytes())
    return target.stat().st_size


def fetch_weights(
    address: str,
    target: Path,
    *,
    near: str,
    bytes_expected: int | None = None,
    first_wait_s: float = 1.0,
) -> None:
    """Fetch weights, or an archive that holds them, from where a service says they are.

    Without any token of ours: the address is another host's. Whole or not at all.

    Args:
        address: Where they are.
        target: Where the weights are put.
        near: Address of the service; only there it may be without encryption.
        bytes_expected: Length that was told, or None.
        first_wait_s: How long is waited before a second try.

    Raises:
        ServiceUnreachableError: When they do not come whole, however often they are asked for.
        ServiceRefusedError: When it is no address to fetch from, or holds no weights.
    """
    parts = urlsplit(address)
    if not (
        parts.scheme == "https"
        or (parts.scheme == "http" and origin_of(near) == origin_of(address))
    ):
        raise ServiceRefusedError(
            f"the service names {parts.scheme}://{parts.hostname} as the place of the weights, "
            "which is not encrypted",
            hint="see the job at its service",
        )
    client = ServiceClient(origin_of(address), first_wait_s=first_wait_s)
    fetched = target.with_name(f"{target.name}.fetched")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        client.download(path, fetched, bytes_expected=bytes_expected)
        if parts.path.lower().endswith(".safetensors") or not _is_archive(fetched, parts.path):
            fetched.replace(target)
        else:
            take_weights(fetched, target)
    finally:
        client.close()
        fetched.unlink(missing_ok=True)


def origin_of(address: str) -> str:
    """Return scheme, host and port of an address."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def take_weights(archive: Path, target: Path, *, limit: int = LARGEST_WEIGHTS) -> None:
    """Write the one safetensors file of an archive to ``target``, whole or not at all.

    Nothing is unpacked under a name of the archive's, and what it claims of sizes is not
    believed: reading ends at the limit.

    Raises:
        ServiceRefusedError: When it is no archive, leads out of its folder, holds no or several
            weights, or is larger than any LoRA.
    """
    with _refused_as(archive), _opened(archive) as found:
        name, stream = found
        with files.disk_refusals(), files.open_atomic(target) as out:
            left = limit
            while piece := stream.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise ServiceRefusedError(
                        f"{name} of {archive.name} is larger than {limit >> 20} MB, "
                        "which no LoRA is"
                    )
                out.write(piece)


def _is_archive(file: Path, name: str) -> bool:
    named = name.lower().endswith((".tar", ".tgz", ".gz", ".zip", ".xz", ".bz2"))
    return named or zipfile.is_zipfile(file) or tarfile.is_tarfile(file)


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as parcel:
            infos = parcel.infolist()
            name = _weights_of(archive, [one.filename for one in infos])
            with parcel.open(name) as stream:
                yield name, stream
        return
    with tarfile.open(archive, "r:*") as tar:
        members, size = list[tarfile.TarInfo](), 0
        for member in tar:
            members.append(member)
            size += max(member.size, 0)
            if len(members) > _MOST_MEMBERS or size > 2 * LARGEST_WEIGHTS:
                raise ServiceRefusedError(f"{archive.name} holds more than any training leaves")
        name = _weights_of(archive, [one.name for one in members])
        (chosen,) = [one for one in members if one.name == name]
        opened = tar.extractfile(chosen) if chosen.isreg() else None
        if opened is None:
            raise ServiceRefusedError(f"{name} of {archive.name} is no file")
        yield name, opened


def _weights_of(archive: Path, names: Sequence[str]) -> str:
    if len(names) > _MOST_MEMBERS:
        raise ServiceRefusedError(f"{archive.name} holds more than any training leaves")
    for name in names:
        plain = name.replace("\\", "/")
        if plain.startswith("/") or ".." in plain.split("/") or ":" in plain.partition("/")[0]:
            raise ServiceRefusedError(
                f"{archive.name} holds {name[:80]!r}, which leads out of its folder",
                hint="nothing of it was unpacked; see the job at its service",
            )
    weights = [name for name in names if name.lower().endswith(".safetensors")]
    final = [name for name in weights if PurePosixPath(name).name == "lora.safetensors"]
    chosen = final if len(final) == 1 else weights
    if len(chosen) != 1 or names.count(chosen[0]) != 1:
        told = f"{len(weights)} files" if weights else "no file"
        raise ServiceRefusedError(
            f"{archive.name} holds {told} of weights (.safetensors)",
            hint="see the job at its service",
        )
    return chosen[0]


@contextlib.contextmanager
def _refused_as(archive: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise ServiceRefusedError(
            f"{archive.name} is no archive that can be read: {str(error)[:100]}",
            hint="lora run resume fetches it again",
        ) from error
