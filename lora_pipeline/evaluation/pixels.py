"""Read a rendered image, believing nothing about it: format, size and content are checked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from lora_pipeline.foundation.errors import FileMissingError, ImageRefusedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage

    Pixels = NDArray[np.uint8]

MAX_BYTES = 256 * 1024 * 1024
# Rounding and dithering may move a flat picture by this much.
_FLAT = 2
_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "1"})


def read_pixels(path: Path, *, width: int, height: int) -> Pixels:
    """Return a PNG as height x width x 3 bytes; transparency is laid on white.

    The size is compared before anything is decoded, so a foreign file cannot fill the memory.

    Raises:
        ImageRefusedError: When it is no whole PNG of exactly that size.
    """
    return decode_pixels(_read(path), width=width, height=height)


def decode_pixels(data: bytes, *, width: int, height: int) -> Pixels:
    """Return PNG bytes as ``read_pixels`` does.

    Raises:
        ImageRefusedError: When they are no whole PNG of exactly that size.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            _require(image, width, height)
            image.verify()  # finds a damaged end, which decoding alone forgives
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.asarray(_opaque(image), dtype=np.uint8)
    except ImageRefusedError:
        raise
    except Exception as error:
        # Pillow raises SyntaxError, struct.error, zlib.error and more for damaged files.
        raise ImageRefusedError("the image cannot be read, it is damaged or no PNG") from error


def is_constant(pixels: Pixels) -> bool:
    """Return whether an image shows one colour only: what NaN and a failed decoder leave."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    return int((flat.max(axis=0) - flat.min(axis=0)).max()) <= _FLAT


def _require(image: PILImage, width: int, height: int) -> None:
    if image.size != (width, height):
        raise ImageRefusedError(
            f"the image is {image.width} x {image.height}, asked for {width} x {height}"
        )
    if image.mode not in _MODES:
        raise ImageRefusedError(f"the image has {image.mode} pixels, 8 bits are read")


def _opaque(image: PILImage) -> PILImage:
    from PIL import Image

    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageRefusedError(f"the image has more than {MAX_BYTES} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageRefusedError("there is no image") from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
