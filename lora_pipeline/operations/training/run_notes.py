"""What a run's folder remembers beside the record: what was asked for, and verified weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.operations.training.train_request import Training
from lora_pipeline.training.outcome import output_of
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.training.weights.inspection import WeightsReport
from lora_pipeline.workspace.root import Workspace

_WISHES = "wishes.json"
_VERIFIED = "verified.json"


def remember_wishes(folder: Path, training: Training, notes: str) -> None:
    """Note what a run was asked for."""
    wishes = training.wishes
    config = Path(wishes.trainer_config).absolute() if wishes.trainer_config else ""
    document = {
        "datasetId": _dataset(wishes.dataset),
        "trainerArguments": list(wishes.trainer_arguments),
        "trainerConfig": str(config),
        "notes": notes,
        "yesUpload": wishes.yes_upload,
    }
    files.write_atomic(folder / _WISHES, json.dumps(document).encode())


def read_wishes(workspace: Workspace, run_id: str) -> dict[str, Any] | None:
    """Return what a run of this machine was asked for, or None when nobody knows."""
    try:
        document = json.loads((run_folder(workspace, run_id) / _WISHES).read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def notes_of(workspace: Workspace, run_id: str) -> str:
    """Return the notes that a run's release is to be kept with."""
    return str((read_wishes(workspace, run_id) or {}).get("notes", ""))


def remember_outcome(folder: Path, run: Run, report: WeightsReport) -> None:
    """Note that the weights of a run were verified and stand in the store."""
    ready = replace(run, state="ready", outputs=(output_of(report, folder), *run.outputs))
    files.write_atomic(folder / _VERIFIED, json.dumps(ready.to_dict()).encode())


def remembered_outcome(folder: Path, run: Run) -> Run:
    """Return a run as it was when its weights were verified; as it is when they were not."""
    try:
        document = json.loads((folder / _VERIFIED).read_bytes())
        return Run.from_dict(document)
    except (OSError, ValueError, PipelineError):
        return run


def _dataset(wish: str) -> str:
    """Return a manifest's id as it is, and its path so that it holds from any folder."""
    path = Path(wish)
    return str(path.absolute()) if path.suffix == ".json" and path.is_file() else wish
