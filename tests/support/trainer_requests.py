"""Requests for trainers, with staged images and model files that are really there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lora_pipeline.foundation.process import OutputLine, Supervised, child_environment
from lora_pipeline.foundation.strict_json import dumps
from lora_pipeline.training.plan import (
    CheckpointOnDisk,
    Plan,
    StagedImage,
    TrainingData,
    TrainingRequest,
)
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.interface import Trainer, TrainingProgress
from lora_pipeline.workspace.settings import Settings, read_settings

RUN_ID = "01JZ8B9Q6V3W2K4M5N7P8R9S0T"
DIGEST = "sha256:" + "5" * 64


@dataclass(frozen=True)
class Finished:
    """A plan that was run to its end."""

    lines: tuple[OutputLine, ...]
    progress: tuple[TrainingProgress, ...]
    status: int

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return "\n".join(line.text for line in self.lines)


def make_request(
    folder: Path,
    architecture: str,
    *,
    recipe: Mapping[str, Any] | None = None,
    captions: Sequence[str] = ("neon icon, a red circle", "neon icon, a blue star"),
    repeats: Sequence[int] = (),
    sizes: Sequence[tuple[int, int]] = (),
    checkpoint: str = "base.safetensors",
    checkpoint_id: str = "base",
    companions: Sequence[str] = (),
    masked: bool = False,
    **changes: Any,
) -> TrainingRequest:
    """Return a request; images, captions, checkpoint and companions stand below ``folder``."""
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    path = models / checkpoint
    if path.suffix:
        path.write_bytes(b"weights")
    else:
        path.mkdir(exist_ok=True)
    for name in companions:
        (models / f"{name}.safetensors").write_bytes(b"weights")
    return TrainingRequest(
        run_id=RUN_ID,
        lora_id="neon_icons",
        release_id="r3",
        output_name="neon_icons-r3",
        trigger_word="neon icon",
        checkpoint=CheckpointOnDisk(
            checkpoint_id,
            architecture,
            path,
            DIGEST,
            {name: models / f"{name}.safetensors" for name in companions},
        ),
        data=stage(folder / "staging", captions, repeats=repeats, sizes=sizes, masked=masked),
        recipe=Recipe(**{"resolution": 64, "steps": 4, "rank": 4, **(recipe or {})}),
        run_folder=make_folder(folder / "run"),
        **changes,
    )


def paper_request(
    root: Path, architecture: str, caption: str, *, checkpoint: str = "base"
) -> TrainingRequest:
    """Return a request with one caption for prompts and images; nothing of it is on the disk."""
    images = (
        StagedImage("000001.png", "a plain caption", 1, 64, 64),
        StagedImage("000002.png", caption, 2, 64, 64),
    )
    return TrainingRequest(
        run_id=RUN_ID,
        lora_id="neon_icons",
        release_id="r3",
        output_name="neon_icons-r3",
        trigger_word="neon icon",
        checkpoint=CheckpointOnDisk("base", architecture, root / checkpoint, DIGEST),
        data=TrainingData("icons", DIGEST, root / "staging", images),
        recipe=Recipe(resolution=64, steps=4, rank=4, sample_every=2, sample_prompts=(caption,)),
        run_folder=root / "run",
    )


def stage(
    folder: Path,
    captions: Sequence[str],
    *,
    repeats: Sequence[int] = (),
    sizes: Sequence[tuple[int, int]] = (),
    masked: bool = False,
) -> TrainingData:
    """Write a staging folder and return it; each mask hides the right half of its image."""
    images = []
    make_folder(folder / "masks" if masked else folder)
    for number, caption in enumerate(captions):
        name = f"{number + 1:06d}.png"
        size = sizes[number] if number < len(sizes) else (64, 64)
        Image.new("RGB", size, (40 * number % 255, 80, 120)).save(folder / name)
        (folder / name).with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")
        times = repeats[number] if number < len(repeats) else 1
        mask = f"masks/{name}" if masked else ""
        if mask:
            image = Image.new("L", size, 255)
            image.paste(0, (size[0] // 2, 0, *size))
            image.save(folder / mask)
        images.append(StagedImage(name, caption, times, *size, mask))
    return TrainingData("icons", DIGEST, folder, tuple(images))


def make_folder(folder: Path) -> Path:
    """Make a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def settings_with(folder: Path, **values: str) -> Settings:
    """Return settings of a workspace where these are set; ``__`` stands for the dots."""
    document: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key.split("__")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    make_folder(folder / "config")
    (folder / "config" / "local.json").write_bytes(dumps(document))
    return read_settings(folder, {})


def write_files(plan: Plan, run_folder: Path) -> None:
    """Write the files of a plan, as the pipeline does before a run."""
    for file in plan.files:
        (run_folder / file.path).write_text(file.content, encoding="utf-8")


def run_plan(
    trainer: Trainer, plan: Plan, run_folder: Path, *, idle_timeout_s: float = 60
) -> Finished:
    """Run a plan as a supervised process to its end."""
    write_files(plan, run_folder)
    lines, progress = [], []
    with Supervised(
        plan.argv, cwd=plan.cwd, environment=child_environment(plan.environment)
    ) as running:
        for line in running.lines(idle_timeout_s=idle_timeout_s):
            lines.append(line)
            step = trainer.read_line(line)
            if step is not None:
                progress.append(step)
        status = running.wait()
    return Finished(tuple(lines), tuple(progress), status)
