"""The order in which images are shown: the same for the same seed, whatever trains. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import msgspec

Size = tuple[int, int]


class Shown(msgspec.Struct, frozen=True):
    """One image in one batch.

    Attributes:
        index: Which image.
        size: Width and height that it is trained at.
        mirrored: Whether it is shown mirrored.
        silent: Whether its caption is left out this time.
    """

    index: int
    size: Size
    mirrored: bool
    silent: bool


def batches(
    sizes: Sequence[Size],
    repeats: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    caption_dropout: float = 0.0,
) -> Iterator[list[Shown]]:
    """Yield batches without end; every batch is full and of one size.

    Each pass shows every image as often as it is repeated, in a new order. What does not fill
    a batch waits for images of the same size in the next pass, so none is shown less often.
    """
    random = Random(seed)  # noqa: S311 - an order, no secret
    every = [index for index, count in enumerate(repeats) for _ in range(count)]
    waiting: dict[Size, list[Shown]] = {}
    while True:
        random.shuffle(every)
        for index in every:
            shown = Shown(
                index,
                sizes[index],
                mirrored=flip and random.random() < 0.5,
                silent=random.random() < caption_dropout,
            )
            group = waiting.setdefault(shown.size, [])
            group.append(shown)
            if len(group) == batch_size:
                yield waiting.pop(shown.size)
