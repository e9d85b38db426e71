"""What a job left at its service, brought here: whole, verified, and noted before it is let go.

The note is what makes it safe to give a rented machine back: killed right after, the same run
finds its weights here and asks nobody for them again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.training.hosted.interface import HostedService, RemoteFile
from lora_pipeline.training.outcome import Found, verify_outputs
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.trainers.interface import Collected, CollectedFile

FETCHED = "fetched.json"


def fetch_outputs(
    service: HostedService,
    job_id: str,
    final: Path,
    folder: Path,
    checkpoint: CheckpointOnDisk,
    say: Callable[[str], None],
) -> Found:
    """Fetch what a job left and return what of it is usable.

    Args:
        service: Where it is.
        job_id: The job.
        final: Where the final weights are put.
        folder: Folder of the run.
        checkpoint: The base model that the weights must fit.
        say: Told before each file.
    """
    fetched_ns = time.time_ns()
    steps: dict[str, int | None] = {}
    for remote in service.outputs(job_id):
        target = _target(final, remote)
        say(f"fetching {target.name}")
        service.fetch(remote, target)
        steps[target.name] = remote.step
    found = verify_outputs(_collected(final, steps), folder, checkpoint, fetched_ns)
    if found.final is not None:
        note = {"fetchedNs": fetched_ns, "steps": steps}
        files.write_atomic(folder / FETCHED, json.dumps(note).encode())
    return found


def fetched_before(final: Path, folder: Path, checkpoint: CheckpointOnDisk) -> Found | None:
    """Return what a run fetched and verified before it was killed, or None."""
    try:
        note = json.loads((folder / FETCHED).read_bytes())
        fetched_ns, steps = int(note["fetchedNs"]), dict(note["steps"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    found = verify_outputs(_collected(final, steps), folder, checkpoint, fetched_ns)
    return found if found.final is not None else None


def _collected(final: Path, steps: dict[str, int | None]) -> Collected:
    kept = [
        CollectedFile(final.with_name(name), step)
        for name, step in steps.items()
        if step is not None
    ]
    here = any(step is None for step in steps.values())
    return Collected(CollectedFile(final) if here else None, tuple(kept))


def _target(final: Path, remote: RemoteFile) -> Path:
    if remote.step is None:
        return final
    return final.with_name(f"{final.stem}-step{remote.step:08d}.safetensors")
