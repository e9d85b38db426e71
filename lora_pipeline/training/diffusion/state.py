"""What a run that was broken off goes on from: one safetensors file, replaced as a whole.

It holds what is trained, the optimiser's memory of it and the running mean, in full precision.
The random numbers of a step follow from the seed and the step, so a run that goes on ends with
the same bytes as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.training.diffusion.job import Job
from lora_pipeline.training.weights.file import Tensor as Entry
from lora_pipeline.training.weights.file import read_header, write_weights

if TYPE_CHECKING:
    from torch import Tensor

_STEP, _JOB, _SCALARS = "step", "job", "scalars"
# Stands where the run's own folder stands in a job: another run of the same plan goes on.
_ELSEWHERE = ("outputFolder", "stateFile")


class State(msgspec.Struct, frozen=True):
    """What was kept after a step.

    Attributes:
        step: Steps that were taken.
        tensors: By name, in full precision, on the CPU.
        scalars: The other numbers, by name.
    """

    step: int
    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


def save_state(path: Path, job: Job, state: State) -> None:
    """Write the file, whole or not at all."""
    blocks, entries, offset = [], [], 0
    for name, tensor in sorted(state.tensors.items()):
        block = bytes(tensor.detach().float().cpu().contiguous().view(-1).numpy().tobytes())
        entries.append(Entry(name, "F32", tuple(tensor.shape), offset, offset + len(block)))
        offset += len(block)
        blocks.append(block)
    metadata = {
        _STEP: str(state.step),
        _JOB: job_digest(job),
        _SCALARS: json.dumps(state.scalars, sort_keys=True),
        "sha256": _digest(blocks),
    }
    write_weights(path, entries, metadata, blocks)


def read_state(path: Path, job: Job) -> State | None:
    """Return what a file holds; None when it is not whole, or of another job."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        told = read_header(path).metadata
        if told[_JOB] != job_digest(job):
            return None
        tensors = load_file(path)
        state = State(int(told[_STEP]), tensors, json.loads(told[_SCALARS]))
    except (PipelineError, SafetensorError, OSError, LookupError, ValueError):
        return None
    blocks = (bytes(one.view(-1).numpy().tobytes()) for _, one in sorted(tensors.items()))
    return state if _digest(blocks) == told["sha256"] else None


def job_digest(job: Job) -> str:
    """Return the digest of what is computed, wherever its files stand."""
    document = job.to_dict()
    return digest_of({name: one for name, one in document.items() if name not in _ELSEWHERE})


def same_shapes(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Return whether two sets of tensors have the same names and shapes."""
    shapes = {name: tuple(one.shape) for name, one in tensors.items()}
    return shapes == {name: tuple(one.shape) for name, one in expected.items()}


def _digest(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
