"""The child that trains: ``python -m lora_pipeline.training.diffusion.train_job JOB``.

Says on standard output what happens, one JSON object on a line; libraries write to standard
error. Exits with 0 when the weights are written, 3 when a message says why they are not.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from pathlib import Path

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.training.diffusion.job import Job, read_job
from lora_pipeline.training.diffusion.messages import TrainingStoppedError, tell

STOPPED = 3


def main(arguments: list[str]) -> int:
    """Train what the job says and return the exit status."""
    (path,) = arguments
    try:
        job = read_job(Path(path))
        _keep_stdout_ours()
        return _run(job)
    except TrainingStoppedError as error:
        tell("error", code=error.code, message=error.message, hint=error.hint)
    except PipelineError as error:
        tell("error", code=error.code, message=error.message, hint=error.hint or "")
    return STOPPED


def _run(job: Job) -> int:
    import torch
    from diffusers.utils import logging

    from lora_pipeline.training.diffusion.loop import train

    # What libraries remark upon is for their own developers; what fails is raised.
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    try:
        path = train(job)
    except torch.OutOfMemoryError as error:
        first = str(error).split("\n", 1)[0]
        raise TrainingStoppedError(
            "out_of_memory",
            f"the device ran out of memory: {first}",
            "lower batchSize or resolution, or set gradientCheckpointing",
        ) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise TrainingStoppedError(
            "disk_full", "the disk is full", "free space below .lora, then train again"
        ) from error
    if job.state_file:  # the weights are there: nobody will go on from it
        Path(job.state_file).unlink(missing_ok=True)
    tell("finished", file=path.name)
    return 0


def _keep_stdout_ours() -> None:
    # Libraries print where they like; on the real standard output stand our messages alone.
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    sys.stdout = ours


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
