"""The plan: what a trainer will be given, made without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.training.records import Recipe


class CheckpointOnDisk(msgspec.Struct, frozen=True):
    """The base model as a trainer finds it here.

    Attributes:
        checkpoint_id: Id of its record.
        architecture: ``sd15``, ``sdxl``, ``flux1``, …
        path: Single file or diffusers folder.
        digest: ``sha256:…`` that its record names.
        companions: Further model files by name (``clip_l``, ``t5xxl``, ``ae``, …).
        training_adapter: A LoRA that is merged while training on a distilled model, or None.
    """

    checkpoint_id: str
    architecture: str
    path: Path
    digest: str
    companions: Mapping[str, Path] = msgspec.field(default_factory=dict)
    training_adapter: Path | None = None


class StagedImage(msgspec.Struct, frozen=True):
    """One image of a staging folder; its caption stands beside it as ``<stem>.txt``.

    ``mask`` is the path of its mask below the folder, white where the loss counts; empty
    without one.
    """

    name: str
    caption: str
    repeats: int
    width: int
    height: int
    mask: str = ""


class TrainingData(msgspec.Struct, frozen=True):
    """The staging of a manifest.

    Attributes:
        dataset_id: Id of the manifest.
        manifest_hash: Its ``contentHash``.
        folder: Flat folder of ``<n>.png`` with ``<n>.txt`` beside it.
        images: What is in it, training split only, in file name order.
    """

    dataset_id: str
    manifest_hash: str
    folder: Path
    images: tuple[StagedImage, ...]

    @property
    def images_per_epoch(self) -> int:
        """How many images one epoch shows, repeats counted."""
        return sum(image.repeats for image in self.images)

    @property
    def masked(self) -> bool:
        """Whether the loss is to be weighed by masks; then every image has one."""
        return any(image.mask for image in self.images)

    @property
    def masks_folder(self) -> Path:
        """Where the masks stand, each under the name of its image."""
        return (self.folder / self.images[0].mask).parent


class TrainingRequest(msgspec.Struct, frozen=True):
    """All that an adapter may look at to make a plan.

    Attributes:
        run_id: Id of the run.
        lora_id: LoRA to be trained.
        release_id: Release that the run will bring.
        output_name: File name of the weights, without extension.
        trigger_word: Word that calls the LoRA, or empty.
        checkpoint: The base model.
        data: The staged images.
        recipe: Trainer-neutral settings.
        run_folder: Private folder of the run, outside Git.
        extra_arguments: Passed to the trainer's program as they are.
        config_file: The user's own configuration of that trainer, or None.
    """

    run_id: str
    lora_id: str
    release_id: str
    output_name: str
    trigger_word: str
    checkpoint: CheckpointOnDisk
    data: TrainingData
    recipe: Recipe
    run_folder: Path
    extra_arguments: tuple[str, ...] = ()
    config_file: Path | None = None


class PlannedFile(msgspec.Struct, frozen=True):
    """A file that is written before the program starts.

    Attributes:
        path: POSIX path below the run folder.
        content: Its text.
    """

    path: str
    content: str


class Upload(msgspec.Struct, frozen=True):
    """A file that would leave this machine.

    Attributes:
        source: Where it is.
        name: What it is called there: ``<data set>/<file>``.
    """

    source: Path
    name: str


class Plan(msgspec.Struct, frozen=True):
    """What will be run.

    Attributes:
        trainer: Name of the trainer.
        trainer_version: Version of the program, or ``unknown``.
        files: Written into the run folder first.
        argv: Program and arguments.
        cwd: Folder to run in.
        environment: Variables added to the child's environment; never a secret.
        secrets: Names of variables whose values the child gets from ours.
        expected_output: POSIX path below the run folder of the weights that must appear.
        total_steps: Optimiser steps that will be done.
        warnings: What a careful person would want to know before starting.
        service: Where the work would be sent, or empty when nothing leaves this machine.
        uploads: The files that would be sent there, beside those of the plan itself.
    """

    trainer: str
    trainer_version: str
    files: tuple[PlannedFile, ...]
    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]
    expected_output: str
    total_steps: int
    secrets: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    service: str = ""
    uploads: tuple[Upload, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as ``train --plan --json`` prints it."""
        sent = [{"source": str(one.source), "name": one.name} for one in self.uploads]
        elsewhere = {"service": self.service, "uploads": sent} if self.service else {}
        return elsewhere | {
            "trainer": self.trainer,
            "trainerVersion": self.trainer_version,
            "files": [{"path": file.path, "content": file.content} for file in self.files],
            "argv": list(self.argv),
            "cwd": str(self.cwd),
            "environment": dict(sorted(self.environment.items())),
            "secrets": list(self.secrets),
            "expectedOutput": self.expected_output,
            "totalSteps": self.total_steps,
            "warnings": list(self.warnings),
        }

    @property
    def digest(self) -> str:
        """``sha256:…`` over the plan."""
        return digest_of(self.to_dict())
