"""mflux-train: LoRA training on Apple silicon (MLX).

Written for mflux 0.24; 0.16 to 0.23 read fewer keys of the same configuration.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError, RecipeInvalidError, RecordError
from lora_pipeline.foundation.process import OutputLine, run
from lora_pipeline.training.failure import explain_failure
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest
from lora_pipeline.training.records import RunError
from lora_pipeline.training.trainers.interface import (
    Collected,
    CollectedFile,
    Continuation,
    Problem,
    TrainingProgress,
)
from lora_pipeline.training.trainers.mflux import config as mflux_config
from lora_pipeline.training.trainers.mflux.checkpoint import (
    checkpoint_zips,
    extract_adapter,
    last_loss,
    move_checkpoint,
)
from lora_pipeline.training.trainers.mflux.models import FAMILIES, choose_model
from lora_pipeline.training.trainers.mflux.user_file import merge_user_file
from lora_pipeline.training.trainers.offline import OFFLINE
from lora_pipeline.workspace.settings import Settings

_SETUP = "lora setup mflux"
PROGRAM = "mflux-train"
# The training's bar has no label; bars of downloads have one.
_BAR = re.compile(r"^\s*\d+%\|[^|]*\|\s*(\d+)/(\d+)\s+\[")
_VERSION = "import importlib.metadata as m; print(m.version('mflux'))"


class MfluxTrainer:
    """The adapter to mflux-train."""

    name = "mflux"
    summary = "mflux on Apple silicon, in an environment of its own"
    architectures = FAMILIES
    starts_program = True
    loads_adapters = False

    def health(self, settings: Settings) -> Problem | None:
        """Return why mflux-train cannot run on this machine, or None when it can."""
        program = find_program(settings)
        if program is None:
            named = settings.text("trainers.mflux.program")
            where = (
                f"trainers.mflux.program is {named}, and no program is there"
                if named
                else ("mflux is not set up on this machine")
            )
            return Problem(where, _SETUP)
        version = self.version(settings)
        try:
            mflux_config.require_recent(mflux_config.parse_version(version))
        except PipelineError as error:
            return Problem(error.message, _SETUP)
        if version == "unknown":
            return Problem(f"{program} does not say its version", _SETUP)
        return None

    def version(self, settings: Settings) -> str:
        """Return the version of mflux, or ``unknown``."""
        program = find_program(settings)
        return "unknown" if program is None else program_version(program)

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what will be run.

        Reads no file but ``request.config_file``; a machine without mflux gets a plan too.

        Raises:
            RecipeInvalidError: When mflux cannot do what was asked for.
            TrainerUnavailableError: When the installed mflux is too old.
        """
        number = mflux_config.parse_version(version)
        mflux_config.require_recent(number)
        full = number is None or number >= mflux_config.FULL
        theirs = _user_file(request.config_file)
        choice = choose_model(request.checkpoint, theirs.get("model"))
        mflux_config.require_trainable(request, full=full)
        ours = mflux_config.train_json(request, choice.model, full=full)
        name = request.config_file.name if request.config_file else ""
        document, warnings = merge_user_file(ours, theirs, name)
        warnings += mflux_config.cautions(request, choice.model, choice.told_by)
        program = find_program(settings)
        if program is None:
            warnings.append(f"mflux-train in the command stands for what {_SETUP} will bring")
        elif number is not None and not full:
            warnings.append(f"mflux {version} uses its own weight decay and limits no gradient")
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=(PlannedFile("train.json", _json(document)),),
            argv=(str(program or PROGRAM), "--config", str(request.run_folder / "train.json")),
            cwd=request.run_folder,
            environment=dict(OFFLINE),
            expected_output=f"output/{request.output_name}.safetensors",
            total_steps=mflux_config.epochs_and_steps(request.recipe, request.data)[1],
            warnings=tuple(warnings),
        )

    def caption_reach(self, request: TrainingRequest, plan: Plan) -> int | None:
        """Return how many tokens of a caption the model's encoder reads."""
        stated = json.loads(plan.files[0].content)["model"]
        return choose_model(request.checkpoint, stated).model.caption_tokens

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that a bar without label tells; mflux prints no loss."""
        bar = _BAR.match(line.text)
        return TrainingProgress(int(bar.group(1)), int(bar.group(2))) if bar else None

    def collect(self, plan: Plan, run_folder: Path) -> Collected:
        """Take the LoRAs out of the run's zips; the final one is that of the last step.

        Raises:
            WeightsRefusedError: When a zip holds no LoRA.
        """
        final, checkpoints, loss = None, list[CollectedFile](), None
        scale = _scale(plan)
        target = run_folder / plan.expected_output
        for step, path in checkpoint_zips(run_folder, mflux_config.OUTPUT_FOLDER):
            loss = last_loss(path)
            if step >= plan.total_steps:
                final = CollectedFile(extract_adapter(path, target, scale=scale))
            elif step > 0:
                kept = target.with_name(f"{target.stem}-step{step:08d}.safetensors")
                checkpoints.append(CollectedFile(extract_adapter(path, kept, scale=scale), step))
        return Collected(final, tuple(checkpoints), loss)

    def carry_over(self, plan: Plan, earlier: Path, run_folder: Path) -> Continuation | None:
        """Copy the sound checkpoints of an interrupted run; mflux goes on from the last one."""
        saved = [
            (step, path)
            for step, path in checkpoint_zips(earlier, mflux_config.OUTPUT_FOLDER)
            if 0 < step < plan.total_steps
        ]
        if not saved:
            return None
        output = run_folder / mflux_config.OUTPUT_FOLDER
        moved = [
            move_checkpoint(path, output / "checkpoints" / path.name, str(output))
            for _, path in saved
        ]
        argv = (plan.argv[0], "--resume", str(moved[-1]))
        return Continuation(saved[-1][0], replace(plan, argv=argv))

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return why a run failed; mflux ends with 0 when its training was stopped."""
        error = explain_failure(lines, status)
        if status == 0 and error.code == "trainer_failed":
            return RunError(
                code="no_output",
                message="mflux ended without an error, and without the last step's checkpoint",
                hint="lora run log shows what it printed",
            )
        return error


MFLUX = MfluxTrainer()


def find_program(settings: Settings) -> Path | None:
    """Return mflux-train: the one that the settings name, else the one on the PATH."""
    named = settings.text("trainers.mflux.program")
    if named is None:
        found = shutil.which(PROGRAM)
        return Path(found) if found else None
    path = Path(named).expanduser()
    return path.absolute() if path.is_file() and os.access(path, os.X_OK) else None


def program_version(program: Path) -> str:
    """Return the version of the mflux that a program belongs to, or ``unknown``."""
    for folder in dict.fromkeys((program.parent, program.resolve().parent)):
        for name in ("python", "python.exe"):
            python = folder / name
            if not os.access(python, os.X_OK):
                continue
            try:
                done = run([str(python), "-c", _VERSION], timeout_s=60)
            except PipelineError:
                continue
            if done.status == 0 and done.stdout.strip():
                return done.stdout.strip()
    return "unknown"


def _user_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    hint = "--trainer-config takes a train.json of mflux (names and values in JSON)"
    try:
        document = strict_json.load(path)
    except RecordError as error:
        raise RecipeInvalidError(error.message, hint=hint) from error
    if not isinstance(document, dict):
        raise RecipeInvalidError(f"{path.name} must hold names and values", hint=hint)
    return document


def _scale(plan: Plan) -> float:
    document = json.loads(plan.files[0].content)
    target = document["lora_layers"]["targets"][0]
    return float(target.get("alpha", target["rank"]) / target["rank"])


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
