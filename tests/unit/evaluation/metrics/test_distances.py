from __future__ import annotations

import numpy as np
import pytest

from lora_pipeline.evaluation.metrics import distances
from lora_pipeline.foundation.images.colours import DIRECTIONS, STEPS, TONES


def at(place: int, size: int) -> np.ndarray:
    shares = np.zeros((1, size), np.float32)
    shares[0, place] = 1
    return shares


def looks(seed: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_equal_tones_are_not_apart() -> None:
    assert distances.tone_distance(at(3, TONES), at(3, TONES)) == pytest.approx(0)


def test_from_black_to_white_is_nearly_one() -> None:
    found = distances.tone_distance(at(0, TONES), at(TONES - 1, TONES))
    assert found == pytest.approx(1, abs=0.03)


def test_half_the_picture_moved_is_half_as_far() -> None:
    whole, half = at(40, TONES), (at(40, TONES) + at(0, TONES)) / 2
    assert distances.tone_distance(half, whole) == pytest.approx(
        distances.tone_distance(at(0, TONES), whole) / 2
    )


def test_a_palette_is_measured_in_hundreds_of_units() -> None:
    first = np.repeat(at(20, STEPS)[:, None], DIRECTIONS, axis=1)
    second = np.repeat(at(30, STEPS)[:, None], DIRECTIONS, axis=1)
    assert distances.palette_distance(first, second) == pytest.approx(0.4)


def test_the_nearest_is_found_also_when_it_is_mirrored() -> None:
    trained = looks(1, 5)
    both = distances.look_vectors(np.concatenate([trained, distances.mirrored(trained)]))
    cells = np.concatenate([looks(2), distances.mirrored(trained)[3:4]])
    found = distances.nearest(distances.look_vectors(cells), both)
    assert (found.first, found.second) == (1, 5 + 3)
    assert found.similarity == pytest.approx(1)


def test_pictures_without_contrast_are_like_nothing() -> None:
    flat = np.full((2, 16, 16, 3), 200, np.uint8)
    vectors = distances.look_vectors(flat)
    assert distances.nearest(vectors, vectors).similarity == 0


def test_many_rows_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = distances.look_vectors(looks(3, 9)), distances.look_vectors(looks(4, 4))
    whole = distances.best_matches(first, second)
    monkeypatch.setattr(distances, "_BLOCK", 8)
    parts = distances.best_matches(first, second)
    assert np.allclose(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


def test_looks_differ_by_a_share_of_the_value_range() -> None:
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert distances.look_difference(black, white) == 1


def test_vectors_of_length_zero_stay_zero() -> None:
    assert not distances.unit(np.zeros((1, 4), np.float32)).any()
