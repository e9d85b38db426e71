"""The job: all that the child which trains is told, as one JSON file.

Imports nothing of torch: the plan writes it, the child reads it.
"""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.foundation.record import Part
from lora_pipeline.training.records import Recipe


class JobImage(Part, frozen=True, kw_only=True):
    """One image of the staging folder; sizes in pixels.

    ``mask`` is the path of its mask below the folder, white where the loss counts; empty
    without one.
    """

    name: str
    caption: str
    repeats: int
    width: int
    height: int
    mask: str = ""


class Job(Part, frozen=True, kw_only=True, omit_defaults=False):
    """What to train, on what, and where the results go.

    ``checkpoint`` is a diffusers folder or a single file; ``config`` is, for a single file, a
    diffusers folder that describes its parts. ``threads`` 0 lets the trainer choose.
    ``state_file`` is what an interrupted run goes on from, kept after every ``state_every`` steps.
    """

    checkpoint: str
    architecture: str
    images_folder: str
    images: tuple[JobImage, ...]
    output_folder: str
    output_name: str
    total_steps: int
    recipe: Recipe
    metadata: dict[str, str]
    config: str = ""
    device: str = "auto"
    threads: int = 0
    state_file: str = ""
    state_every: int = 0

    def to_text(self) -> str:
        """Return the job as a file, one image on a line."""
        return strict_json.dumps(self.to_dict(), one_line_each=("images",)).decode()


def read_job(path: Path) -> Job:
    """Return the job of a file.

    Raises:
        FileMissingError: When it cannot be read.
        RecordInvalidError, JsonInvalidError: When it is no job.
    """
    document = strict_json.load(path)
    if not isinstance(document, dict):
        raise RecordInvalidError(f"{path.name} is no job")
    return Job.from_dict(document)
