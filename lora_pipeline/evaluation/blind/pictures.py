"""Pictures for a blind page: the same form for both sides, and nothing in them but pixels."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import msgspec

from lora_pipeline.evaluation.pixels import read_pixels
from lora_pipeline.foundation.errors import ImageRefusedError

_SMALL = 256 * 256  # up to here every pixel is kept
_QUALITY = 92


class Picture(msgspec.Struct, frozen=True):
    """A picture as a page carries it.

    Attributes:
        media_type: What a browser is told that it is.
        data: Its bytes.
        width: In pixels.
        height: In pixels.
    """

    media_type: str
    data: bytes
    width: int
    height: int

    @property
    def sha256(self) -> str:
        """Digest of the bytes that a browser gets."""
        return hashlib.sha256(self.data).hexdigest()


def picture_of(path: Path, *, width: int, height: int) -> Picture:
    """Return a rendered image without its name, its metadata and the habits of its encoder.

    Raises:
        ImageRefusedError: When it is no whole image of that size.
    """
    from PIL import Image

    image = Image.fromarray(read_pixels(path, width=width, height=height))
    target = io.BytesIO()
    try:
        if width * height <= _SMALL:
            image.save(target, format="PNG", compress_level=9)
            return Picture("image/png", target.getvalue(), width, height)
        image.save(target, format="WEBP", quality=_QUALITY, method=4)
    except (OSError, ValueError) as error:
        raise ImageRefusedError(f"{path.name}: it cannot be shown ({error})") from error
    return Picture("image/webp", target.getvalue(), width, height)
