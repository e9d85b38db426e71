"""Measuring pictures without a model: each content is decoded once, in child processes."""

from __future__ import annotations

import base64
import importlib.metadata
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from lora_pipeline.datasets.checks.measure_cache import MeasureCache, Rows
from lora_pipeline.datasets.near_duplicates import on_background
from lora_pipeline.engine.images import WORKERS, map_images
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.images.client import ImageColours, ImageWorker
from lora_pipeline.foundation.images.colours import DIRECTIONS, STEPS, TONES
from lora_pipeline.workspace.root import Workspace

FORM = 1  # of what is measured without a model; a new one whenever a measure changes
_FEW = 64
ROW = np.dtype(
    [
        ("sha256", "u1", (32,)),
        ("edge_width", "<f4"),
        ("look", "u1", (16, 16, 4)),
        ("tones", "<f4", (TONES,)),
        ("palette", "<f4", (DIRECTIONS, STEPS)),
    ]
)


class Picture(msgspec.Struct, frozen=True):
    """A picture that is to be measured.

    Attributes:
        sha256: What its bytes are said to be.
        name: What messages call it.
        get: Returns its file, or its bytes, or raises why there are none.
    """

    sha256: str
    name: str
    get: Callable[[], Path | bytes]


class Pictures(msgspec.Struct, frozen=True):
    """What pictures measure.

    Attributes:
        rows: One for each content.
        place: Row of each digest.
        background: What transparency was laid on.
        lost: Why others have no row, by digest.
    """

    rows: Rows
    place: dict[str, int]
    background: str
    lost: dict[str, str]

    def edge_width(self, sha256: str) -> float:
        """Return how many pixels the sharpest edges take; 0 where there are none."""
        return float(self.rows["edge_width"][self.place[sha256]])

    def tones(self, sha256s: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the distributions of lightness, one a row."""
        return self._of("tones", sha256s)

    def palettes(self, sha256s: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the distributions of hue and chroma, one a row."""
        return self._of("palette", sha256s)

    def looks(self, sha256s: Sequence[str]) -> npt.NDArray[np.uint8]:
        """Return the looks, n by 16 by 16 by 4."""
        return np.asarray(self._of("look", sha256s), dtype=np.uint8)

    def shown(self, sha256s: Sequence[str]) -> npt.NDArray[np.uint8]:
        """Return the looks on the background, n by 16 by 16 by 3."""
        return on_background(self.looks(sha256s), self.background)

    def _of(self, field: str, sha256s: Sequence[str]) -> npt.NDArray[Any]:
        return np.asarray(self.rows[field][[self.place[one] for one in sha256s]])


def method() -> str:
    """Return how pictures are measured: our form, and the libraries that decide on pixels."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("pillow", "numpy")]
    return " · ".join([f"form {FORM}", *versions])


def measure_pictures(
    workspace: Workspace, wanted: Sequence[Picture], *, background: str
) -> Pictures:
    """Return what pictures measure; only contents that were never measured are decoded."""
    folder = workspace.runtime / "cache"
    seal = f"{method()} row {ROW.itemsize} on {background}\n".encode("ascii", "replace")
    path = folder / f"picture-colours-{background.removeprefix('#').lower()}"
    cache = MeasureCache(path, seal, ROW, _row)
    by_digest = {one.sha256: one for one in reversed(wanted)}
    unknown = [one for sha256, one in sorted(by_digest.items()) if sha256 not in cache]
    lost = _measure(workspace, cache, unknown, background) if unknown else {}
    if len(lost) < len(unknown) and not workspace.dry_run:
        cache.save(list(by_digest))
    known = [sha256 for sha256 in by_digest if sha256 not in lost]
    places = {sha256: place for place, sha256 in enumerate(known)}
    return Pictures(cache.rows(known), places, background, lost)


def _measure(
    workspace: Workspace, cache: MeasureCache, unknown: Sequence[Picture], background: str
) -> dict[str, str]:
    lost: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lora-pictures-") as folder:

        def one(worker: ImageWorker, picture: Picture) -> ImageColours | str:
            try:
                with _file_of(picture, Path(folder)) as path:
                    found = worker.colours(path, background=background, name=picture.name)
            except PipelineError as error:
                return error.message
            if found.sha256 != picture.sha256:
                return f"{picture.name} has another digest than recorded"
            return found

        # A second child costs more than it saves where there are few pictures.
        workers = 1 if len(unknown) < _FEW else WORKERS
        results = map_images(workspace, one, unknown, topic="measure", workers=workers)
        for picture, found in zip(unknown, results, strict=True):
            if isinstance(found, str):
                lost[picture.sha256] = found
            else:
                cache.add(found)
    return lost


class _file_of:  # noqa: N801 - used like a function
    """The file of a picture; one that is made for it is removed afterwards."""

    def __init__(self, picture: Picture, folder: Path) -> None:
        self._picture = picture
        self._path = folder / picture.sha256
        self._made = False

    def __enter__(self) -> Path:
        found = self._picture.get()
        if isinstance(found, Path):
            return found
        self._path.write_bytes(found)
        self._made = True
        return self._path

    def __exit__(self, *_: object) -> None:
        if self._made:
            self._path.unlink(missing_ok=True)


def _row(found: ImageColours) -> tuple[object, ...]:
    return (
        np.frombuffer(bytes.fromhex(found.sha256), dtype=np.uint8),
        found.edge_width,
        np.frombuffer(base64.b64decode(found.look), dtype=np.uint8).reshape(16, 16, 4),
        np.frombuffer(base64.b64decode(found.tones), dtype="<f4"),
        np.frombuffer(base64.b64decode(found.palette), dtype="<f4").reshape(DIRECTIONS, STEPS),
    )
