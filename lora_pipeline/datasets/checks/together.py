"""What is wrong with images taken together: the same ones, the same corners, the balance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lora_pipeline.datasets.checks.findings import CheckFinding, Picture, found
from lora_pipeline.datasets.checks.measure_cache import Rows
from lora_pipeline.datasets.checks.thresholds import Profile, Thresholds
from lora_pipeline.datasets.near_duplicates import groups, near_pairs

_CORNERS = ("upper left", "upper right", "lower left", "lower right")
_TEXTURED = 12  # standard deviation of a corner in which something is
_AGREE = 12  # levels within which two cells are the same
_COMMON = 0.35  # share of the corners with something in them that must have the same
_FEWEST_ALIKE = 3
_MARKED = 0.25  # share of a corner that a mark covers
_CONTRAST = 25  # standard deviation of a mark


def judge_same(
    pictures: Sequence[Picture],
    rows: Rows,
    profile: Profile,
    *,
    told: Callable[[int, int], None] | None = None,
) -> Iterator[CheckFinding]:
    """Yield which images are the same: in their bytes, in their pixels, in what they show.

    Args:
        pictures: All images.
        rows: Their measures, in the same order.
        profile: What they are for.
        told: Called with the steps of the comparison that are done, and their number.
    """
    by_bytes = _by(pictures, [one.sha256 for one in pictures])
    for same in by_bytes:
        yield _same("duplicate", "the same file", [pictures[place] for place in same])
    alone = sorted({*range(len(pictures))} - {place for same in by_bytes for place in same[1:]})
    pixels = [rows["pixels"][place].tobytes() for place in alone]
    by_pixels = [[alone[place] for place in same] for same in _by(alone, pixels)]
    for same in by_pixels:
        best = _best_first(pictures, rows, same)
        yield _same("same_pixels", "the same picture, saved twice", best)
    repeated = {place for same in by_pixels for place in same[1:]}
    different = [place for place in alone if place not in repeated]
    pairs = near_pairs(rows["look"][different], profile.background, told=told)
    for group in groups(len(different), pairs):
        best = _best_first(pictures, rows, [different[place] for place in group])
        yield _same("near_duplicate", f"{len(best)} show the same picture", best)


def judge_corners(pictures: Sequence[Picture], rows: Rows) -> Iterator[CheckFinding]:
    """Yield corners in which many images show the same: a watermark, a signature, a logo.

    What stands in three corners or more is how the art is framed, and no finding.
    """
    carriers = {}
    for corner, name in enumerate(_CORNERS):
        marked = _marked(rows["corners"][:, corner].reshape(len(rows), -1))
        if len(marked) >= _FEWEST_ALIKE:
            carriers[name] = marked
    if len(carriers) > 2:
        return
    for name, marked in carriers.items():
        message = f"{len(marked)} show the same thing in the {name} corner: watermark or logo?"
        yield found("repeated_corner", message, [pictures[place] for place in marked], subject=name)


def judge_balance(
    pictures: Sequence[Picture], profile: Profile, limits: Thresholds
) -> Iterator[CheckFinding]:
    """Yield tag groups of which one value is much more frequent than another.

    Only groups that at least half of the images carry a tag of are looked at.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    carrying: Counter[str] = Counter()
    for picture in pictures:
        groups_of = {tag.partition(":")[0] for tag in picture.tags}
        carrying.update(groups_of & profile.groups)
        for tag in picture.tags:
            group, _, value = tag.partition(":")
            if group in profile.groups:
                counts[group][value] += 1
    for group, values in sorted(counts.items()):
        if len(values) < 2 or carrying[group] * 2 < len(pictures):
            continue
        ordered = sorted(values.items(), key=lambda one: (-one[1], one[0]))
        (most, many), (least, few) = ordered[0], ordered[-1]
        ratio = many / few
        if ratio > limits.imbalance:
            message = f"{group}: {many} {most}, {few} {least}"
            limit = limits.imbalance
            yield found("imbalance", message, subject=group, measured=ratio, limit=limit)


def judge_count(count: int, profile: Profile) -> Iterator[CheckFinding]:
    """Yield whether there are fewer or more images than the asset types ask for."""
    for asset_type, wanted in sorted(profile.counts.items()):
        advice = f"{wanted.recommended_from} to {wanted.recommended_to} are recommended"
        if count < wanted.minimum:
            code, limit = "few_images", wanted.minimum
            message = f"{count} to train on, {asset_type} needs {limit}; {advice}"
        elif count < wanted.recommended_from:
            code, limit = "fewer_than_recommended", wanted.recommended_from
            message = f"{count} to train on; for {asset_type} {advice}"
        elif count > wanted.recommended_to:
            code, limit = "more_than_recommended", wanted.recommended_to
            message = f"{count} to train on; for {asset_type} {advice}"
        else:
            continue
        yield found(code, message, subject=asset_type, measured=count, limit=limit)


def _by(things: Sequence[object], keys: Sequence[object]) -> list[list[int]]:
    places: dict[object, list[int]] = {}
    for place in range(len(things)):
        places.setdefault(keys[place], []).append(place)
    return [same for same in places.values() if len(same) > 1]


def _same(code: str, message: str, best_first: Sequence[Picture]) -> CheckFinding:
    others = best_first[1:]
    return found(code, f"{message}; the first is the best", best_first, to_mend=others)


def _best_first(pictures: Sequence[Picture], rows: Rows, places: Sequence[int]) -> list[Picture]:
    # Larger, then sharper, then less compressed; between equals the digest decides.
    def quality(place: int) -> tuple[float, float, float, str]:
        row = rows[place]
        pixels = int(row["width"]) * int(row["height"]) / int(row["enlarged"]) ** 2
        return (
            -pixels,
            round(float(row["edge_width"]), 1),
            float(row["blockiness"]),
            pictures[place].sha256,
        )

    return [pictures[place] for place in sorted(places, key=quality)]


def _marked(corners: npt.NDArray[np.uint8]) -> list[int]:
    """Return which of the corners, flat grey cells, show one and the same thing."""
    textured = np.flatnonzero(corners.std(axis=1) >= _TEXTURED)
    needed = max(_FEWEST_ALIKE, _COMMON * len(textured))
    if len(textured) < needed:
        return []
    cells = corners[textured]
    common, count = _most_common(cells)
    # Cells at the rim of a mark agree in some of the images only; they say nothing of the rest.
    agreeing = count >= max(needed, 0.75 * np.quantile(count, 0.9))
    if agreeing.mean() < _MARKED or common[agreeing].std() < _CONTRAST:
        return []
    close = np.abs(cells[:, agreeing].astype(np.int16) - common[agreeing]) <= _AGREE
    carries = close.mean(axis=1) >= 0.8
    return [int(place) for place in textured[carries]]


def _most_common(
    cells: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Return the most common level of every cell, and how many are within reach of it."""
    counts = np.zeros((cells.shape[1], 256), dtype=np.int64)
    for place in range(cells.shape[1]):
        counts[place] = np.bincount(cells[:, place], minlength=256)
    levels = np.arange(256)
    low, high = np.maximum(levels - _AGREE, 0), np.minimum(levels + _AGREE + 1, 256)
    cells_before = np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0)))
    levels_before = np.pad(np.cumsum(counts * levels, axis=1), ((0, 0), (1, 0)))
    within = cells_before[:, high] - cells_before[:, low]
    best, every = within.argmax(axis=1), np.arange(len(counts))
    count = within[every, best]
    total = (levels_before[:, high] - levels_before[:, low])[every, best]
    return (total // count).astype(np.int16), count
