"""Places where work runs: so many for each GPU, shared by all workers of a workspace.

A place is a lock that the operating system lets go of when its holder ends, so that two workers
that know nothing of each other never put two runs on one GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from filelock import BaseFileLock

CPU = "cpu"


class Place(msgspec.Struct, frozen=True):
    """Where one run runs.

    Attributes:
        name: Its name, which is its lock's.
        gpu: What ``CUDA_VISIBLE_DEVICES`` is to say; empty leaves it as it is.
    """

    name: str
    gpu: str = ""


def places_of(gpus: Sequence[str], per_gpu: int) -> tuple[Place, ...]:
    """Return the places of some GPUs, or of the processor when there is none.

    The first place of every GPU comes before the second of any.
    """
    if not gpus:
        return tuple(Place(f"{CPU}-{number}") for number in range(per_gpu))
    return tuple(
        Place(f"gpu-{_plain(gpu)}-{number}", gpu) for number in range(per_gpu) for gpu in gpus
    )


class Places:
    """The places of a workspace, taken and left by this process.

    Args:
        folder: Holds their locks.
        places: All of them.
    """

    def __init__(self, folder: Path, places: Sequence[Place]) -> None:
        self._folder = folder
        self._places = tuple(places)
        self._taken: dict[Place, BaseFileLock] = {}

    def take(self) -> Place | None:
        """Return a place that was free and is ours now, or None."""
        from filelock import FileLock, Timeout

        self._folder.mkdir(parents=True, exist_ok=True)
        for place in self._places:
            if place in self._taken:
                continue
            lock = FileLock(self._folder / f"{place.name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            self._taken[place] = lock
            return place
        return None

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self._taken.pop(place).release()


def _plain(gpu: str) -> str:
    return "".join(char if char.isalnum() or char == "-" else "_" for char in gpu)
