"""Small pictures of images, made once in the decoding child and kept by content digest.

A thumbnail shows what training sees: upright, sRGB, on the background of the manifest. The bytes
that were hashed are the bytes that are decoded, so what is kept under a digest is its picture.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.datasets.image_sources import ImageSource, read_image
from lora_pipeline.datasets.records import Item
from lora_pipeline.engine.images import map_images
from lora_pipeline.foundation.errors import ImageRefusedError
from lora_pipeline.foundation.files import TEMPORARY_PREFIX
from lora_pipeline.foundation.images.client import ImageWorker
from lora_pipeline.workspace.root import Workspace

SIDE = 224  # pixels of the longer side
_MADE_BY = "v1"  # another number when thumbnails are made in another way


class Thumbnail(msgspec.Struct, frozen=True):
    """A small picture, or why there is none.

    Attributes:
        webp: The picture; empty when there is none.
        missing: Why there is none, in a few words.
    """

    webp: bytes = b""
    missing: str = ""


def thumbnails(
    workspace: Workspace,
    items: Sequence[Item],
    sources: Sequence[ImageSource],
    *,
    background: str = "#FFFFFF",
) -> Iterator[Thumbnail]:
    """Yield the thumbnail of each item in order, with progress and bounded memory.

    Args:
        workspace: Where thumbnails are kept, below ``.lora/cache``.
        items: The images.
        sources: Where their bytes may be found.
        background: Colour below transparency, ``#RRGGBB``.
    """
    kept = _Kept(
        workspace.runtime / "cache" / "thumbnails" / f"{_MADE_BY}-{SIDE}-{background[1:].lower()}"
    )

    def make(worker: ImageWorker, item: Item) -> Thumbnail:
        webp = kept.get(item.sha256)
        if webp:
            return Thumbnail(webp)
        data = read_image(sources, item)
        if isinstance(data, str):
            return Thumbnail(missing=data)
        try:
            return Thumbnail(kept.make(worker, data, item.path, background))
        except ImageRefusedError as error:
            return Thumbnail(missing=error.message.removeprefix(item.path).strip())

    return map_images(workspace, make, items, topic="thumbnails")


class _Kept(msgspec.Struct, frozen=True):
    folder: Path

    def get(self, sha256: str) -> bytes:
        """Return what is kept for a digest; empty when nothing whole is."""
        if len(sha256) != 64:
            return b""
        try:
            data = self._path(sha256).read_bytes()
        except OSError:
            return b""
        # It was not forced to disk: a power failure may have left a part of it.
        whole = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 == len(data)
        return data if whole else b""

    def make(self, worker: ImageWorker, data: bytes, name: str, background: str) -> bytes:
        """Make the thumbnail of an image and keep it."""
        target = self._path(hashlib.sha256(data).hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            worker.thumbnail(Path(temporary), target, size=SIDE, background=background, name=name)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return target.read_bytes()

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.webp"
