"""How far a number of training images goes, and how many an asset type wants. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.catalog.records import AssetType

# From this many images on, and what can be expected of them.
LEVELS = (
    (0, "few", "too few to tell a style from single pictures"),
    (10, "minimum", "a look is carried over, unevenly"),
    (20, "good", "one concept is held well"),
    (50, "great", "it carries over to things that were never shown"),
    (100, "excellent", "close to a full match"),
    (201, "many", "more of the same adds little; variety would"),
)


class Volume(msgspec.Struct, frozen=True):
    """A number of images, judged.

    Attributes:
        count: How many there are.
        level: ``few``, ``minimum``, ``good``, ``great``, ``excellent`` or ``many``.
        promise: What can be expected of them.
        recommended: How many the asset types want, from and to, or None.
    """

    count: int
    level: str
    promise: str
    recommended: tuple[int, int] | None

    @property
    def missing(self) -> int:
        """How many are missing to what is recommended."""
        return max(0, self.recommended[0] - self.count) if self.recommended else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        low, high = self.recommended or (None, None)
        return {
            "imageCount": self.count,
            "level": self.level,
            "recommendedFrom": low,
            "recommendedTo": high,
        }

    def words(self) -> str:
        """Return it in words."""
        images = f"{self.count} image{'' if self.count == 1 else 's'}"
        if self.recommended is None:
            return images
        low, high = self.recommended
        return f"{images}; {low} to {high} are recommended"


def volume_of(count: int, asset_types: Sequence[str], known: Mapping[str, AssetType]) -> Volume:
    """Return what a number of images is worth for the first asset type that says how many."""
    _, level, promise = max(one for one in LEVELS if one[0] <= count)
    counts = (known[one].image_counts for one in asset_types if one in known)
    wanted = next((one for one in counts if one is not None), None)
    recommended = (wanted.recommended_from, wanted.recommended_to) if wanted else None
    return Volume(count, level, promise, recommended)
