"""Workspaces whose LoRA is of FLUX.1, for trainers elsewhere, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lora_pipeline.operations.catalog.checkpoint import add_checkpoint
from lora_pipeline.operations.datasets.dataset import build_dataset
from lora_pipeline.operations.releases.lora import create_lora
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.hosted.interface import HostedService, JobView
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support import fake_trainer
from tests.support.dataset_builders import PROJECT, studio
from tests.support.training_builders import DATASET, LORA, write_checkpoint_headers
from tests.support.workspace_builders import reopen

SCOPE = Scope(PROJECT)
MODULE = "single_transformer_blocks.0.proj_mlp"
# Weights as a service that trains FLUX.1 leaves them.
WEIGHTS = fake_trainer.weights("wrong_architecture")


def flux_studio(folder: Path, *, architecture: str = "flux1") -> Workspace:
    """Return a workspace with images, a LoRA, and a base model of which only headers are here."""
    workspace = studio(folder, icons=4, git=False)
    base = flux_base(folder.parent / f"{folder.name}-base")
    add_checkpoint(
        workspace, "flux_dev", path=str(base), architecture=architecture, asset_types=("ui_icon",),
        resolution=64, license="FLUX-1-dev", commercial_loras="no", project=PROJECT,
    )  # fmt: skip
    build_dataset(workspace, DATASET, asset_types=("ui_icon",), trigger_word="flt", project=PROJECT)
    create_lora(
        workspace, LORA, checkpoint="flux_dev", asset_types=("ui_icon",), trigger="flt",
        project=PROJECT,
    )  # fmt: skip
    return reopen(folder)


def flux_base(folder: Path) -> Path:
    """Write a base model of FLUX.1's kind of which there is nothing but headers."""
    write_checkpoint_headers(
        folder, {"transformer": {MODULE: (fake_trainer.SIZE, fake_trainer.SIZE)}}
    )
    index = json.dumps({"_class_name": "FluxPipeline"})
    (folder / "model_index.json").write_text(index, encoding="utf-8")
    return folder


def look_until(service: HostedService, job_id: str, *states: str) -> JobView:
    """Look at a job until it is in one of these states."""
    for _ in range(20):
        view = service.look(job_id)
        if view.state in states:
            return view
    raise AssertionError(f"it never came to be {states}")


def settled(
    workspace: Workspace, trainer: str, *, patience_s: float = 60.0, **own: Any
) -> Workspace:
    """Return the workspace with settings of a trainer, which is asked often."""
    path = workspace.root / "config" / "local.json"
    document = json.loads(path.read_text()) if path.is_file() else {}
    trainers = document.setdefault("trainers", {})
    trainers[trainer] = trainers.get(trainer, {}) | own
    trainers |= {"pollSeconds": 0.01, "idleTimeoutSeconds": patience_s}
    path.write_text(json.dumps(document))
    return reopen(workspace.root)


def capped(workspace: Workspace, *, per_run: float = 10.0, per_project: float = 100.0) -> Workspace:
    """Return the workspace with the studio's spending caps."""
    (workspace.root / "config" / "pipeline.yaml").write_text(
        f"spending:\n  maxPerRun: {per_run}\n  maxPerProject: {per_project}\n"
    )
    return reopen(workspace.root)


def runs_of(workspace: Workspace) -> list[Run]:
    """Return the runs of the project, oldest first."""
    return [loaded.record for loaded in workspace.records.all(Run, SCOPE)]


def releases(workspace: Workspace) -> list[str]:
    """Return the releases of the LoRA."""
    lora = workspace.records.read(Lora, SCOPE, LORA).record
    return [release.id for release in lora.releases]
