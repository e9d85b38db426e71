"""The demo project's drawings: shapes, colours, flat icons and the two styles.

Everything is drawn by the code below with Pillow, so that the demo owns all of its pictures.
`train_demo_checkpoint.py` draws only flat icons from it; the styles belong to `draw_demo_art.py`,
so that a LoRA has something to teach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Point = tuple[float, float]
Rgb = tuple[int, int, int]

SIZE = 64
"""Width and height of an icon in pixels."""

_FINE = 4
"""Pictures are drawn this many times larger and reduced, which is Pillow's way to smooth edges."""

COLORS: dict[str, Rgb] = {
    "red": (222, 48, 48),
    "orange": (242, 140, 30),
    "yellow": (247, 212, 40),
    "green": (44, 160, 74),
    "teal": (24, 152, 156),
    "blue": (46, 102, 224),
    "purple": (132, 66, 194),
    "pink": (244, 122, 176),
    "brown": (132, 84, 48),
    "gray": (140, 144, 152),
    "black": (26, 26, 30),
    "white": (250, 250, 250),
}

BACKGROUNDS: dict[str, Rgb] = {
    "white": (255, 255, 255),
    "black": (18, 18, 22),
    "gray": (112, 116, 124),
    "cream": (246, 232, 200),
    "sky": (184, 222, 246),
    "mint": (192, 236, 208),
}

SCALES: dict[str, float] = {"small": 13.0, "normal": 21.0, "large": 27.0}
"""Half the height of a shape in pixels. Captions name `small` and `large`, never `normal`."""


@dataclass(frozen=True)
class Placement:
    """Where a shape stands: its centre's distance from the middle and its half height in pixels."""

    dx: float = 0.0
    dy: float = 0.0
    radius: float = SCALES["normal"]


def _star_points() -> list[Point]:
    turns = [math.pi * step / 5 - math.pi / 2 for step in range(10)]
    reach = [1.08 if step % 2 == 0 else 0.46 for step in range(10)]
    return [(r * math.cos(a), r * math.sin(a) + 0.06) for a, r in zip(turns, reach, strict=True)]


def _heart_points() -> list[Point]:
    points = []
    for step in range(72):
        t = 2 * math.pi * step / 72
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16, -(y + 2.5) / 15))
    return points


def _drop_points() -> list[Point]:
    points = [(0.0, -1.0)]
    for step in range(49):
        angle = math.radians(-32 + step * 244 / 48)
        points.append((0.66 * math.cos(angle), 0.34 + 0.66 * math.sin(angle)))
    return points


def _shield_points() -> list[Point]:
    right = [(0.84, -0.72), (0.84, 0.0), (0.72, 0.38), (0.44, 0.74)]
    left = [(-x, y) for x, y in reversed(right)]
    return [(0.0, -1.0), *right, (0.0, 1.0), *left]


_POLYGONS: dict[str, list[Point]] = {
    "square": [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": [(0.0, -0.96), (1.0, 0.82), (-1.0, 0.82)],
    "star": _star_points(),
    "heart": _heart_points(),
    "diamond": [(0.0, -1.0), (0.74, 0.0), (0.0, 1.0), (-0.74, 0.0)],
    "drop": _drop_points(),
    "shield": _shield_points(),
    "bolt": [
        (0.2, -1.0),
        (-0.66, 0.2),
        (-0.08, 0.2),
        (-0.3, 1.0),
        (0.66, -0.26),
        (0.06, -0.26),
        (0.56, -1.0),
    ],
    "crown": [
        (-1.0, -0.62),
        (-0.5, -0.02),
        (0.0, -0.86),
        (0.5, -0.02),
        (1.0, -0.62),
        (0.82, 0.74),
        (-0.82, 0.74),
    ],
    "arrow": [
        (-1.0, -0.32),
        (0.06, -0.32),
        (0.06, -0.86),
        (1.0, 0.0),
        (0.06, 0.86),
        (0.06, 0.32),
        (-1.0, 0.32),
    ],
    "cross": [
        *[(-0.32, -0.94), (0.32, -0.94), (0.32, -0.32), (0.94, -0.32), (0.94, 0.32), (0.32, 0.32)],
        *[
            (0.32, 0.94),
            (-0.32, 0.94),
            (-0.32, 0.32),
            (-0.94, 0.32),
            (-0.94, -0.32),
            (-0.32, -0.32),
        ],
    ],
    "tree": [
        *[(0.0, -1.0), (0.62, -0.22), (0.34, -0.22), (0.86, 0.52), (0.2, 0.52), (0.2, 1.0)],
        *[(-0.2, 1.0), (-0.2, 0.52), (-0.86, 0.52), (-0.34, -0.22), (-0.62, -0.22)],
    ],
    "house": [
        *[(0.0, -0.96), (1.0, -0.1), (0.74, -0.1), (0.74, 0.88), (0.24, 0.88), (0.24, 0.26)],
        *[(-0.24, 0.26), (-0.24, 0.88), (-0.74, 0.88), (-0.74, -0.1), (-1.0, -0.1)],
    ],
}


class _Pen:
    """Draws in a shape's own coordinates, where the shape reaches from -1 to 1."""

    def __init__(self, mask: Image.Image, at: Placement) -> None:
        self._draw = ImageDraw.Draw(mask)
        self._x = (SIZE / 2 + at.dx) * _FINE
        self._y = (SIZE / 2 + at.dy) * _FINE
        self._unit = at.radius * _FINE

    def polygon(self, points: list[Point]) -> None:
        self._draw.polygon(
            [(self._x + x * self._unit, self._y + y * self._unit) for x, y in points], fill=255
        )

    def disc(self, center: Point, radius: float, ink: int = 255) -> None:
        x, y, r = (
            self._x + center[0] * self._unit,
            self._y + center[1] * self._unit,
            radius * self._unit,
        )
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)


def _circle(pen: _Pen) -> None:
    pen.disc((0.0, 0.0), 0.94)


def _ring(pen: _Pen) -> None:
    pen.disc((0.0, 0.0), 0.96)
    pen.disc((0.0, 0.0), 0.52, ink=0)


def _moon(pen: _Pen) -> None:
    pen.disc((-0.08, 0.0), 0.96)
    pen.disc((0.36, -0.18), 0.78, ink=0)


def _polygon_drawer(points: list[Point]) -> Callable[[_Pen], None]:
    return lambda pen: pen.polygon(points)


SHAPES: dict[str, Callable[[_Pen], None]] = {
    "circle": _circle,
    "ring": _ring,
    "moon": _moon,
    **{name: _polygon_drawer(points) for name, points in _POLYGONS.items()},
}
"""Every shape of the domain, by the word that captions use for it."""


def _fine_mask(shape: str, at: Placement) -> Image.Image:
    mask = Image.new("L", (SIZE * _FINE, SIZE * _FINE), 0)
    SHAPES[shape](_Pen(mask, at))
    return mask


def shape_mask(shape: str, at: Placement) -> Image.Image:
    """Return the smooth 8-bit coverage of one shape, 64 pixels square."""
    return _fine_mask(shape, at).reduce(_FINE)


def flat_icon(shape: str, color: Rgb, background: Rgb, at: Placement) -> Image.Image:
    """Draw one shape in one colour on a plain background."""
    picture = Image.new("RGB", (SIZE, SIZE), background)
    picture.paste(color, (0, 0, SIZE, SIZE), shape_mask(shape, at))
    return picture


def _grown(mask: Image.Image, pixels: float) -> Image.Image:
    """Grow a fine mask by about so many pixels, with round corners."""
    blurred = mask.filter(ImageFilter.GaussianBlur(pixels * _FINE))
    # A straight edge that is blurred with this sigma falls to 16 % one sigma outside.
    return blurred.point([255 if level > 40 else 0 for level in range(256)])


def _shrunk(mask: Image.Image, pixels: float) -> Image.Image:
    return ImageChops.invert(_grown(ImageChops.invert(mask), pixels))


def _mixed(color: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def _stripes(period: float, width: float) -> Image.Image:
    """Return a fine mask of diagonal stripes; lengths are in pixels along the x axis."""
    side = SIZE * _FINE
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    for step in range(round(2 * SIZE / period) + 1):
        x = step * period * _FINE
        draw.polygon(
            [(x, 0), (x + width * _FINE, 0), (x + width * _FINE - side, side), (x - side, side)],
            fill=255,
        )
    return mask


class _Layers:
    """A transparent fine picture on which plain colours are laid through masks."""

    def __init__(self) -> None:
        self._picture = Image.new("RGBA", (SIZE * _FINE, SIZE * _FINE), (0, 0, 0, 0))

    def lay(self, color: Rgb, mask: Image.Image) -> None:
        layer = Image.new("RGBA", self._picture.size, (*color, 0))
        layer.putalpha(mask)
        self._picture.alpha_composite(layer)

    def finished(self) -> Image.Image:
        # Reducing must weigh colours by their alpha, or edges turn dark.
        small = self._picture.convert("RGBa").reduce(_FINE).convert("RGBA")
        # Pixels that nobody sees get one colour, so that equal pictures are equal bytes.
        clear = small.getchannel("A").point([255 if level == 0 else 0 for level in range(256)])
        small.paste((0, 0, 0, 0), (0, 0, SIZE, SIZE), clear)
        return small


def sticker_icon(shape: str, color: Rgb, at: Placement) -> Image.Image:
    """Draw the `sticker` style: hatched inside, a thick white die-cut outline, a dark contour."""
    inner = _fine_mask(shape, at)
    outline = _grown(inner, 3.5)
    layers = _Layers()
    layers.lay((52, 54, 66), _grown(outline, 3.0))
    layers.lay((255, 255, 255), outline)
    layers.lay(color, inner)
    hatching = ImageChops.multiply(_stripes(8.0, 3.5), _shrunk(inner, 0.5))
    light = sum(color) > 600
    layers.lay(
        _mixed(color, (0, 0, 0), 0.45) if light else _mixed(color, (255, 255, 255), 0.6), hatching
    )
    return layers.finished()


def _tile() -> Image.Image:
    side = SIZE * _FINE
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).rounded_rectangle(
        (_FINE, _FINE, side - 1 - _FINE, side - 1 - _FINE), 9 * _FINE, fill=255
    )
    return mask


def neon_icon(shape: str, color: Rgb, at: Placement) -> Image.Image:
    """Draw the `neon` style: a glowing outline on a dark tile with round corners."""
    inner = _fine_mask(shape, at)
    tube = ImageChops.subtract(_grown(inner, 1.5), _shrunk(inner, 1.5))
    core = ImageChops.subtract(_grown(inner, 0.5), _shrunk(inner, 0.5))
    bright = _mixed(color, (255, 255, 255), 0.25)
    layers = _Layers()
    tile = _tile()
    layers.lay((18, 14, 40), tile)
    for sigma, strength in ((6.0, 1.6), (2.5, 0.9)):
        halo = tube.filter(ImageFilter.GaussianBlur(sigma * _FINE))
        halo = halo.point([min(255, round(level * strength)) for level in range(256)])
        layers.lay(color, ImageChops.multiply(halo, tile))
    layers.lay(bright, tube)
    layers.lay(_mixed(color, (255, 255, 255), 0.8), core)
    return layers.finished()


STYLES: dict[str, Callable[[str, Rgb, Placement], Image.Image]] = {
    "sticker": sticker_icon,
    "neon": neon_icon,
}
"""The two styles that only the demo project's art has."""
