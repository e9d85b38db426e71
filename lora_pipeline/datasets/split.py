"""Which images are held out of training: decided by what they are, never by who came with them.

Each image draws by its own digest. Where the rule says so, near-duplicates stay together: what
is a near-duplicate of a held-out image, or of one that is held out for that reason, is held
out too. So an image that drew "held out" stays there whatever comes or goes, and nothing that
is trained on shows what the result is judged by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from lora_pipeline.datasets.records import Item, Manifest, Split, SplitRule
from lora_pipeline.foundation.errors import FileMissingError
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.workspace.root import Workspace

if TYPE_CHECKING:
    from lora_pipeline.datasets.near_duplicates import Looks

_SCALE = 1 << 64
TOGETHER = "look/v1"
"""The measure by which near-duplicates are told for the split, as manifests record it.

Another name when what it finds changes (near_duplicates.py).
"""


def split_of(sha256: str, rule: SplitRule) -> Split:
    """Return the side that an image draws by itself."""
    if rule.held_out <= 0:
        return "train"
    drawn = hashlib.sha256(f"{rule.salt}\n{sha256}".encode()).digest()
    return "held_out" if int.from_bytes(drawn[:8], "big") < rule.held_out * _SCALE else "train"


def split_rule(rule: SplitRule, held_out: float | None) -> SplitRule:
    """Return a rule with the share that was asked for; near-duplicates stay together from then on.

    A rule about which nothing was asked stays as it is, and with it what is built by it.
    """
    if held_out is None:
        return rule
    together = TOGETHER if held_out > 0 else UNSET
    return structs.replace(rule, held_out=held_out, near_duplicates=together)


def with_splits(
    workspace: Workspace, items: Iterable[Item], rule: SplitRule, background: str
) -> list[Item]:
    """Return items with the side that each stands on.

    Images are decoded only where something is held out and near-duplicates stay together, and
    then each content once.

    Raises:
        FileMissingError: When an image cannot be decoded here: to guess would be to split in
            another way than where it can.
    """
    drawn = [_on_side(item, split_of(item.sha256, rule)) for item in items]
    if rule.held_out <= 0 or rule.near_duplicates is UNSET:
        return drawn
    from lora_pipeline.datasets.checks.measuring import Wanted, measure_images

    measured = measure_images(workspace, [Wanted(item.sha256, item.path) for item in drawn])
    for why in measured.unmeasured.values():
        raise FileMissingError(
            f"near-duplicates of held-out images cannot be told: {why.message}",
            hint=why.hint or "lora dataset check shows every image that cannot be read",
        )
    order = list(measured.place)
    held = {item.sha256 for item in drawn if item.split == "held_out"}
    seeds = [place for place, sha256 in enumerate(order) if sha256 in held]
    reached = held_together(measured.rows["look"], seeds, background)
    held |= {order[place] for place in reached}
    return [_on_side(item, "held_out" if item.sha256 in held else "train") for item in drawn]


def held_together(looks: Looks, seeds: Sequence[int], background: str) -> set[int]:
    """Return the pictures of ``seeds`` with all that hang together with them."""
    from lora_pipeline.datasets.near_duplicates import near_pairs

    reached, frontier = set(seeds), set(seeds)
    while frontier:
        pairs = near_pairs(looks, background, among=sorted(frontier))
        frontier = {one for pair in pairs for one in pair} - reached
        reached |= frontier
    return reached


def split_findings(manifest: Manifest, where: str, fix: str) -> list[Finding]:
    """Return which items stand on another side than the rule allows; decodes nothing.

    An image that drew "held out" must be held out. One that did not may be, as a
    near-duplicate, where the rule keeps these together.
    """
    rule = manifest.split_rule
    together = rule.near_duplicates is not UNSET
    return [
        Finding(
            "split_differs",
            "error",
            where,
            f"asset {item.asset_id} is {_WORDS[item.split]}, and its digest says "
            f"{_WORDS[split_of(item.sha256, rule)]}",
            fix,
        )
        for item in manifest.items
        if item.sha256
        and item.split != split_of(item.sha256, rule)
        and not (together and item.split == "held_out")
    ]


_WORDS = {"train": "trained on", "held_out": "held out"}


def _on_side(item: Item, split: Split) -> Item:
    return item if item.split == split else structs.replace(item, split=split)
