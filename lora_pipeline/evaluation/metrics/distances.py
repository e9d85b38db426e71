"""How far pictures are from one another, from their tones, colours and looks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from lora_pipeline.foundation.images.colours import REACH, STEPS, TONES

Floats = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]
Looks = npt.NDArray[np.uint8]
_FAINT = 3.0  # standard deviation, in levels, below which there is nothing to compare
_BLOCK = 4_000_000  # products at a time: 16 MiB


class Nearest(msgspec.Struct, frozen=True):
    """The two that are most alike.

    Attributes:
        similarity: How much: 1 is the same direction.
        first: Place among the first.
        second: Place among the second.
    """

    similarity: float
    first: int
    second: int


def tone_distance(first: Floats, second: Floats) -> Distances:
    """Return how far lightness would have to be moved, in hundreds of units; one for each row.

    The Wasserstein distance of two distributions on a line: the area between what they have
    summed up to (Vallender, Theory of Probability and its Applications 18, 1974).
    """
    return _moved(first, second) / TONES


def palette_distance(first: Floats, second: Floats) -> Distances:
    """Return how far hue and chroma would have to be moved, in hundreds of units; one a row.

    The sliced Wasserstein distance (Rabin and others, Wasserstein Barycenter and its
    Application to Texture Mixing, 2012): the mean over the directions of the plane.
    """
    moved: Distances = _moved(first, second).mean(axis=-1)
    return moved * (2 * REACH / STEPS / 100)


def look_difference(first: Looks, second: Looks) -> float:
    """Return the mean absolute difference of two looks, in 0..1 of the value range."""
    return float(np.abs(first.astype(np.int16) - second.astype(np.int16)).mean()) / 255


def look_vectors(looks: Looks) -> Floats:
    """Return looks with mean 0 and length 1; those without contrast are 0 throughout."""
    values = looks.reshape(len(looks), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt((values * values).sum(axis=1, keepdims=True))
    faint = length < _FAINT * np.sqrt(values.shape[1])
    return np.where(faint, 0, values / np.where(faint, 1, length)).astype(np.float32)


def mirrored(looks: Looks) -> Looks:
    """Return looks with left and right changed over."""
    return np.ascontiguousarray(looks[:, :, ::-1])


def unit(vectors: Floats) -> Floats:
    """Return vectors with length 1."""
    length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), 0).astype(np.float32)


def best_matches(first: Floats, second: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return, for each of the first, its highest similarity among the second, and where."""
    similarities, places = [], []
    for block in _blocks(first, len(second)):
        products = block @ second.T
        where = products.argmax(axis=1)
        places.append(where)
        similarities.append(products[np.arange(len(block)), where])
    return np.concatenate(similarities), np.concatenate(places)


def nearest(first: Floats, second: Floats) -> Nearest:
    """Return which of the first is most like which of the second."""
    similarities, places = best_matches(first, second)
    place = int(similarities.argmax())
    # Rounding may lead a little beyond the same.
    return Nearest(min(1.0, float(similarities[place])), place, int(places[place]))


def _blocks(vectors: Floats, columns: int) -> Iterator[Floats]:
    step = max(1, _BLOCK // max(1, columns))
    for start in range(0, len(vectors), step):
        yield vectors[start : start + step]


def _moved(first: Floats, second: Floats) -> Distances:
    apart = first.astype(np.float64) - second.astype(np.float64)
    moved: Distances = np.abs(apart.cumsum(axis=-1)).sum(axis=-1)
    return moved
