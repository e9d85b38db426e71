"""Measures of images, remembered by the digest of their bytes, in one compact file.

A measure says something about bytes and about nothing else, so a row is right for ever, as long
as pictures are measured in the same way. A file that is damaged, was written by another version
or by another decoder is as good as none: everything is measured anew.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import StorageError
from lora_pipeline.foundation.images.client import ImageMeasures
from lora_pipeline.workspace.root import Workspace

FORM = 1  # of the rows and of what they say; a new one whenever a measure changes
ROW = np.dtype(
    [
        ("sha256", "u1", (32,)),
        ("pixels", "u1", (32,)),
        ("width", "<u4"),
        ("height", "<u4"),
        ("location", "?"),
        ("odd_colours", "?"),
        ("alpha_used", "?"),
        ("grey", "?"),
        ("jpeg_quality", "u1"),
        ("enlarged", "u1"),
        ("darkest", "u1", (3,)),
        ("lightest", "u1", (3,)),
        ("border", "<u4", (4,)),
        ("visible", "<f4"),
        ("edge_width", "<f4"),
        ("blockiness", "<f4"),
        ("look", "u1", (16, 16, 4)),
        ("corners", "u1", (4, 8, 16)),
    ]
)
Rows = npt.NDArray[np.void]
AsRow = Callable[[Any], tuple[object, ...]]
_MAGIC = b"lora image measures\n"
_DIGEST_BYTES = 16
_SPARE = 20_000  # rows that are kept although nobody asked for them this time


class MeasureCache:
    """The measures that are known.

    Args:
        path: Its file, which need not exist.
        sealed_by: What else the rows depend on; a file sealed by something else is not read.
        form: Of a row; its field ``sha256`` is the digest of the image.
        as_row: Makes one of what is remembered.
    """

    def __init__(
        self,
        path: Path,
        sealed_by: bytes,
        form: np.dtype[np.void] = ROW,
        as_row: AsRow | None = None,
    ) -> None:
        self._path = path
        self._seal = sealed_by
        self._form = form
        self._as_row = as_row or _row
        self._rows = _read(path, sealed_by, form)
        self._places = {row.tobytes(): place for place, row in enumerate(self._rows["sha256"])}
        self._new: dict[bytes, Any] = {}

    def __contains__(self, sha256: str) -> bool:
        """Return whether the image of that digest was measured."""
        key = bytes.fromhex(sha256)
        return key in self._places or key in self._new

    def add(self, measures: Any) -> None:
        """Remember the measures of one image, which name its digest ``sha256``."""
        self._new[bytes.fromhex(measures.sha256)] = measures

    def rows(self, sha256s: Sequence[str]) -> Rows:
        """Return one row for each digest, all of which must be known."""
        self._take_in()
        return self._rows[[self._places[bytes.fromhex(one)] for one in sha256s]]

    def save(self, wanted: Sequence[str]) -> None:
        """Write the file; a disk that refuses is no reason to stop, it is only a cache.

        Args:
            wanted: Digests that are in use; of all others only so many are kept.
        """
        self._take_in()
        rows = self._rows
        if len(rows) > len(wanted) + _SPARE:
            used = {bytes.fromhex(one) for one in wanted}
            rows = rows[[row.tobytes() in used for row in rows["sha256"]]]
        body = rows.tobytes()
        with contextlib.suppress(StorageError, OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self._path, _MAGIC + _digest(self._seal + body) + body)

    def _take_in(self) -> None:
        if not self._new:
            return
        fresh = np.zeros(len(self._new), dtype=self._form)
        for place, measures in enumerate(self._new.values()):
            fresh[place] = self._as_row(measures)
        for place, key in enumerate(self._new):
            self._places[key] = len(self._rows) + place
        self._rows = np.concatenate([self._rows, fresh])
        self._new = {}


def open_cache(workspace: Workspace) -> MeasureCache:
    """Return the cache of a workspace."""
    # Another Pillow may decode or scale another way, by one level at one pixel.
    seal = f"{FORM} pillow {importlib.metadata.version('pillow')} row {ROW.itemsize}\n"
    return MeasureCache(workspace.runtime / "cache" / "image-measures", seal.encode("ascii"))


def _read(path: Path, seal: bytes, form: np.dtype[np.void]) -> Rows:
    nothing: Rows = np.zeros(0, dtype=form)
    try:
        data = path.read_bytes()
    except OSError:
        return nothing
    start = len(_MAGIC) + _DIGEST_BYTES
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or len(body) % form.itemsize:
        return nothing
    if data[len(_MAGIC) : start] != _digest(seal + bytes(body)):
        return nothing
    return np.frombuffer(body, dtype=form)


def _digest(data: bytes) -> bytes:
    import xxhash

    return xxhash.xxh3_128_digest(data)


def _row(measures: ImageMeasures) -> tuple[object, ...]:
    values = {
        "sha256": _bytes_of(bytes.fromhex(measures.sha256)),
        "pixels": _bytes_of(bytes.fromhex(measures.pixel_sha256)),
        "look": _bytes_of(base64.b64decode(measures.look)).reshape(ROW["look"].shape),
        "corners": _bytes_of(base64.b64decode(measures.corners)).reshape(ROW["corners"].shape),
    }
    return tuple(
        values[name] if name in values else getattr(measures, name) for name in ROW.names or ()
    )


def _bytes_of(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)
