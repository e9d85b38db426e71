"""What a run needs of this machine, against what there is. Pure.

Every number is a lower bound: what is refused could not have worked. The base model alone must
fit; what activations and optimisers take beside it nobody can know before.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lora_pipeline.engine.gpus import Gpu
from lora_pipeline.training.records import Recipe

# Files may hold 32 bits of which 16 are computed with, and parts that training does not load.
_LOADED_SHARE = 0.35
_QUANTISED = {4: 0.12, 8: 0.25}
# LoRA against its base model, for each rank: what attention layers of UNets and DiTs come to.
_WEIGHTS_PER_RANK = 0.0011
_MARGIN = 16 * 1024 * 1024


class Needs(msgspec.Struct, frozen=True):
    """What a run needs at least.

    Attributes:
        run_bytes: What it writes into its folder and the staging.
        store_bytes: What it puts into the store.
        memory_bytes: Main memory.
        gpu_bytes: Memory of one GPU, when it trains on one.
        gpu: Whether it cannot do without a GPU.
    """

    run_bytes: int
    store_bytes: int
    memory_bytes: int
    gpu_bytes: int
    gpu: bool


class Disk(msgspec.Struct, frozen=True):
    """A disk that a run writes to.

    Attributes:
        what: What it holds, for people.
        device: The same for two folders of one disk.
        free_bytes: What is free.
    """

    what: str
    device: int
    free_bytes: int


class Machine(msgspec.Struct, frozen=True):
    """What there is at this moment; None is not known.

    Attributes:
        run_disk: Disk of runs and stagings.
        store_disk: Disk of the store.
        memory_bytes: Main memory that can be had.
        gpus: The GPUs.
    """

    run_disk: Disk
    store_disk: Disk
    memory_bytes: int | None
    gpus: Sequence[Gpu] | None


class Lack(msgspec.Struct, frozen=True):
    """Something that there is too little of.

    Attributes:
        code: Stable slug, as a run's record holds it.
        message: What is needed and what there is.
        hint: What to do about it.
    """

    code: str
    message: str
    hint: str


def needs_of(
    recipe: Recipe,
    *,
    base_bytes: int,
    image_bytes: int,
    weights_bytes: int | None,
    kept: int,
    device: str,
) -> Needs:
    """Return what a run needs.

    Args:
        recipe: Its settings.
        base_bytes: Length of the base model's files.
        image_bytes: Length of its images.
        weights_bytes: Length of its weights, where earlier runs tell; else it is estimated.
        kept: Checkpoints that it keeps beside the final weights.
        device: What the trainer's settings say: auto, cpu, cuda or mps.
    """
    estimated = int(base_bytes * _WEIGHTS_PER_RANK * recipe.rank)
    weights = estimated if weights_bytes is None else weights_bytes
    share = _LOADED_SHARE
    if recipe.quantize is not None:
        share = _QUANTISED[recipe.quantize]
    on_gpu = 0 if recipe.low_memory else int(base_bytes * share)
    return Needs(
        run_bytes=weights * (kept + 1) + image_bytes + _MARGIN,
        store_bytes=weights,
        memory_bytes=int(base_bytes * share),
        gpu_bytes=on_gpu,
        gpu=device == "cuda",
    )


def lacks(needs: Needs, machine: Machine, *, keep_free: int) -> list[Lack]:
    """Return everything that there is too little of.

    Args:
        needs: What the run needs.
        machine: What there is.
        keep_free: What must stay free on every disk, in bytes.
    """
    return [
        *_disks(needs, machine, keep_free),
        *_memory(needs, machine.memory_bytes),
        *_gpus(needs, machine.gpus),
    ]


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{max(count, 0) // 1000} kB"


def _disks(needs: Needs, machine: Machine, keep_free: int) -> list[Lack]:
    wanted = {machine.run_disk: needs.run_bytes}
    if machine.store_disk.device == machine.run_disk.device:
        wanted[machine.run_disk] += needs.store_bytes
    else:
        wanted[machine.store_disk] = needs.store_bytes
    return [
        Lack(
            "disk_short",
            f"{size(disk.free_bytes)} are free on the disk of {disk.what}; the run writes about "
            f"{size(count)} and {size(keep_free)} stay free (runs.keepFreeBytes)",
            "free space: old folders below .lora/runs, lora doctor --fix, lora store gc",
        )
        for disk, count in wanted.items()
        if disk.free_bytes < count + keep_free
    ]


def _memory(needs: Needs, available: int | None) -> list[Lack]:
    if available is None or available >= needs.memory_bytes:
        return []
    return [
        Lack(
            "memory_short",
            f"{size(available)} of memory can be had; the base model alone takes "
            f"{size(needs.memory_bytes)}",
            "close other programs, or train on a larger machine",
        )
    ]


def _gpus(needs: Needs, gpus: Sequence[Gpu] | None) -> list[Lack]:
    if gpus is None:
        return []
    if not gpus:
        if not needs.gpu:
            return []
        return [
            Lack(
                "no_gpu",
                "the settings want a GPU, and nvidia-smi finds none",
                "set the trainer's device to auto or cpu, or look after the driver",
            )
        ]
    best = max(gpus, key=lambda one: one.free_bytes)
    if best.free_bytes >= needs.gpu_bytes:
        return []
    others = " is in use by other programs" if best.total_bytes >= needs.gpu_bytes else ""
    return [
        Lack(
            "gpu_short" if others else "gpu_too_small",
            f"{size(best.free_bytes)} of {size(best.total_bytes)} are free on {best.title}; the "
            f"base model alone takes {size(needs.gpu_bytes)}",
            "wait until it is free, or set lowMemory or quantize"
            if others
            else "set lowMemory or quantize, or train on a larger GPU",
        )
    ]
