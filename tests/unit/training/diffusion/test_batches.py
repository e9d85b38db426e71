"""The order of images is the same for the same seed, and fair."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from lora_pipeline.training.diffusion.batches import Shown, batches

SQUARE, WIDE = (64, 64), (96, 32)


def taken(count: int, **options: object) -> list[list[Shown]]:
    arguments: dict[str, object] = {"batch_size": 2, "seed": 1} | options
    sizes = [SQUARE] * 4 + [WIDE] * 3
    return list(islice(batches(sizes, [1] * 7, **arguments), count))  # type: ignore[arg-type]


def test_same_seed_same_order_and_another_seed_another() -> None:
    assert taken(50) == taken(50)
    assert taken(50) != taken(50, seed=2)


def test_every_batch_is_full_and_of_one_size() -> None:
    for batch in taken(50):
        assert len(batch) == 2
        assert len({one.size for one in batch}) == 1


def test_every_image_is_shown_equally_often() -> None:
    counted = Counter(one.index for batch in taken(700) for one in batch)

    assert max(counted.values()) - min(counted.values()) <= 2


def test_repeats_are_shown_that_much_more_often() -> None:
    shown = islice(batches([SQUARE] * 2, [1, 3], batch_size=4, seed=0), 100)

    assert Counter(one.index for batch in shown for one in batch) == {0: 100, 1: 300}


def test_a_batch_larger_than_all_images_is_filled_over_several_passes() -> None:
    (batch,) = islice(batches([SQUARE] * 2, [1, 1], batch_size=7, seed=0), 1)

    assert len(batch) == 7


def test_mirroring_and_silence_happen_as_often_as_asked() -> None:
    every = [one for batch in taken(1000, flip=True, caption_dropout=0.25) for one in batch]

    assert 900 < sum(one.mirrored for one in every) < 1100
    assert 400 < sum(one.silent for one in every) < 600


def test_nothing_is_mirrored_or_silent_unless_asked() -> None:
    assert not any(one.mirrored or one.silent for batch in taken(100) for one in batch)
