"""Merging a record for Git: by its meaning, or by its lines where that cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from lora_pipeline.datasets.merge import merge_manifests
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.record import Record
from lora_pipeline.operations.workspace.git_merge_lora import merge_loras
from lora_pipeline.operations.workspace.git_merge_words import clash_words, manifest_words
from lora_pipeline.operations.workspace.validation.kinds import KINDS
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.git.merge_file import merge_lines
from lora_pipeline.workspace.merge_advice import place_in, way_out
from lora_pipeline.workspace.merge_documents import (
    MISSING,
    Clash,
    Shape,
    Side,
    earlier,
    later,
    members,
    merge_documents,
    things,
    words,
)
from lora_pipeline.workspace.record_bytes import parse_record, record_from

_WORD = members(aliases=words)
_CATALOGS: dict[str, Shape] = {
    kind: members(createdAt=earlier, updatedAt=later, **{name: things("id", shape)})
    for kind, name, shape in (
        ("asset-types", "assetTypes", members(defaultTags=words)),
        ("styles", "styles", _WORD),
        ("scenarios", "scenarios", _WORD),
        ("palettes", "palettes", members()),
        ("tags", "groups", members(tags=things("id", _WORD))),
    )
}


class Sides(msgspec.Struct, frozen=True):
    """The three versions of a file that Git brings together.

    Attributes:
        path: The file's name from the top of the work tree.
        base: The common ancestor; empty when both sides made the file anew.
        ours: The present side.
        theirs: The other side.
        labels: What Git calls the two sides.
        marker_size: How long the marks of a conflict are.
    """

    path: str
    base: bytes
    ours: bytes
    theirs: bytes
    labels: tuple[str, str] = ("ours", "theirs")
    marker_size: int = 7


class Outcome(msgspec.Struct, frozen=True):
    """What a merge came to.

    Attributes:
        data: The merged file; with marks where it could not be merged.
        clean: Whether it is merged.
        said: What a person should know, line by line.
    """

    data: bytes
    clean: bool
    said: tuple[str, ...]


class _Merged(msgspec.Struct, frozen=True):
    document: dict[str, Any]
    clashes: tuple[Clash, ...]
    said: tuple[str, ...] = ()


# base, ours, theirs, preferred side -> the merged document
_Merge = Callable[[Any, Any, Any, Side], _Merged]


def merge_record(sides: Sides) -> Outcome:
    """Return one record merged from both sides.

    What cannot be merged by meaning is never said to be merged: it comes back with marks, and
    with words that say why.

    Raises:
        RepositoryError: When Git cannot even merge the lines.
    """
    place = place_in(sides.path)
    kind = place.kind if place else ""
    merge = _merge_of(kind)
    if merge is None:
        data, clean = _as_lines(sides)
        return Outcome(data, clean, ())
    try:
        return _by_meaning(sides, KINDS[kind], merge)
    except PipelineError as error:
        data, _ = _as_lines(sides)
        reason = f"lora: {sides.path} is merged as text, look at it: {error.message}"
        return Outcome(data, clean=False, said=(reason, *_next(sides.path)))


def _by_meaning(sides: Sides, kind: type[Record], merge: _Merge) -> Outcome:
    base, ours, theirs = (
        _parsed(kind, data, f"{sides.path} ({label})")
        for data, label in (
            (sides.base, "the common ancestor"),
            (sides.ours, sides.labels[0]),
            (sides.theirs, sides.labels[1]),
        )
    )
    if ours is None or theirs is None:
        raise PipelineError("one side is empty")
    merged = merge(base, ours, theirs, "ours")
    if not merged.clashes:
        data = _encoded(kind, merged.document)
        parse_record(kind, data, sides.path)
        return Outcome(data, clean=True, said=tuple(f"lora: {line}" for line in merged.said))
    # The same merge three times, each with another side where they clash: their lines differ
    # there and nowhere else, so the marks stand around what is in question.
    preferred: tuple[Side, ...] = ("base", "ours", "theirs")
    forms = [_encoded(kind, merge(base, ours, theirs, side).document) for side in preferred]
    marked, _ = merge_lines(
        forms[0], forms[1], forms[2], labels=sides.labels, marker_size=sides.marker_size
    )
    said = clash_words(sides.path, kind.KIND, merged.clashes, sides.labels)
    return Outcome(marked, clean=False, said=(*said, *_next(sides.path)))


def _merge_of(kind: str) -> _Merge | None:
    if kind == Manifest.KIND:
        return _manifests
    if kind == Lora.KIND:
        return _loras
    shape = _CATALOGS.get(kind)
    if shape is None:
        return None

    def catalogs(base: Any, ours: Any, theirs: Any, prefer: Side) -> _Merged:
        before = MISSING if base is None else base.to_dict()
        return _Merged(
            *merge_documents(shape, before, ours.to_dict(), theirs.to_dict(), prefer=prefer)
        )

    return catalogs


def _manifests(base: Any, ours: Any, theirs: Any, prefer: Side) -> _Merged:
    merged = merge_manifests(base, ours, theirs, prefer=prefer)
    said = manifest_words(ours, merged)
    return _Merged(merged.manifest.to_dict(), merged.clashes, said)


def _loras(base: Any, ours: Any, theirs: Any, prefer: Side) -> _Merged:
    return _Merged(*merge_loras(base, ours, theirs, prefer))


def _parsed(kind: type[Record], data: bytes, name: str) -> Record | None:
    if not data.strip():
        return None
    return record_from(kind, data, name)


def _encoded(kind: type[Record], document: dict[str, Any]) -> bytes:
    return strict_json.dumps(document, one_line_each=kind.ONE_LINE_EACH)


def _as_lines(sides: Sides) -> tuple[bytes, bool]:
    return merge_lines(
        sides.base,
        sides.ours,
        sides.theirs,
        labels=sides.labels,
        marker_size=sides.marker_size,
    )


def _next(path: str) -> tuple[str, ...]:
    steps = way_out(path)
    return (f"next  {steps}",) if steps else ()
