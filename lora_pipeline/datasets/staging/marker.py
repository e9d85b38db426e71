"""What stands in a staging beside the images: the digest of every file in it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from lora_pipeline.foundation import files

FORM = 2  # of the staging folder; a new one when names or contents of its files change
MARKER = "staging.json"
MASKS = "masks"


class StagedImage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One image of a staging; its caption stands beside it as ``<stem>.txt``.

    Attributes:
        name: File of the image.
        caption: One line.
        repeats: How often it is shown in an epoch.
        width: Pixels.
        height: Pixels.
        source_sha256: Digest of the image that the manifest names.
        image_sha256: Digest of the file.
        caption_sha256: Digest of the file of the caption.
        mask_sha256: Digest of the mask, ``masks/<name>``; empty without one.
    """

    name: str
    caption: str
    repeats: int
    width: int
    height: int
    source_sha256: str = ""
    image_sha256: str = ""
    caption_sha256: str = ""
    mask_sha256: str = ""


class Marker(msgspec.Struct, frozen=True, rename="camel"):
    """The content of ``staging.json``.

    Attributes:
        form: The form of the folder.
        content_hash: Of the manifest.
        images: What is in it, training split only, in the order of their names.
    """

    form: int
    content_hash: str
    images: tuple[StagedImage, ...]

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every file that belongs there, by its path in the folder."""
        expected = {}
        for one in self.images:
            expected[one.name] = one.image_sha256
            expected[caption_name(one.name)] = one.caption_sha256
            if one.mask_sha256:
                expected[mask_name(one.name)] = one.mask_sha256
        return expected


def caption_name(image_name: str) -> str:
    """Return the file of the caption of an image."""
    return f"{image_name.removesuffix('.png')}.txt"


def mask_name(image_name: str) -> str:
    """Return the file of the mask of an image."""
    return f"{MASKS}/{image_name}"


def write_marker(folder: Path, marker: Marker) -> None:
    """Write the marker: with it a staging is complete.

    Raises:
        OSError: As the file system says.
    """
    files.write_atomic(folder / MARKER, msgspec.json.encode(marker))


def read_marker(folder: Path) -> Marker | None:
    """Return the marker of a staging, or None when there is none of the present form."""
    try:
        marker = msgspec.json.decode((folder / MARKER).read_bytes(), type=Marker)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None
    return marker if marker.form == FORM else None
