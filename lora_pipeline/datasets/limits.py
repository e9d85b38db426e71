"""How many of the images that match come in, and how evenly a tag group is shown. Decides only.

Which ones come in is drawn by lot, and the lot is a digest of the seed and the image's own digest:
neither ids nor the order of an import move it, and an image that is added later takes the place
of another one only when it draws better. Better rated images are drawn first.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET

from lora_pipeline.datasets.picks import Reason
from lora_pipeline.datasets.records import Selection
from lora_pipeline.datasets.selection import Step


class Drawn(msgspec.Struct, frozen=True):
    """What the draw looks at, of one image.

    Attributes:
        asset_id: The asset; told, and never looked at by the draw.
        sha256: Digest of the image.
        tags: Tags of the variant, then of the spec when these count.
        rating: Rating of the variant, 0 to 5.
    """

    asset_id: str
    sha256: str
    tags: tuple[str, ...] = ()
    rating: int = 0


class Limited(msgspec.Struct, frozen=True):
    """What is left within the limits.

    Attributes:
        kept: Places of the images that come in, in the order in which they were given.
        left_out: Place of each other image, and why it does not come in.
        steps: What each limit did.
    """

    kept: tuple[int, ...]
    left_out: dict[int, Reason] = msgspec.field(default_factory=dict)
    steps: tuple[Step, ...] = ()


def within_limits(images: Sequence[Drawn], rule: Selection) -> Limited:
    """Return which images a rule's limits keep; the order of ``images`` does not matter to it."""
    everything = tuple(range(len(images)))
    if rule.balance is not UNSET:
        return _balanced(images, rule, rule.balance)
    if rule.limit is UNSET or len(images) <= rule.limit:
        return Limited(everything)
    drawn = _in_order_of_the_draw(images, everything, rule)
    kept = frozenset(drawn[: rule.limit])
    reason = _beyond(rule.limit, rule)
    return Limited(
        kept=tuple(index for index in everything if index in kept),
        left_out={index: reason for index in everything if index not in kept},
        steps=(Step(f"limit {rule.limit}", len(images), len(kept)),),
    )


def _balanced(images: Sequence[Drawn], rule: Selection, group: str) -> Limited:
    shown = [_tags_of_group(image, group) for image in images]
    left = {
        index: Reason("balance_untagged", f"no tag of the group {group}", f"without {group}:…")
        for index, tags in enumerate(shown)
        if not tags
    }
    tagged = [index for index, tags in enumerate(shown) if tags]
    if not tagged:
        step = Step(f"balance over {group}", len(images), 0, _groups_there(images))
        return Limited((), left, (step,))
    each, total = _shares(shown, rule)
    drawn = _in_order_of_the_draw(images, tagged, rule)
    kept = _dealt(drawn, shown, each, total)
    counts = Counter(tag for index in kept for tag in shown[index])
    for index in tagged:
        if index not in kept:
            full = each is not None and any(counts[tag] >= each for tag in shown[index])
            left[index] = _uneven(shown[index], group, each) if full else _beyond(total, rule)
    return Limited(
        kept=tuple(index for index in range(len(images)) if index in kept),
        left_out=left,
        steps=(Step(f"balance over {group}", len(images), len(kept)),),
    )


def _shares(shown: Sequence[tuple[str, ...]], rule: Selection) -> tuple[int | None, int | None]:
    """Return how many images each tag may have, and how many there may be together."""
    total = None if rule.limit is UNSET else rule.limit
    if rule.limit_each is not UNSET:
        return rule.limit_each, total
    if total is not None:
        return None, total
    # With no number said, the rarest tag says how many images each of the others has.
    return min(Counter(tag for tags in shown for tag in tags).values()), None


def _dealt(
    drawn: Sequence[int], shown: Sequence[tuple[str, ...]], each: int | None, total: int | None
) -> frozenset[int]:
    """Return the images that come in when the tags take turns, the poorest one next.

    An image counts for every tag of the group that it carries, and stays out when one of these
    has its number.
    """
    waiting: dict[str, list[int]] = {}
    for index in reversed(drawn):  # the lists are taken from their ends
        for tag in shown[index]:
            waiting.setdefault(tag, []).append(index)
    counts = dict.fromkeys(waiting, 0)
    turns = [(0, tag) for tag in sorted(waiting)]
    kept: set[int] = set()
    while turns and (total is None or len(kept) < total):
        count, tag = heapq.heappop(turns)
        if count != counts[tag]:  # it was shown by an image of another tag meanwhile
            heapq.heappush(turns, (counts[tag], tag))
            continue
        dealt = _next(waiting[tag], kept, counts, shown, each)
        if dealt is None:
            continue
        kept.add(dealt)
        for shown_tag in shown[dealt]:
            counts[shown_tag] += 1
        heapq.heappush(turns, (counts[tag], tag))
    return frozenset(kept)


def _next(
    waiting: list[int],
    kept: set[int],
    counts: dict[str, int],
    shown: Sequence[tuple[str, ...]],
    each: int | None,
) -> int | None:
    while waiting:
        index = waiting.pop()
        fits = each is None or all(counts[tag] < each for tag in shown[index])
        if index not in kept and fits:
            return index
    return None


def _in_order_of_the_draw(
    images: Sequence[Drawn], indices: Iterable[int], rule: Selection
) -> list[int]:
    seed = seed_of(rule)

    def key(index: int) -> tuple[int, bytes, str]:
        image = images[index]
        lot = hashlib.sha256(f"{seed}\n{image.sha256}".encode()).digest()
        return -image.rating, lot, image.asset_id

    return sorted(indices, key=key)


def seed_of(rule: Selection) -> int:
    """Return the seed of a rule's draw."""
    return 0 if rule.seed is UNSET else rule.seed


def _tags_of_group(image: Drawn, group: str) -> tuple[str, ...]:
    return tuple(tag for tag in image.tags if tag.partition(":")[0] == group)


def _beyond(limit: int | None, rule: Selection) -> Reason:
    text = f"not among the {limit} that were drawn, seed {seed_of(rule)}"
    return Reason("limit", text, f"beyond the limit of {limit}")


def _uneven(tags: tuple[str, ...], group: str, each: int | None) -> Reason:
    shown = " and ".join(tags)
    return Reason("balance", f"{shown} has its {each} already", f"more than {each} of one {group}")


def _groups_there(images: Sequence[Drawn]) -> str | None:
    groups = Counter(tag.partition(":")[0] for image in images for tag in set(image.tags))
    names = [name for name, _ in groups.most_common(8)]
    return f"there are the groups {', '.join(names)}" if names else "no image has a tag"
