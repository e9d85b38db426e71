"""The zip files that mflux-train leaves, and the LoRA inside them.

mflux writes each zip in place, so one that was cut off is possible: only a zip whose every
member passes its check sum counts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.errors import PipelineError, WeightsRefusedError

_NAME = re.compile(r"^(\d{7,})_checkpoint\.zip$")
_MEMBER = re.compile(r"^[A-Za-z0-9_.-]+\.safetensors$")
_LARGEST_INDEX = 1024 * 1024
_LARGEST_LOSSES = 256 * 1024 * 1024
LARGEST_ADAPTER = 8 * 1024**3
# RuntimeError is what zipfile raises for an encrypted member.
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip
_FLOATS = {"F32": "<f4", "F16": "<f2"}
_UP = re.compile(r"\.lora_B(?:\.\w+)?\.weight$|\.lora_B$|\.lora_up\.weight$")


def checkpoint_zips(run_folder: Path, folder: str) -> list[tuple[int, Path]]:
    """Return the zips of a run with their steps, first to last, those cut off left out.

    mflux appends a time to the folder's name when it is there already; the latest folder that
    holds zips is the run's.
    """
    roots = [
        path
        for path in run_folder.glob(f"{folder}*")
        if re.fullmatch(rf"{re.escape(folder)}(_\d{{8}}_\d{{6}})?", path.name)
    ]
    for root in sorted(roots, reverse=True):
        found = sorted(_sound(root / "checkpoints"))
        if found:
            return found
    return []


def extract_adapter(path: Path, target: Path, *, scale: float) -> Path:
    """Write the LoRA of a checkpoint to ``target`` and return it.

    It gets the time of the zip, so that its age is that of the training.

    Args:
        path: The zip.
        target: The file to write.
        scale: Put into the weights: mflux exports none, whatever it trained with.

    Raises:
        WeightsRefusedError: When the zip holds no LoRA, or its index names none safely.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = _adapter_name(archive, path.name)
            data = archive.read(name)
    except _UNREADABLE as error:
        raise WeightsRefusedError(f"{path.name} cannot be read: {error}") from error
    files.write_atomic(target, data if scale == 1 else _scaled(data, scale, path.name))
    times = path.stat()
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    return target


def move_checkpoint(path: Path, target: Path, output_path: str) -> Path:
    """Copy a checkpoint so that a run that goes on from it writes to ``output_path``.

    Raises:
        WeightsRefusedError: When the zip holds no configuration.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one for one in archive.namelist() if one.endswith("_config.json")]
            if len(names) != 1:
                raise WeightsRefusedError(f"{path.name} holds no configuration")
            name = _member(archive, names[0], _LARGEST_INDEX, path.name)
            config = strict_json.loads(archive.read(name), name)
            if not isinstance(config, dict) or not isinstance(config.get("checkpoint"), dict):
                raise WeightsRefusedError(f"{path.name}: {name} is no configuration")
            config["checkpoint"]["output_path"] = output_path
            with files.open_atomic(target) as stream, zipfile.ZipFile(stream, "w") as copy:
                for member in archive.infolist():
                    told = json.dumps(config).encode() if member.filename == name else None
                    with copy.open(member.filename, "w", force_zip64=True) as written:
                        if told is not None:
                            written.write(told)
                            continue
                        with archive.open(member) as read:
                            shutil.copyfileobj(read, written)
    except (*_UNREADABLE, PipelineError) as error:
        raise WeightsRefusedError(f"{path.name} cannot be gone on from: {error}") from error
    return target


def last_loss(path: Path) -> float | None:
    """Return the last loss that a checkpoint holds, or None where it holds none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("_loss.json")]
            data = archive.read(_member(archive, names[0], _LARGEST_LOSSES, path.name))
        written = strict_json.loads(data, "losses")["step_loss"]
        return float(written[-1]["loss"])
    except (*_UNREADABLE, PipelineError, LookupError, TypeError, ValueError):
        return None


def _sound(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("*.zip"):
        match = _NAME.match(path.name)
        if match is None or path.is_symlink():
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is None:
                    yield int(match.group(1)), path
        except _UNREADABLE:
            continue


def _adapter_name(archive: zipfile.ZipFile, zip_name: str) -> str:
    index = _member(archive, "checkpoint.json", _LARGEST_INDEX, zip_name)
    try:
        document = strict_json.loads(archive.read(index), f"{zip_name}: checkpoint.json")
    except PipelineError as error:
        raise WeightsRefusedError(error.message) from error
    listed = document.get("files") if isinstance(document, dict) else None
    name = listed.get("lora_adapter") if isinstance(listed, dict) else None
    if not isinstance(name, str) or not _MEMBER.match(name):
        raise WeightsRefusedError(f"{zip_name}: checkpoint.json names no LoRA file")
    return _member(archive, name, LARGEST_ADAPTER, zip_name)


def _member(archive: zipfile.ZipFile, name: str, largest: int, zip_name: str) -> str:
    try:
        size = archive.getinfo(name).file_size
    except KeyError as error:
        raise WeightsRefusedError(f"{zip_name} holds no {name}") from error
    if size > largest:
        raise WeightsRefusedError(f"{zip_name}: {name} has {size} bytes, at most {largest}")
    return name


def _scaled(data: bytes, scale: float, zip_name: str) -> bytes:
    """Return weights with their up matrices scaled: the same bytes for the same input."""
    import numpy

    try:
        length = int.from_bytes(data[:8], "little")
        header = strict_json.loads(data[8 : 8 + length], f"{zip_name}: header of its LoRA")
        body = bytearray(data[8 + length :])
        for name, about in header.items():
            if not _UP.search(name):
                continue
            kind, (start, end) = _FLOATS[about["dtype"]], about["data_offsets"]
            values = numpy.frombuffer(body[start:end], kind)
            body[start:end] = (values * values.dtype.type(scale)).tobytes()
    except (PipelineError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise WeightsRefusedError(f"{zip_name}: its LoRA cannot be scaled: {error}") from error
    metadata = {**(header.get("__metadata__") or {}), "lora_pipeline.scale": repr(scale)}
    text = json.dumps({**header, "__metadata__": metadata}, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(body)
