"""Measuring the images of a dataset: each content once, in child processes, then remembered."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lora_pipeline.datasets.checks.measure_cache import MeasureCache, Rows, open_cache
from lora_pipeline.datasets.image_files import ImageFiles, image_files
from lora_pipeline.engine.images import map_images
from lora_pipeline.engine.pool import default_workers
from lora_pipeline.foundation.errors import (
    FileMissingError,
    ImageRefusedError,
    PipelineError,
    SettingsError,
    UnsafePathError,
)
from lora_pipeline.foundation.images.client import ImageMeasures, ImageWorker
from lora_pipeline.workspace.root import Workspace

_SAVE_EVERY = 2_000
_MOST_WORKERS = 4  # each may take the memory of one image of the largest size


class Wanted(msgspec.Struct, frozen=True):
    """An image to measure: where it stands, and what its bytes are said to be."""

    sha256: str
    path: str


class Unmeasured(msgspec.Struct, frozen=True):
    """Why an image has no measures.

    Attributes:
        code: ``file_missing``, ``file_changed``, ``image_refused`` or ``file_not_here``.
        message: The reason, in one sentence.
        hint: What helps, or empty.
    """

    code: str
    message: str
    hint: str = ""


class Measured(msgspec.Struct, frozen=True):
    """What measuring came to.

    Attributes:
        rows: The measures, one row for each image that has some.
        place: Row of each digest.
        unmeasured: Why the others have none, by digest.
        decoded: How many images were decoded this time; the others were known.
    """

    rows: Rows
    place: dict[str, int]
    unmeasured: dict[str, Unmeasured] = msgspec.field(default_factory=dict)
    decoded: int = 0


def measure_images(workspace: Workspace, wanted: Sequence[Wanted]) -> Measured:
    """Return the measures of images; only contents that were never measured are decoded.

    The measures belong to the digest, so it is the digest of the very bytes that were decoded
    that they are kept under: a file that is another one by now has none.
    """
    cache = open_cache(workspace)
    by_digest = {one.sha256: one for one in reversed(wanted)}
    unknown = [one for sha256, one in sorted(by_digest.items()) if sha256 not in cache]
    unmeasured = _decode(workspace, cache, unknown, list(by_digest)) if unknown else {}
    known = [sha256 for sha256 in by_digest if sha256 not in unmeasured]
    return Measured(
        rows=cache.rows(known),
        place={sha256: place for place, sha256 in enumerate(known)},
        unmeasured=unmeasured,
        decoded=len(unknown) - len(unmeasured),
    )


def _decode(
    workspace: Workspace, cache: MeasureCache, unknown: Sequence[Wanted], all_wanted: list[str]
) -> dict[str, Unmeasured]:
    finder = image_files(workspace)

    def measure(worker: ImageWorker, one: Wanted) -> ImageMeasures | Unmeasured:
        return _measure(worker, finder, one)

    unmeasured: dict[str, Unmeasured] = {}
    workers = min(_MOST_WORKERS, default_workers())
    results = map_images(workspace, measure, unknown, topic="measure", workers=workers)
    added = 0
    try:
        for one, result in zip(unknown, results, strict=True):
            if isinstance(result, Unmeasured):
                unmeasured[one.sha256] = result
                continue
            cache.add(result)
            added += 1
            if added % _SAVE_EVERY == 0 and not workspace.dry_run:
                cache.save(all_wanted)
    finally:
        # Whoever stops after an hour of ten finds that hour done.
        if added and not workspace.dry_run:
            cache.save(all_wanted)
    return unmeasured


def _measure(worker: ImageWorker, finder: ImageFiles, one: Wanted) -> ImageMeasures | Unmeasured:
    try:
        measures = worker.measure(finder.locate(one.path), name=one.path)
    except (FileMissingError, ImageRefusedError, SettingsError, UnsafePathError) as error:
        return _why(error)
    if measures.sha256 == one.sha256:
        return measures
    found = f"its sha256 is {measures.sha256[:12]}…, recorded {one.sha256[:12]}…"
    return Unmeasured("file_changed", f"{one.path} changed since: {found}")


def _why(error: PipelineError) -> Unmeasured:
    code = "file_not_here"
    if isinstance(error, FileMissingError):
        code = "file_missing"
    elif isinstance(error, ImageRefusedError) and "Git LFS pointer" not in error.message:
        code = "image_refused"
    return Unmeasured(code, error.message, error.hint or "")
