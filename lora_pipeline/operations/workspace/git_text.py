"""A file as readable text, for ``git diff``: a record, weights, or what stands in their place.

Nothing here fails: what cannot be read is said in one line, because a diff of a hundred files
must not end at one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lora_pipeline.datasets.image_files import pointer_in
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.errors import PipelineError

# Beyond it only the header of weights is read: a diff is looked at, and nobody waits a minute.
MOST_WEIGHTS_BYTES = 512 * 1024 * 1024
_LONGEST_POINTER = 1024
_LONGEST_TEXT = 300


def text_of_file(path: Path) -> str:
    """Return a file as text that shows every difference that there can be.

    Args:
        path: The file; Git gives temporary ones, so its content alone says what it is.
    """
    try:
        lines = list(_lines(path))
    except PipelineError as error:
        lines = [f"cannot be shown: {error.message.replace(str(path), path.name)}"]
    except Exception as error:  # noqa: BLE001 - git diff must go on, whatever a file holds
        lines = [f"cannot be shown: {type(error).__name__}: {error}"]
    return "".join(f"{_plain(line)}\n" for line in lines)


def _lines(path: Path) -> Iterator[str]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_LONGEST_POINTER)
    pointer = pointer_in(head) if size == len(head) else None
    if pointer is not None:
        yield f"Git LFS pointer to {pointer.bytes:,} bytes that are not here"
        yield f"sha256:{pointer.sha256}"
    elif head.lstrip()[:1] == b"{" or head[:3] == b"\xef\xbb\xbf" or not head.strip():
        yield from _record_lines(strict_json.read_bytes(path), path.name)
    else:
        yield from _weights_lines(path, size)


def _record_lines(data: bytes, name: str) -> Iterator[str]:
    try:
        document = strict_json.loads(data, name)
    except PipelineError as error:
        yield f"no record: {error.message}"
        yield from data.decode("utf-8", "replace").splitlines()
        return
    items = document.pop("items", None) if isinstance(document, dict) else None
    if isinstance(items, list):
        yield f"images = {len(items)}"
    yield from _flat(document)
    for item in items if isinstance(items, list) else ():
        yield from _item_lines(item)
    # Whatever the lines above leave out, this one differs when the file does.
    yield f"file {digest_of_bytes(data)}"


def _flat(value: Any, where: str = "") -> Iterator[str]:
    """Yield a line for each value, with its whole path: a hunk of a diff shows no more."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for number, inner in enumerate(value):
            name = inner.get("id", number) if isinstance(inner, dict) else number
            yield from _flat(inner, f"{where}[{name}]")
    elif isinstance(value, list):
        yield f"{where} = {', '.join(map(_word, value))}"
    else:
        yield f"{where} = {_word(value)}"


def _item_lines(item: Any) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"image = {_word(item)}"
        return
    shown = dict(item)
    yield f"image {shown.pop('assetId', '?')}  {shown.pop('path', '')}"
    yield f"    caption  {shown.pop('caption', '')}"
    yield f"    tags     {' '.join(map(_word, shown.pop('tags', [])))}"
    sha256, xxh3 = str(shown.pop("sha256", "")), str(shown.pop("xxh3", ""))
    size = (
        f"{shown.pop('width', '?')} x {shown.pop('height', '?')}, {shown.pop('bytes', '?')} bytes"
    )
    yield f"    image    {size}, sha256 {sha256[:16]} xxh3 {xxh3[:8]}"
    said = [_word(shown.pop(key)) for key in ("split", "license") if shown.get(key)]
    said += [f"{key} {_word(value)}" for key, value in sorted(shown.items()) if value != ""]
    yield f"    is       {', '.join(said)}"


def _weights_lines(path: Path, size: int) -> Iterator[str]:
    from lora_pipeline.training.weights.file import read_header
    from lora_pipeline.training.weights.inspection import inspect_weights  # imports numpy

    if size > MOST_WEIGHTS_BYTES:
        header = read_header(path)
        yield f"weights  {len(header.tensors)} tensors, {size:,} bytes: too many to read here"
        yield "data     not compared; lora weights inspect reads all of it"
        yield from _metadata(header.metadata.items())
        return
    report = inspect_weights(path)
    ranks = ", ".join(f"{rank} ({count})" for rank, count in report.ranks.items())
    parts = ", ".join(f"{part} {count}" for part, count in report.components.items())
    alphas = ", ".join(f"{alpha:g}" for alpha in report.alphas) or "as the rank"
    types = ", ".join(f"{name} {count}" for name, count in sorted(report.types.items()))
    yield f"weights  {report.algorithm or 'no LoRA'}, {report.family or 'unknown'} keys"
    yield f"for      {' or '.join(report.architectures) or 'unknown'}"
    yield f"rank     {ranks or 'none'}"
    yield f"alpha    {alphas}"
    yield f"modules  {len(report.modules)}{f': {parts}' if parts else ''}"
    yield f"values   {report.values:,} numbers, largest {report.largest:.6g}"
    yield f"types    {types}"
    yield f"tensors  sha256:{report.tensor_sha256}"
    yield from (f"problem  {problem.message}" for problem in report.problems)
    yield from _metadata(report.metadata.items())
    yield f"file     sha256:{report.sha256}, {report.bytes:,} bytes"


def _metadata(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    for key, text in sorted(items):
        shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)})"
        yield f"metadata {key} = {shown}"


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _plain(text: str) -> str:
    """Return text in one line that cannot steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )
