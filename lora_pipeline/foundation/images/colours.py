"""Which tones and colours a picture has, as distributions that can be compared.

Runs in the worker process only. Colours are those of CIELAB for the white D65 (CIE 15:2018), in
which equal steps look about equally large: lightness is one axis, and hue with chroma a plane,
which is looked at from four directions.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from lora_pipeline.foundation.images.normalise import decode

TONES = 50  # steps of lightness, of 2 units each
DIRECTIONS, STEPS, REACH = 4, 64, 128.0  # of the plane of hue and chroma; steps of 4 units
_MOST_A_SIDE = 512  # more pixels are not looked at: a distribution needs no neighbours

# Linear light of sRGB to CIE XYZ (IEC 61966-2-1), each row divided by the white of D65.
_TO_XYZ = np.array(
    [
        [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
    ]
)


def colours(path: str, *, max_pixels: int, background: str) -> dict[str, Any]:
    """Return the distribution of lightness, and that of hue and chroma in four directions.

    Raises:
        RefusedError: When the file is animated, too large or damaged.
        Exception: Whatever Pillow raises on hostile bytes.
    """
    pixels = np.asarray(decode(path, max_pixels=max_pixels).on(background).convert("RGB"))
    step = -(-max(pixels.shape[:2]) // _MOST_A_SIDE)
    light, green_red, blue_yellow = _lab(pixels[::step, ::step].reshape(-1, 3))
    tones = _shares(light, 0.0, 100.0, TONES)
    palette = []
    for number in range(DIRECTIONS):
        angle = np.pi * number / DIRECTIONS
        along = green_red * np.cos(angle) + blue_yellow * np.sin(angle)
        palette.append(_shares(along, -REACH, REACH, STEPS))
    return {"tones": _text(tones), "palette": _text(np.stack(palette))}


def _lab(rgb: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], ...]:
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    relative = linear[rgb] @ _TO_XYZ.T
    small = (6 / 29) ** 3
    roots = np.where(relative > small, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = roots.T
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _shares(
    values: npt.NDArray[np.float64], low: float, high: float, steps: int
) -> npt.NDArray[np.float32]:
    places = ((values - low) * (steps / (high - low))).astype(np.int64)
    counts = np.bincount(np.clip(places, 0, steps - 1), minlength=steps)
    return (counts / len(values)).astype(np.float32)


def _text(shares: npt.NDArray[np.float32]) -> str:
    return base64.b64encode(shares.astype("<f4").tobytes()).decode("ascii")
