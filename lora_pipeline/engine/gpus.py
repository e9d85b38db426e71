"""The NVIDIA GPUs of this machine, as ``nvidia-smi`` tells them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lora_pipeline.foundation import process
from lora_pipeline.foundation.errors import ProcessError

_MIB = 1024 * 1024
_FIELDS = "index,uuid,name,memory.total,memory.free"
_ARGV = ("nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
_TIMEOUT_S = 20.0
_AMD = Path("/dev/kfd")


class Gpu(msgspec.Struct, frozen=True):
    """One GPU.

    Attributes:
        index: Its number.
        uuid: Its name for good: numbers may change when the machine starts again.
        name: What it is.
        total_bytes: Its memory.
        free_bytes: What is free of it at this moment.
    """

    index: str
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int

    @property
    def title(self) -> str:
        """What people call it."""
        return f"GPU {self.index} ({self.name})"


def read_gpus(visible: str | None = None) -> tuple[Gpu, ...] | None:
    """Return the GPUs that programs may use, or None when nobody can say.

    Args:
        visible: What ``CUDA_VISIBLE_DEVICES`` says; None when it is not set.
    """
    try:
        answer = process.run(_ARGV, timeout_s=_TIMEOUT_S)
    except ProcessError:
        # Another maker's GPUs are there and cannot be asked; or there are none.
        return None if _AMD.exists() else ()
    if answer.status != 0:
        return None
    return shown(parse_gpus(answer.stdout), visible)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs of an answer of ``nvidia-smi``; lines of another form are left out."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) < 5:
            continue
        total, free = parts[-2:]
        if total.isdecimal() and free.isdecimal():
            name = ", ".join(parts[2:-2])
            found.append(Gpu(parts[0], parts[1], name, int(total) * _MIB, int(free) * _MIB))
    return tuple(found)


def shown(gpus: Sequence[Gpu], visible: str | None) -> tuple[Gpu, ...]:
    """Return those of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, in its order."""
    if visible is None:
        return tuple(gpus)
    found = []
    for word in filter(None, (part.strip() for part in visible.split(","))):
        match = next((g for g in gpus if g.index == word or g.uuid.startswith(word)), None)
        if match is None:
            break  # CUDA itself stops at the first that it does not know
        found.append(match)
    return tuple(found)
