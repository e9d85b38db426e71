from __future__ import annotations

import base64
import functools
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_pipeline.datasets.close_vectors import correlated
from lora_pipeline.datasets.near_duplicates import (
    Looks,
    Window,
    _agree,
    _is_on_plain_ground,
    _part,
    _windows_near,
    first_windows,
    groups,
    near_pairs,
    on_background,
)
from lora_pipeline.foundation.images.client import ImageWorker
from tests.support import checks_builders as pictures

Picture = Image.Image
COUNT, SIZE = 8, 128
WHOLE = Window(0, 0, 1)
BICUBIC, BOX = Image.Resampling.BICUBIC, Image.Resampling.BOX
Looker = Callable[[list[Picture]], Looks]


@pytest.fixture(scope="module")
def looks_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looker]:
    folder = tmp_path_factory.mktemp("pictures")
    with ImageWorker() as worker:

        def look(image: Picture) -> Looks:
            path = pictures.save(image, Path(folder) / "one.png")
            cells = base64.b64decode(worker.measure(path).look)
            return np.frombuffer(cells, dtype=np.uint8).reshape(16, 16, 4)

        yield lambda images: np.stack([look(image) for image in images])


@pytest.fixture(scope="module")
def clean(looks_of: Looker) -> dict[str, Looks]:
    return {
        kind: looks_of([draw(seed, SIZE) for seed in range(COUNT)])
        for kind, draw in pictures.KINDS.items()
    }


def half_size(image: Picture) -> Picture:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def off_middle(image: Picture) -> Picture:
    return pictures.cropped(image, 0.08, (0, 0))


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "saved as a bad JPEG": pictures.recompressed,
    "at half the size": half_size,
    "blurred": pictures.blurred,
    "with more light": pictures.brighter,
    "in a frame": pictures.framed,
    "between black bars": pictures.letterboxed,
}
CROPS: dict[str, Callable[[Picture], Picture]] = {
    "cropped by 4 %": lambda image: pictures.cropped(image, 0.04),
    "cropped by 8 %": lambda image: pictures.cropped(image, 0.08),
    "cropped at a corner": off_middle,
    "cropped and saved as JPEG": lambda image: pictures.recompressed(
        pictures.cropped(image, 0.08), 30
    ),
}
OTHERS: dict[str, Callable[[Picture], Picture]] = {
    "with other colours": pictures.recoloured,
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
}


def found(clean: Looks, changed: Looks) -> set[int]:
    pairs = near_pairs(np.concatenate([clean, changed]))
    assert all(other - one == len(clean) for one, other in pairs), "unrelated ones were paired"
    return {one for one, _ in pairs}


@pytest.mark.parametrize("kind", pictures.KINDS)
def test_pictures_that_have_nothing_in_common_are_no_pair(
    clean: dict[str, Looks], kind: str
) -> None:
    assert near_pairs(clean[kind]) == []


@pytest.mark.parametrize("kind", pictures.KINDS)
@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_found(clean: dict[str, Looks], looks_of: Looker, kind: str, change: str) -> None:
    changed = looks_of([COPIES[change](pictures.KINDS[kind](seed, SIZE)) for seed in range(COUNT)])

    assert found(clean[kind], changed) == set(range(COUNT))


@pytest.mark.parametrize("kind", ["photo", "painting"])
@pytest.mark.parametrize("change", CROPS)
def test_a_crop_is_found(clean: dict[str, Looks], looks_of: Looker, kind: str, change: str) -> None:
    changed = looks_of([CROPS[change](pictures.KINDS[kind](seed, SIZE)) for seed in range(COUNT)])

    assert found(clean[kind], changed) == set(range(COUNT))


@pytest.mark.parametrize("kind", ["photo", "painting"])
@pytest.mark.parametrize("change", OTHERS)
def test_another_piece_of_art_is_no_copy(
    clean: dict[str, Looks], looks_of: Looker, kind: str, change: str
) -> None:
    changed = looks_of([OTHERS[change](pictures.KINDS[kind](seed, SIZE)) for seed in range(COUNT)])

    assert found(clean[kind], changed) == set()


def test_a_drawing_in_other_colours_is_no_copy(clean: dict[str, Looks], looks_of: Looker) -> None:
    changed = looks_of([pictures.recoloured(pictures.icon(seed, SIZE)) for seed in range(COUNT)])

    assert found(clean["icon"], changed) == set()


def test_a_drawing_without_its_transparency_is_a_copy_on_that_background_only(
    clean: dict[str, Looks], looks_of: Looker
) -> None:
    flat = looks_of([pictures.on(pictures.icon(seed, SIZE), "#202028") for seed in range(COUNT)])
    both = np.concatenate([clean["icon"], flat])

    assert len(near_pairs(both, "#202028")) == COUNT
    assert near_pairs(both, "#FFFFFF") == []


def test_all_at_once_are_what_comparing_every_two_finds(
    clean: dict[str, Looks], looks_of: Looker
) -> None:
    crops = looks_of([pictures.cropped(pictures.photo(seed, SIZE), 0.05) for seed in range(COUNT)])
    every = np.concatenate([*clean.values(), crops])
    one_by_one = {
        (one, other)
        for one in range(len(every))
        for other in range(one + 1, len(every))
        if near_pairs(every[[one, other]])
    }

    assert set(near_pairs(every)) == one_by_one
    assert len(one_by_one) == COUNT


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), grain=st.integers(0, 40), smooth=st.integers(1, 3))
def test_the_search_finds_what_its_definition_says(seed: int, grain: int, smooth: int) -> None:
    looks = related_looks(np.random.default_rng(seed), grain, smooth)

    assert near_pairs(looks) == defined_pairs(looks)


def related_looks(random: np.random.Generator, grain: int, smooth: int) -> Looks:
    """Draw pictures, parts of them, and both again with grain: many are near the bounds."""
    cells = 4 * smooth
    coarse = random.integers(0, 256, (6, cells, cells, 3)).astype(np.uint8)
    drawn = [np.asarray(Image.fromarray(one).resize((160, 160), BICUBIC)) for one in coarse]
    parts = [one[8:152, 8 * n : 8 * n + 144] for n, one in enumerate(drawn[:3])]
    small = np.stack(
        [np.asarray(Image.fromarray(one).resize((16, 16), BOX)) for one in [*drawn, *parts]]
    ).astype(np.int16)
    again = small + random.integers(-grain, grain + 1, small.shape)
    every = np.clip(np.concatenate([small, again]), 0, 255).astype(np.uint8)
    opaque = np.full((*every.shape[:3], 1), 255, np.uint8)
    return np.concatenate([every, opaque], axis=3)


def defined_pairs(looks: Looks) -> list[tuple[int, int]]:
    """Compare every picture with every other one, and every part of it that counts."""
    shown = on_background(looks, "#FFFFFF")
    fine, plain = shown.reshape(len(shown), -1), _is_on_plain_ground(shown)
    parts = functools.cache(lambda window: _part(shown, window))

    def is_copy(one: int, other: int) -> bool:
        coarse = correlated(parts(WHOLE)[[one]], parts(WHOLE)[[other]], 0.948)
        return bool(coarse and _agree(fine[[one]], fine[[other]], 0.975, 48))

    def has_part(one: int, other: int) -> bool:
        whole = parts(WHOLE)[[other]]
        return not (plain[one] or plain[other]) and any(
            correlated(parts(window)[[one]], whole, 0.898)
            and any(_agree(parts(w)[[one]], whole, 0.985, 36) for w in _windows_near(window))
            for window in first_windows()
        )

    return [
        (one, other)
        for one, other in itertools.combinations(range(len(shown)), 2)
        if is_copy(one, other) or has_part(one, other) or has_part(other, one)
    ]


def test_pairs_among_some_are_all_pairs_with_one_of_them(
    clean: dict[str, Looks], looks_of: Looker
) -> None:
    crops = looks_of([pictures.cropped(pictures.photo(seed, SIZE), 0.05) for seed in range(COUNT)])
    every = np.concatenate([clean["photo"], crops])
    some = [0, 3, COUNT + 5]

    wanted = [pair for pair in near_pairs(every) if set(pair) & set(some)]

    assert near_pairs(every, among=some) == wanted
    assert len(wanted) == 3


def test_the_order_of_the_pictures_does_not_matter(
    clean: dict[str, Looks], looks_of: Looker
) -> None:
    crops = looks_of(
        [pictures.cropped(pictures.painting(seed, SIZE), 0.05) for seed in range(COUNT)]
    )
    every = np.concatenate([clean["painting"], crops])
    order = list(range(len(every)))
    random.Random(3).shuffle(order)

    turned = {tuple(sorted((order[one], order[other]))) for one, other in near_pairs(every[order])}

    assert turned == set(near_pairs(every))


def test_pictures_without_contrast_are_compared_with_nothing() -> None:
    plain = np.full((3, 16, 16, 4), 200, np.uint8)
    plain[..., 3] = 255
    plain[1, 2:4, 2:4, 0] = 203

    assert near_pairs(plain) == []
    assert near_pairs(plain[:0]) == []


def test_hidden_colours_do_not_count() -> None:
    premultiplied = np.zeros((1, 16, 16, 4), np.uint8)

    assert (on_background(premultiplied, "#3366CC") == (0x33, 0x66, 0xCC)).all()


def test_groups_hang_together_by_pairs() -> None:
    assert groups(6, [(0, 3), (3, 5), (1, 2)]) == [(0, 3, 5), (1, 2)]
    assert groups(3, []) == []
