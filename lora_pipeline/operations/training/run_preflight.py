"""Before a run starts: is there room for it on disk, in memory and on a GPU?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lora_pipeline.engine.gpus import read_gpus
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.operations.training.train_request import Training
from lora_pipeline.operations.training.train_start import Start, expected_of
from lora_pipeline.training.runs.needs import Disk, Lack, Machine, Needs, lacks, needs_of
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

_MEMORY = Path("/proc/meminfo")


def preflight_refusal(workspace: Workspace, training: Training, start: Start) -> Refusal | None:
    """Return why a run had better not start here and now, or None."""
    found = preflight(workspace, training, start)
    if not found:
        return None
    return Refusal(
        "preflight_failed",
        "; ".join(one.message for one in found),
        f"{found[0].hint}; --skip-preflight starts it anyway",
    )


def preflight(workspace: Workspace, training: Training, start: Start) -> list[Lack]:
    """Return everything that this machine has too little of for a run."""
    keep = workspace.settings.integer("runs.keepFreeBytes")
    needs = _needs(workspace, training, start)
    return lacks(needs, machine_now(workspace, gpu=training.trainer.starts_program), keep_free=keep)


def machine_now(workspace: Workspace, *, gpu: bool) -> Machine:
    """Return what there is on this machine at this moment.

    Args:
        workspace: Whose disks are looked at.
        gpu: Whether GPUs are asked for; it takes a moment.
    """
    return Machine(
        run_disk=_disk("runs", workspace.runtime),
        store_disk=_disk("the store", open_store(workspace).root),
        memory_bytes=_memory_available(),
        gpus=read_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")) if gpu else None,
    )


def _needs(workspace: Workspace, training: Training, start: Start) -> Needs:
    sizes = expected_of(workspace, training, start).sizes
    local = training.trainer.starts_program
    key = f"trainers.{training.trainer.name}.device"
    value = workspace.settings.values.get(key)
    return needs_of(
        training.recipe.recipe,
        base_bytes=(sizes["checkpointBytes"] or 0) if local else 0,
        image_bytes=0 if start.staging.folder.is_dir() else sizes["imageBytes"],
        weights_bytes=sizes["weightsBytes"],
        kept=sizes["checkpointsKept"],
        device=str(value.value) if value is not None and local else "auto",
    )


def _disk(what: str, folder: Path) -> Disk:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return Disk(what, there.stat().st_dev, shutil.disk_usage(there).free)


def _memory_available() -> int | None:
    """Return how much memory a new program can have, or None where nobody says."""
    try:
        text = _MEMORY.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None
