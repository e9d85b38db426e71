"""The safetensors file: its header, checked more strictly than the format's own library does.

The library accepts a key given twice, a header padded with tabs and no tensor at all, and says
"header too large" of a Git LFS pointer. Whoever reads a file here learns what it is instead.
Nothing of torch is needed, and no more than a few megabytes are held at once.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.errors import (
    FileMissingError,
    IntegrityError,
    JsonInvalidError,
    WeightsRefusedError,
)

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_TENSORS = 20_000
BLOCK_BYTES = 8 * 1024 * 1024

# Bytes of one value.
DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
_NAME = re.compile(r"^[A-Za-z0-9_.\-:/]{1,512}$")
# What people have saved under the name of a weights file, told by its first bytes.
_PICKLE = "is a pickle, which can run code when it is read"
_CONVERT = "convert it to safetensors"
_HINT = "give the path of a .safetensors file"
_SNIFFED = (
    ("git_lfs_pointer", b"version https://git-lfs", "is a Git LFS pointer, not the file itself",
     "git lfs pull"),
    ("web_page", b"<", "is a web page: a download saved an error instead", "download it again"),
    ("error_message", b'{"error', "is an error message of a server: the download failed",
     "download it again"),
    ("pickle", b"PK\x03\x04",
     "is a zip archive (a pickled checkpoint), which can run code when it is read", _CONVERT),
    ("pickle", b"\x80\x02", _PICKLE, _CONVERT),
    ("pickle", b"\x80\x03", _PICKLE, _CONVERT),
    ("pickle", b"\x80\x04", _PICKLE, _CONVERT),
    ("pickle", b"\x80\x05", _PICKLE, _CONVERT),
    ("other_format", b"GGUF", "is a GGUF model", _CONVERT),
    ("other_format", b"\x89PNG", "is a picture", None),
    ("other_format", b"\xff\xd8\xff", "is a picture", None),
)  # fmt: skip


class Tensor(msgspec.Struct, frozen=True):
    """One tensor of a file.

    Attributes:
        name: Its key.
        dtype: ``F32``, ``BF16``, …
        shape: Its sizes.
        start: Offset of its first byte in the data.
        end: Offset after its last byte.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def count(self) -> int:
        """How many values it has."""
        return (self.end - self.start) // DTYPE_BYTES[self.dtype]


class WeightsHeader(msgspec.Struct, frozen=True):
    """What a file says of itself.

    Attributes:
        tensors: Its tensors in the order of their data.
        metadata: Its free texts.
        data_start: Where the data begins in the file.
    """

    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    data_start: int


def read_header(path: Path) -> WeightsHeader:
    """Return the checked header of a safetensors file.

    Raises:
        FileMissingError: When it cannot be read.
        WeightsRefusedError: When it is no sound safetensors file; says what it is instead.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a pipe or a device could be read for ever
            raise WeightsRefusedError(f"{path.name or path} is no file", rule="no_file", hint=_HINT)
        with path.open("rb") as stream:
            return _read_header(stream, facts.st_size, path.name)
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}", hint=_HINT) from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}", hint=_HINT) from error


def tensor_blocks(path: Path, header: WeightsHeader) -> Iterator[tuple[Tensor, bytes]]:
    """Yield the data of every tensor in order, in blocks of whole values.

    An empty tensor yields one empty block.

    Raises:
        FileMissingError: When the file cannot be read or became shorter.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(header.data_start)
            yield from blocks_of(stream, header)
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error


def blocks_of(stream: BinaryIO, header: WeightsHeader) -> Iterator[tuple[Tensor, bytes]]:
    """Yield the data that a stream holds from here on, as ``tensor_blocks`` does.

    Raises:
        FileMissingError: When it ends early.
    """
    for tensor in header.tensors:
        left = tensor.end - tensor.start
        if not left:
            yield tensor, b""
        while left:
            block = stream.read(min(left, BLOCK_BYTES))
            if not block:
                raise FileMissingError(f"{stream.name} became shorter while it was read")
            left -= len(block)
            yield tensor, block


def encode_header(tensors: Iterable[Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes before the data: the same for the same tensors and metadata.

    The format's library writes metadata in an order that changes from run to run, which would
    give equal weights another digest each time.
    """
    document: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    for tensor in tensors:
        document[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [tensor.start, tensor.end],
        }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_weights(
    path: Path, tensors: Iterable[Tensor], metadata: Mapping[str, str], blocks: Iterable[bytes]
) -> None:
    """Write a safetensors file so that it is whole or not there.

    Raises:
        OSError: As the file system says; nothing is left over.
    """
    with files.open_atomic(path) as stream:
        stream.write(encode_header(tensors, metadata))
        for block in blocks:
            stream.write(block)


def copy_with_metadata(source: Path, target: Path, metadata: Mapping[str, str]) -> str:
    """Write a copy of a weights file with other free texts, and return the digest of its tensors.

    The tensors, their names and their order stay; that is proven by reading both files again
    before the copy counts. The same source and texts give the same bytes.

    Raises:
        FileMissingError: When the source cannot be read.
        WeightsRefusedError: When it is no sound safetensors file.
        IntegrityError: When the copy's tensors differ, which leaves no copy.
        StorageError: When the disk refuses.
    """
    header = read_header(source)
    with files.disk_refusals():
        write_weights(
            target, header.tensors, metadata, (block for _, block in tensor_blocks(source, header))
        )
    copy = read_header(target)
    digest = tensor_sha256(source, header)
    if copy.tensors != header.tensors or tensor_sha256(target, copy) != digest:
        target.unlink()
        raise IntegrityError(f"the copy of {source.name} has other tensors; it was removed")
    return digest


def tensor_sha256(path: Path, header: WeightsHeader) -> str:
    """Return the SHA-256 of the data without the header, as ``modelspec.hash_sha256`` means it.

    Raises:
        FileMissingError: When the file cannot be read.
    """
    digest = hashlib.sha256()
    for _, block in tensor_blocks(path, header):
        digest.update(block)
    return digest.hexdigest()


def _read_header(stream: BinaryIO, size: int, name: str) -> WeightsHeader:
    first = stream.read(64)
    _sniff(first, size, name)
    length = int.from_bytes(first[:8], "little")
    if length > size - 8:
        raise WeightsRefusedError(
            f"{name} is truncated: its header says {length} bytes and {size - 8} are there",
            rule="truncated",
            hint="copy or download it again",
        )
    if length > MAX_HEADER_BYTES:
        raise WeightsRefusedError(
            f"{name} has a header of {length} bytes, at most {MAX_HEADER_BYTES} are read",
            rule="header_too_large",
        )
    stream.seek(8)
    raw = stream.read(length)
    return _parse_header(raw, size - 8 - length, name)


def _sniff(first: bytes, size: int, name: str) -> None:
    if size == 0:
        raise WeightsRefusedError(
            f"{name} is empty", rule="empty", hint="copy or download it again"
        )
    # A header of 60 bytes, or of 60 and a multiple of 256, begins like a web page.
    plausible = first[4:9] == b"\0\0\0\0{"
    for rule, magic, what, hint in _SNIFFED:
        if first.startswith(magic) and not plausible:
            raise WeightsRefusedError(f"{name} {what}", rule=rule, hint=hint)
    if size < 10:
        raise WeightsRefusedError(
            f"{name} is truncated: {size} bytes are no weights",
            hint="copy or download it again",
            rule="truncated",
        )
    if first[8:9] != b"{":
        raise WeightsRefusedError(
            f"{name} is no safetensors file: no header at byte 8", rule="not_safetensors"
        )


def _parse_header(raw: bytes, data_bytes: int, name: str) -> WeightsHeader:
    text = raw.rstrip(b" ")
    if not text.endswith(b"}"):
        raise WeightsRefusedError(
            f"{name}: its header is padded with something else than spaces", rule="header_padded"
        )
    try:
        document = strict_json.loads(text, f"the header of {name}")
    except JsonInvalidError as error:
        raise WeightsRefusedError(error.message, rule="header_invalid") from error
    metadata = _metadata(document.pop("__metadata__", {}), name)
    if len(document) > MAX_TENSORS:
        raise WeightsRefusedError(
            f"{name} has {len(document)} tensors, at most {MAX_TENSORS} are read",
            rule="too_many_tensors",
        )
    if not document:
        raise WeightsRefusedError(f"{name} holds no tensors", rule="no_tensors")
    tensors = sorted(
        (_tensor(key, entry, name) for key, entry in document.items()),
        key=lambda tensor: (tensor.start, tensor.end, tensor.name),
    )
    _check_cover(tensors, data_bytes, name)
    return WeightsHeader(tuple(tensors), metadata, 8 + len(raw))


def _metadata(document: Any, name: str) -> dict[str, str]:
    if not isinstance(document, dict) or not all(isinstance(v, str) for v in document.values()):
        raise WeightsRefusedError(
            f"{name}: its metadata holds something else than texts", rule="metadata_invalid"
        )
    return document


def _tensor(key: str, entry: Any, name: str) -> Tensor:
    if not _NAME.match(key) or ".." in key:
        raise WeightsRefusedError(
            f"{name}: {key[:80]!r} is no name of a tensor", rule="tensor_name"
        )
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsRefusedError(
            f"{name}: tensor {key} is not described by type, shape, offsets", rule="tensor_invalid"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in DTYPE_BYTES:
        raise WeightsRefusedError(
            f"{name}: tensor {key} has the unknown type {dtype!r}", rule="tensor_type"
        )
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        raise WeightsRefusedError(
            f"{name}: tensor {key} has an impossible shape or offset", rule="tensor_invalid"
        )
    start, end = offsets
    count = 1
    for length in shape:
        count *= length
    if end - start != count * DTYPE_BYTES[dtype]:
        raise WeightsRefusedError(
            f"{name}: tensor {key} of shape {shape} needs {count * DTYPE_BYTES[dtype]} bytes "
            f"and has {end - start}",
            rule="tensor_invalid",
        )
    return Tensor(key, dtype, tuple(shape), start, end)


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**53 for one in value
    )


def _check_cover(tensors: list[Tensor], data_bytes: int, name: str) -> None:
    expected = 0
    for tensor in tensors:
        if tensor.start != expected:
            raise WeightsRefusedError(
                f"{name}: the data of tensor {tensor.name} overlaps another or leaves a hole",
                rule="tensors_overlap",
            )
        expected = tensor.end
    if expected > data_bytes:
        raise WeightsRefusedError(
            f"{name} is truncated: {expected} bytes of data described, {data_bytes} there",
            rule="truncated",
            hint="copy or download it again",
        )
    if expected < data_bytes:
        raise WeightsRefusedError(
            f"{name} has {data_bytes - expected} bytes that no tensor describes",
            rule="trailing_bytes",
        )
