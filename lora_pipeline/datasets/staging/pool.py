"""What stagings are linked from: images that were brought to the one form, and masks.

A file is kept under a name that says what it was made from and what came out, so the next
staging links it too instead of decoding the image once more.
"""

from __future__ import annotations

import itertools
import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from lora_pipeline.datasets.image_files import ImageFiles
from lora_pipeline.datasets.records import Item, Normalization
from lora_pipeline.engine.images import map_images
from lora_pipeline.engine.many_files import read_each
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import FileMissingError
from lora_pipeline.foundation.images.client import ImageWorker
from lora_pipeline.workspace.root import Workspace

NORMALISED = ".normalised"
NAME_DIGITS = 32
_IMAGE, _MASK = ".png", ".mask.png"
_SIZE_AT = 16  # where a PNG says width and height

Named = tuple[str, Item]


class Kept(NamedTuple):
    """A file of the pool, and its digest."""

    file: str
    sha256: str


class StagingPool:
    """The files that stagings of this machine are linked from.

    Args:
        workspace: Whose stagings they are.
        finder: Finds the images.
        rule: The form that images are brought to.
    """

    def __init__(self, workspace: Workspace, finder: ImageFiles, rule: Normalization) -> None:
        self._workspace = workspace
        self._finder = finder
        self._rule = rule
        self._folder = workspace.runtime / "staging" / NORMALISED
        self._masked = rule.alpha == "mask"
        self._before: dict[str, str] | None = None
        self._white: dict[tuple[int, int], Kept] = {}

    def normalised(self, named: Sequence[Named]) -> Iterator[tuple[Named, Kept, Kept | None]]:
        """Yield every image in the one form, with its mask where the rule asks for masks.

        Raises:
            FileMissingError: When an image is not there.
            ImageRefusedError: When an image cannot be read safely.
        """
        kept = [(one, self._kept_of(one[1])) for one in named]
        there = [(one, files) for one, files in kept if files]
        made = [one for one, files in kept if not files]
        facts = read_each((one.file, one.file) for _, files in there for one in files)
        for one, files in there:
            found = [proof for _, proof in itertools.islice(facts, len(files))]
            # Whoever changed a staged image changed this one too: it is the same file.
            if any(
                isinstance(proof, OSError) or proof.sha256 != file.sha256
                for proof, file in zip(found, files, strict=True)
            ):
                made.append(one)
            else:
                yield one, files[0], files[1] if self._masked else None
        if made:
            yield from map_images(self._workspace, self._normalise, made, topic="normalise")

    def white(self, png: str) -> Kept:
        """Return the mask of a PNG that has no transparency: all of it counts.

        Raises:
            FileMissingError: When the image is not there any more.
        """
        size = _size_of(png)
        if size not in self._white:
            self._white[size] = self._made_white(*size)
        return self._white[size]

    def _made_white(self, width: int, height: int) -> Kept:
        key = f"white-{width}x{height}"
        before = self._known().get(key + _MASK)
        if before is not None:
            kept = Kept(str(self._folder / f"{key}.{before}{_MASK}"), before)
            try:
                if sha256_of_file(Path(kept.file)) == before:
                    return kept
            except FileMissingError:
                pass
        unfinished = self._unfinished(key, _MASK)
        with unfinished.open("xb") as stream:
            stream.writelines(_white_png(width, height))
        return self._keep(unfinished, key, _MASK)

    def _normalise(self, worker: ImageWorker, one: Named) -> tuple[Named, Kept, Kept | None]:
        _, item = one
        key = self._key(item)
        image, mask = self._unfinished(key, _IMAGE), self._unfinished(key, _MASK)
        try:
            worker.normalise(
                self._finder.locate(item.path),
                image,
                background=self._rule.background,
                name=item.path,
                mask=mask if self._masked else None,
            )
            kept_mask = self._keep(mask, key, _MASK) if self._masked else None
            return one, self._keep(image, key, _IMAGE), kept_mask
        finally:
            image.unlink(missing_ok=True)
            mask.unlink(missing_ok=True)

    def _unfinished(self, key: str, kind: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f".{key}-{secrets.token_hex(4)}{kind}"

    def _keep(self, unfinished: Path, key: str, kind: str) -> Kept:
        sha256 = sha256_of_file(unfinished)
        finished = self._folder / f"{key}.{sha256}{kind}"
        unfinished.replace(finished)
        return Kept(str(finished), sha256)

    def _kept_of(self, item: Item) -> tuple[Kept, ...]:
        """Return what was made of an image before; nothing unless all that is needed is there."""
        key, known = self._key(item), self._known()
        kinds = (_IMAGE, _MASK) if self._masked else (_IMAGE,)
        if any(key + kind not in known for kind in kinds):
            return ()
        digests = ((kind, known[key + kind]) for kind in kinds)
        return tuple(
            Kept(f"{self._folder}/{key}.{sha256}{kind}", sha256) for kind, sha256 in digests
        )

    def _known(self) -> dict[str, str]:
        if self._before is None:
            try:
                names = os.listdir(self._folder)  # noqa: PTH208 - names are enough
            except FileNotFoundError:
                names = []
            parts = (name.split(".", 2) for name in names)
            self._before = {
                f"{one[0]}.{one[2]}": one[1] for one in parts if len(one) == 3 and one[0]
            }
        return self._before

    def _key(self, item: Item) -> str:
        # With masks or without, the image itself comes out as the same bytes.
        rule = replace(self._rule, alpha="background")
        named = {"normalization": rule.to_dict(), "sha256": item.sha256}
        return digest_of(named).removeprefix("sha256:")[:NAME_DIGITS]


def _size_of(png: str) -> tuple[int, int]:
    try:
        with Path(png).open("rb") as stream:
            head = stream.read(_SIZE_AT + 8)
        width, height = struct.unpack_from(">II", head, _SIZE_AT)
    except (OSError, struct.error) as error:
        raise FileMissingError(f"{png} cannot be read any more") from error
    return width, height


def _white_png(width: int, height: int) -> Iterator[bytes]:
    """Yield a grey PNG of 8 bits, all white, without holding its pixels."""
    yield b"\x89PNG\r\n\x1a\n"
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    packer, row = zlib.compressobj(6), b"\0" + b"\xff" * width
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    yield _chunk(b"IDAT", packed)
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))
