"""Measure one picture: how sharp, how compressed, how framed it is, and what it looks like.

Runs in the worker process only, where numpy is imported with the first picture that is
measured. Every number follows from the pixels alone, by whole-number arithmetic wherever it
decides about equality, so that the same picture measures the same on every machine.
``docs/checks.md`` says what each number means and how well it tells good art from bad.
"""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from lora_pipeline.foundation.images.normalise import Decoded, decode

LOOK = 16  # the look of a picture: so many cells a side, of colour and transparency
CORNER = (16, 8)  # cells of a corner: a quarter of the width, an eighth of the height
Grey = npt.NDArray[np.uint8]

_VISIBLE = 8  # alpha above which a pixel is seen
_ENOUGH_PIXELS = 4_000_000  # larger pictures are measured at places spread over them
_TILE, _TILES_A_SIDE = 512, 4
_UNIFORM = 12  # levels by which a plain border may vary
_SPAN = 16  # pixels across which an edge is looked at
_CONTRAST = 40  # levels that make an edge
_LOW_CONTRAST = 10  # levels that make an edge where there is none better
_SHARPEST = 95  # percentile: a picture is as sharp as its sharpest edges
_STEP = 24  # largest step in levels that compression makes; more is a drawn edge
_SOFT = 1.8  # pixels of an edge from which on a picture may have been blurred or enlarged
_PEAK = 6.0  # how much a period must stand out to count
_PERIODS = (3, 4, 5, 6, 8)
# Luminance table of the JPEG standard at quality 50, by which files say how they were packed.
_STANDARD_SUM = 3683


def measure(path: str, *, max_pixels: int) -> dict[str, Any]:
    """Return the measures of an image file; its bytes are read once.

    Raises:
        RefusedError: When it is animated, too large or damaged.
        Exception: Whatever Pillow raises on hostile bytes.
    """
    data = Path(path).read_bytes()
    decoded = decode(io.BytesIO(data), max_pixels=max_pixels)
    facts = decoded.facts
    measures: dict[str, Any] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": facts["width"],
        "height": facts["height"],
        "pixel_sha256": decoded.pixel_sha256(),
        "location": facts["has_location"],
        "odd_colours": any("colour" in note for note in decoded.notes),
        "alpha_used": decoded.alpha is not None,
        "jpeg_quality": _jpeg_quality(data) if facts["format"] == "JPEG" else 0,
    }
    measures |= _colours(decoded)
    border = _border(np.asarray(decoded.colour)) if decoded.alpha is None else (0, 0, 0, 0)
    measures |= {"border": border, "look": _text(_look(decoded, border))}
    measures["corners"] = _text(_corners(decoded))
    return measures | _sharpness(decoded, border)


def _jpeg_quality(data: bytes) -> int:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        table: list[int] | None = getattr(image, "quantization", {}).get(0)
    if not table:
        return 0
    # The scale that libjpeg turns a quality into, turned back.
    scale = 100 * sum(table) / _STANDARD_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return round(min(100, max(1, quality)))


def _colours(decoded: Decoded) -> dict[str, Any]:
    seen = None
    if decoded.alpha is not None:
        seen = decoded.alpha.point(lambda alpha: 255 * (alpha > _VISIBLE))
    ranges = _ranges(decoded.colour, seen)
    pixels = decoded.colour.width * decoded.colour.height
    return {
        "visible": 1.0 if seen is None else seen.histogram()[255] / pixels,
        "darkest": tuple(low for low, _ in ranges),
        "lightest": tuple(high for _, high in ranges),
        "grey": _is_grey(decoded.colour, seen),
    }


def _ranges(image: Image.Image, seen: Image.Image | None) -> list[tuple[int, int]]:
    counts = image.histogram(seen)
    ranges = []
    for band in range(0, len(counts), 256):
        there = [level for level, count in enumerate(counts[band : band + 256]) if count]
        ranges.append((there[0], there[-1]) if there else (0, 0))
    return ranges


def _is_grey(image: Image.Image, seen: Image.Image | None) -> bool:
    red, green, blue = image.split()
    apart = [ImageChops.difference(red, green), ImageChops.difference(green, blue)]
    return all(_ranges(one, seen)[0][1] <= 2 for one in apart)


def _border(pixels: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return how wide a border of one colour is: left, top, right, bottom; 0 where none is.

    A border ends everywhere at once. Plain ground around a drawing does not, and is none.
    """
    height, width = pixels.shape[:2]
    top, bottom = _plain(pixels), _plain(pixels[::-1])
    sideways = pixels.transpose(1, 0, 2)
    left, right = _plain(sideways), _plain(sideways[::-1])
    if top + bottom >= height or left + right >= width:
        return (0, 0, 0, 0)
    inner = pixels[top : height - bottom, left : width - right]
    edges = (
        (left, inner[:, 0], pixels[0, 0]),
        (top, inner[0], pixels[0, 0]),
        (right, inner[:, -1], pixels[-1, -1]),
        (bottom, inner[-1], pixels[-1, -1]),
    )
    left, top, right, bottom = (
        wide if wide and _differ(line, colour) else 0 for wide, line, colour in edges
    )
    left, right = (left, right) if left and right else (0, 0)
    top, bottom = (top, bottom) if top and bottom else (0, 0)
    return (left, top, right, bottom)


def _plain(rows: npt.NDArray[np.uint8]) -> int:
    first = rows[0]
    low, high = first.min(axis=0), first.max(axis=0)
    if int((high - low).max()) > _UNIFORM:
        return 0
    count = 1
    for row in rows[1:]:
        low, high = np.minimum(low, row.min(axis=0)), np.maximum(high, row.max(axis=0))
        if int((high - low).max()) > _UNIFORM:
            break
        count += 1
    return count


def _differ(line: npt.NDArray[np.uint8], colour: npt.NDArray[np.uint8]) -> bool:
    distance = np.abs(line.astype(np.int16) - colour.astype(np.int16)).max(axis=-1)
    return float((distance > _UNIFORM).mean()) >= 0.9


def _look(decoded: Decoded, border: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    # Colours are weighed by how much is seen of them, so that no hidden colour counts and the
    # look can be laid on any background later.
    seen = decoded.on("#000000")
    left, top, right, bottom = border
    box = (left, top, seen.width - right, seen.height - bottom)
    colours = seen.resize((LOOK, LOOK), Image.Resampling.BOX, box=box)
    alpha = Image.new("L", (LOOK, LOOK), 255)
    if decoded.alpha is not None:
        alpha = decoded.alpha.resize((LOOK, LOOK), Image.Resampling.BOX)
    return np.dstack([np.asarray(colours), np.asarray(alpha)])


def _corners(decoded: Decoded) -> npt.NDArray[np.uint8]:
    image = decoded.on("#FFFFFF").convert("L")
    across, down = image.width / 4, image.height / 8
    boxes = [
        (x, y, x + across, y + down)
        for y in (0.0, image.height - down)
        for x in (0.0, image.width - across)
    ]
    return np.stack(
        [np.asarray(image.resize(CORNER, Image.Resampling.BOX, box=box)) for box in boxes]
    )


def _sharpness(decoded: Decoded, border: tuple[int, int, int, int]) -> dict[str, Any]:
    left, top, right, bottom = border
    image = _opaque(decoded)
    # The edge of a border is sharp whatever the picture is.
    image = image.crop((left, top, image.width - right, image.height - bottom))
    grey = np.asarray(image.convert("L"))
    factor, tiles = _repeated(grey), _tiles(grey)
    if factor > 1:
        return {"edge_width": 0.0, "blockiness": 0.0, "enlarged": factor}
    width = _edge_width(tiles)
    blockiness = max(_blockiness(tile) for tile in tiles)
    if not 0 < width < _SOFT:
        # Colours that are equally light have edges between them that no grey shows. They are much
        # sharper then; a little is only chance, and counts for nothing.
        bands = [_edge_width(_tiles(np.asarray(band))) for band in image.split()]
        sharpest = min((found for found in bands if found), default=width)
        width = sharpest if sharpest < 0.6 * width or not width else width
    if width >= _SOFT and blockiness < 2:
        part = tiles[0] if len(tiles) == 1 else grey[: 4 * _TILE, : 4 * _TILE]
        factor = _interpolated(part, longest=1.8 * width)
    return {"edge_width": width, "blockiness": blockiness, "enlarged": factor}


def _opaque(decoded: Decoded) -> Image.Image:
    if decoded.alpha is None:
        return decoded.colour
    # Light drawings are looked at on black, dark ones on white: their outline is an edge too.
    on_black = decoded.on("#000000")
    light, seen = _levels(on_black.convert("L")), _levels(decoded.alpha)
    return on_black if 2 * light > seen else decoded.on("#FFFFFF")


def _levels(grey: Image.Image) -> int:
    return sum(level * count for level, count in enumerate(grey.histogram()))


def _tiles(grey: Grey) -> list[Grey]:
    height, width = grey.shape
    if height * width <= _ENOUGH_PIXELS:
        return [grey]
    # Multiples of eight keep the blocks of a JPEG where they are.
    rows = [round(n * max(0, height - _TILE) / (_TILES_A_SIDE - 1) / 8) * 8 for n in range(4)]
    columns = [round(n * max(0, width - _TILE) / (_TILES_A_SIDE - 1) / 8) * 8 for n in range(4)]
    return [grey[y : y + _TILE, x : x + _TILE] for y in rows for x in columns]


def _repeated(grey: Grey) -> int:
    """Return how often each pixel is repeated across and down; 1 when it is not."""
    factors = []
    for lines in (grey, grey.T):
        # Where a few columns change at every pixel, no column needs to be looked at further.
        few = lines[:, :: max(1, lines.shape[1] // 32)]
        factor = _period(few)
        factors.append(1 if factor == 1 else _period(lines))
    return max(1, min(factors))


def _period(lines: Grey) -> int:
    changes = np.flatnonzero((lines[1:] != lines[:-1]).any(axis=1)) + 1
    if not len(changes):
        return 0
    period = int(np.gcd.reduce(changes))
    return period if len(changes) >= 8 or period == 1 else 0


def _edge_width(tiles: list[Grey]) -> float:
    """Return how many pixels the sharpest edges take from dark to light; 0 without edges."""
    scale = 1.0
    widest = 0.0
    for _ in range(3):
        for contrast in (_CONTRAST, _LOW_CONTRAST):
            ratios = [found for tile in tiles for found in _steepness(tile, contrast)]
            if ratios:
                steepest = float(np.percentile(np.concatenate(ratios), _SHARPEST))
                widest = scale / max(steepest, 0.01)
                break
        else:
            steepest = 0.0
        # Very wide edges do not fit into the span; at half the size they do.
        if steepest > 0.2 or min(tiles[0].shape) < 4 * _SPAN:
            break
        tiles, scale = [_halved(tile) for tile in tiles], scale * 2
    return round(widest, 3)


def _steepness(grey: Grey, contrast: int) -> list[npt.NDArray[np.float32]]:
    """Return, for every span with an edge in it, the largest step as a share of the edge."""
    found = []
    for lines in (grey, np.ascontiguousarray(grey.T)):
        if lines.shape[1] <= _SPAN:
            continue
        steps = np.maximum(lines[:, 1:], lines[:, :-1]) - np.minimum(lines[:, 1:], lines[:, :-1])
        largest = _sliding(steps, _SPAN - 1, np.maximum)
        edge = _sliding(lines, _SPAN, np.maximum) - _sliding(lines, _SPAN, np.minimum)
        clear = edge >= contrast
        if clear.any():
            found.append(largest[clear].astype(np.float32) / edge[clear])
    return found


def _sliding(lines: Grey, span: int, pick: np.ufunc) -> Grey:
    reach = 1
    while reach * 2 <= span:
        lines = pick(lines[:, :-reach], lines[:, reach:])
        reach *= 2
    rest = span - reach
    return pick(lines[:, :-rest], lines[:, rest:]) if rest else lines


def _halved(grey: Grey) -> Grey:
    return np.asarray(Image.fromarray(grey).reduce(2))


def _blockiness(grey: Grey) -> float:
    """Return how much steps stand out at every eighth pixel, across and down; 1 is not at all.

    Only small steps count, and only as far as they are larger than those beside them: an edge
    that was drawn is none of compression's. Wherever the blocks start, they are found.
    """
    scores = []
    for lines in (grey, np.ascontiguousarray(grey.T)):
        if lines.shape[1] < 32:
            return 1.0
        steps = np.maximum(lines[:, 1:], lines[:, :-1]) - np.minimum(lines[:, 1:], lines[:, :-1])
        inner = steps[:, 1:-1].astype(np.int16)
        excess = 2 * inner - steps[:, :-2] - steps[:, 2:]
        excess[(inner > _STEP) | (excess < 0)] = 0
        column = excess.mean(axis=0, dtype=np.float64)
        phases = column[: len(column) // 8 * 8].reshape(-1, 8).mean(axis=0)
        rest = np.delete(phases, int(phases.argmax()))
        scores.append(float(phases.max() / (np.median(rest) + 0.05)))
    return round(min(scores), 3)


def _interpolated(grey: Grey, *, longest: float) -> int:
    """Return the whole number by which a picture was smoothly enlarged; 1 when none shows.

    Interpolated pixels bend less than those between which they were put, which repeats with
    the period of the enlargement. No period is longer than its edges are wide, nearly twice.
    """
    spectra = []
    for lines in (grey, grey.T):
        if lines.shape[1] < 48:
            return 1
        signed = lines.astype(np.int16)
        bend = np.abs(2 * signed[:, 1:-1] - signed[:, :-2] - signed[:, 2:])
        curve = np.log1p(bend.mean(axis=0, dtype=np.float64))
        curve -= np.convolve(np.pad(curve, 4, mode="edge"), np.ones(9) / 9, "valid")
        spectra.append(np.abs(np.fft.rfft(curve * np.hanning(len(curve)))))
    found = [
        period
        for period in _PERIODS
        if period <= longest and min(_peak(one, period) for one in spectra) >= _PEAK
    ]
    return max(found, default=1)


def _peak(spectrum: npt.NDArray[np.float64], period: int) -> float:
    place = round(2 * (len(spectrum) - 1) / period)
    near = spectrum[max(0, place - 1) : place + 2]
    return float(near.max() / (np.median(spectrum) + 1e-9))


def _text(cells: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(cells.tobytes()).decode("ascii")
