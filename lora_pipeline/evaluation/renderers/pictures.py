"""Pictures as programs send them, read without trust and kept without what they say beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lora_pipeline.evaluation.pixels import decode_pixels
from lora_pipeline.foundation.drawing import encode_png
from lora_pipeline.foundation.files import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lora_pipeline.evaluation.renderers.interface import CellRequest

    Pixels = NDArray[np.uint8]


def pixels_of(data: bytes, cell: CellRequest) -> Pixels:
    """Return the pixels of a picture that was asked for.

    Raises:
        ImageRefusedError: When it is no whole PNG of the size that was asked for.
    """
    return decode_pixels(data, width=cell.width, height=cell.height)


def write_picture(pixels: Pixels, target: Path) -> None:
    """Write pixels as a PNG: the same picture, without prompts, workflows and paths in it."""
    from PIL import Image

    write_atomic(target, encode_png(Image.fromarray(pixels), small=False))
