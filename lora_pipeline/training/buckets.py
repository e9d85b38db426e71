"""Which size an image is trained at: near its own shape, within the resolution's area. Pure."""

from __future__ import annotations

import math


def bucket_of(width: int, height: int, resolution: int, multiple: int) -> tuple[int, int]:
    """Return the width and height that an image is trained at.

    Both are multiples of ``multiple``, the area is at most that of the resolution squared, and
    of all such sizes it is the one whose shape is nearest to the image's. No side is shorter
    than half of the resolution or longer than twice of it.
    """
    area = resolution * resolution
    shortest = max(multiple, resolution // 2 // multiple * multiple)
    longest = max(shortest, resolution * 2 // multiple * multiple)
    wanted = math.log(width / height)
    candidates = []
    for side in range(shortest, longest + 1, multiple):
        largest = min(longest, area // side // multiple * multiple)
        # One step less than fits, too: it may be the very shape.
        candidates += [(side, one) for one in (largest, largest - multiple) if one >= shortest]
    if not candidates:
        return shortest, shortest
    return min(
        candidates, key=lambda size: (abs(math.log(size[0] / size[1]) - wanted), -size[0] * size[1])
    )


def multiple_for(resolution: int, architecture: str) -> int:
    """Return what sides are multiples of: large steps for large images, what models need else."""
    if resolution >= 512:
        return 64
    return 16 if architecture.startswith("flux") or resolution % 16 == 0 else 8
