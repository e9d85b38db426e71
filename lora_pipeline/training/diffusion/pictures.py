"""Images and masks of the staging folder as tensors of the size that they are trained at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy
import torch
from PIL import Image
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from lora_pipeline.training.diffusion.batches import Size


def read_picture(path: Path, size: Size) -> Tensor:
    """Return an image as (3, height, width) from -1 to 1.

    It is scaled until it covers ``size`` and cut around its middle; an image of that size
    already is not touched.
    """
    values = numpy.asarray(_read(path, "RGB", size), dtype=numpy.float32) / 127.5 - 1
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def read_mask(path: Path, size: Size, latents: tuple[int, int]) -> Tensor:
    """Return a mask as (1, height, width) of the latents, from 0 (hidden) to 1.

    It is scaled and cut as its image is; each place of the latents gets the mean of the pixels
    that it stands for.
    """
    values = numpy.asarray(_read(path, "L", size), dtype=numpy.float32) / 255
    return functional.adaptive_avg_pool2d(torch.from_numpy(values)[None], latents)


def _read(path: Path, mode: str, size: Size) -> Image.Image:
    with Image.open(path) as opened:
        picture = opened.convert(mode)
    return picture if picture.size == size else _covering(picture, size)


def _covering(picture: Image.Image, size: Size) -> Image.Image:
    scale = max(size[0] / picture.width, size[1] / picture.height)
    width = max(size[0], round(picture.width * scale))
    height = max(size[1], round(picture.height * scale))
    scaled = picture.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    return scaled.crop((left, top, left + size[0], top + size[1]))
