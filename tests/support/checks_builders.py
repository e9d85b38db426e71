"""Pictures for the tests of checks: clean ones of several kinds, and one planted defect each.

Everything is drawn from a seed: the same seed gives the same picture, and two seeds give two
pictures that nobody would call the same.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_COLOURS = (
    "#D83A3A", "#3A6FD8", "#2FA35B", "#E0A020", "#8A4FD0", "#20A0A8", "#303038", "#D060A0",
)  # fmt: skip
_OVERSAMPLING = 4
Picture = Image.Image


def icon(seed: int, size: int = 256) -> Picture:
    """Return a flat icon on transparency: a shape with an outline and a glyph in it."""
    chance = random.Random(f"icon {seed}")
    big = size * _OVERSAMPLING
    image = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    fill, line, glyph = chance.sample(_COLOURS, 3)
    radius, middle = big * chance.uniform(0.28, 0.46), big / 2
    shape = _polygon(middle, radius, chance.choice([3, 4, 5, 6, 8, 48]), chance.uniform(0, 6.28))
    draw.polygon(shape, fill=fill, outline=line, width=int(big * 0.03))
    for _ in range(chance.randint(1, 3)):
        where = [middle + big * chance.uniform(-0.14, 0.14) for _ in range(2)]
        sides, turn = chance.choice([3, 4, 48]), chance.uniform(0, 6.28)
        inner = _polygon(0, big * chance.uniform(0.05, 0.13), sides, turn)
        draw.polygon([(x + where[0], y + where[1]) for x, y in inner], fill=glyph)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def photo(seed: int, size: int = 256, height: int | None = None) -> Picture:
    """Return an opaque picture with texture everywhere: clouds of noise and some objects."""
    chance = np.random.default_rng(seed)
    height = height or size
    field = np.zeros((height, size, 3), np.float32)
    for octave, cells in enumerate((3, 7, 13, 29, 61, 113)):  # no grid that a picture could have
        small = (chance.random((cells, cells, 3)) * 255).astype(np.uint8)
        layer = Image.fromarray(small).resize((size, height), Image.Resampling.BICUBIC)
        field += np.asarray(layer, np.float32) * 0.62**octave
    field += chance.normal(0, 4, field.shape).astype(np.float32)
    field -= field.min()
    image = Image.fromarray((field * (255 / field.max())).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    objects = random.Random(f"photo {seed}")
    for _ in range(objects.randint(2, 5)):
        x, y = objects.uniform(0, size), objects.uniform(0, height)
        reach = size * objects.uniform(0.05, 0.2)
        colour = objects.choice(_COLOURS)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach * 0.6), fill=colour)
    return image


def painting(seed: int, size: int = 256) -> Picture:
    """Return an opaque picture of soft gradients with a few sharp strokes, as concept art has."""
    chance = random.Random(f"painting {seed}")
    image = Image.new("RGB", (size, size), chance.choice(_COLOURS))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = chance.uniform(-0.2, 1) * size, chance.uniform(-0.2, 1) * size
        reach = size * chance.uniform(0.1, 0.5)
        draw.ellipse((x, y, x + reach, y + reach), fill=chance.choice(_COLOURS))
    image = image.filter(ImageFilter.GaussianBlur(size / 18))
    big = image.resize((size * 2, size * 2), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(big)
    for _ in range(6):
        points = [(chance.uniform(0, size * 2), chance.uniform(0, size * 2)) for _ in range(3)]
        draw.line(points, fill=chance.choice(_COLOURS), width=max(2, size // 40))
    return big.resize((size, size), Image.Resampling.LANCZOS)


KINDS: dict[str, Callable[[int, int], Picture]] = {
    "icon": icon,
    "photo": photo,
    "painting": painting,
}


def blurred(image: Picture, radius: float = 3.0) -> Picture:
    """Return the picture out of focus."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def enlarged(image: Picture, factor: int = 4) -> Picture:
    """Return the picture as it looks after it was scaled down and up again."""
    small = image.resize((image.width // factor, image.height // factor), Image.Resampling.LANCZOS)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def pixelated(image: Picture, factor: int = 4) -> Picture:
    """Return the picture scaled down, then up again by repeating pixels."""
    small = image.resize((image.width // factor, image.height // factor), Image.Resampling.LANCZOS)
    return small.resize(image.size, Image.Resampling.NEAREST)


def recompressed(image: Picture, quality: int = 10) -> Picture:
    """Return the picture as JPEG leaves it; of the same size, on white."""
    return Image.open(io.BytesIO(jpeg_bytes(image, quality))).convert("RGB")


def jpeg_bytes(image: Picture, quality: int) -> bytes:
    """Return a JPEG file of the picture on white."""
    target = io.BytesIO()
    on(image).save(target, "JPEG", quality=quality)
    return target.getvalue()


def on(image: Picture, background: str = "#FFFFFF") -> Picture:
    """Return the picture without transparency."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def framed(image: Picture, width: int = 12, colour: str = "#101010") -> Picture:
    """Return the opaque picture with a frame of one colour painted over its edges."""
    opaque = on(image)
    inner = opaque.resize((opaque.width - 2 * width, opaque.height - 2 * width))
    canvas = Image.new("RGB", opaque.size, colour)
    canvas.paste(inner, (width, width))
    return canvas


def letterboxed(image: Picture, bar: int = 24) -> Picture:
    """Return the opaque picture with black bars above and below."""
    opaque = on(image)
    inner = opaque.resize((opaque.width, opaque.height - 2 * bar))
    canvas = Image.new("RGB", opaque.size, "#000000")
    canvas.paste(inner, (0, bar))
    return canvas


def cropped(image: Picture, share: float = 0.08, corner: tuple[float, float] = (1, 1)) -> Picture:
    """Return what is left when a share of each side's length is cut off, at full size again."""
    left, top = image.width * share * corner[0], image.height * share * corner[1]
    right, bottom = image.width * share, image.height * share
    box = (left, top, left + image.width - 2 * right, top + image.height - 2 * bottom)
    return image.resize(image.size, Image.Resampling.LANCZOS, box=box)


def brighter(image: Picture, factor: float = 1.15) -> Picture:
    """Return the picture with more light."""
    table = [min(255, round(value * factor)) for value in range(256)]
    bands = list(image.split())
    return Image.merge(image.mode, [band.point(table) for band in bands[:3]] + bands[3:])


def recoloured(image: Picture) -> Picture:
    """Return the picture with its colours exchanged: another piece of art, not a copy."""
    bands = list(image.split())
    return Image.merge(image.mode, [bands[2], bands[0], bands[1], *bands[3:]])


def signed(image: Picture) -> Picture:
    """Return the picture with a studio's mark in its lower right corner."""
    marked = image.copy()
    draw = ImageDraw.Draw(marked)
    unit = image.width / 100
    right, bottom = image.width - 3 * unit, image.height - 3 * unit
    ink = (250, 250, 250) if image.mode == "RGB" else (250, 250, 250, 255)
    dark = (20, 20, 20) if image.mode == "RGB" else (20, 20, 20, 255)
    draw.rectangle((right - 22 * unit, bottom - 7 * unit, right, bottom), fill=dark)
    for number in range(5):
        x = right - (21 - 4.2 * number) * unit
        height = (2 + (number * 7) % 4) * unit
        draw.rectangle((x, bottom - 1 * unit - height, x + 2.4 * unit, bottom - unit), fill=ink)
    return marked


def save(image: Picture, path: Path) -> Path:
    """Write a PNG and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def _polygon(middle: float, radius: float, sides: int, turn: float) -> list[tuple[float, float]]:
    angles = [turn + 2 * math.pi * number / sides for number in range(sides)]
    return [
        (middle + radius * math.cos(angle), middle + radius * math.sin(angle)) for angle in angles
    ]
