"""kohya-ss/sd-scripts, started through ``accelerate launch``.

Written for sd-scripts 0.10 and for kohya_ss, which carries it as the submodule ``sd-scripts``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from lora_pipeline.foundation.errors import PipelineError, RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.foundation.strict_json import read_bytes
from lora_pipeline.training.failure import explain_failure
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest
from lora_pipeline.training.records import RunError
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.checkout import Home
from lora_pipeline.training.trainers.interface import (
    Collected,
    CollectedFile,
    Continuation,
    Problem,
    TrainingProgress,
)
from lora_pipeline.training.trainers.kohya import captions as kohya_captions
from lora_pipeline.training.trainers.kohya import config as kohya_config
from lora_pipeline.training.trainers.kohya import resume as kohya_resume
from lora_pipeline.training.trainers.kohya.families import ALSO_CALLED, FAMILIES, Family
from lora_pipeline.training.trainers.kohya.home import SD_SCRIPTS
from lora_pipeline.training.trainers.kohya.limits import cautions, require_trainable
from lora_pipeline.training.trainers.kohya.options import check_extra_arguments, merge_user_file
from lora_pipeline.training.trainers.kohya.toml import Value
from lora_pipeline.training.trainers.offline import OFFLINE
from lora_pipeline.workspace.settings import Settings

_SETUP = "lora setup kohya_ss"
# Stands for what is not installed in a plan that is only looked at.
_NOWHERE = Home(Path("sd-scripts"), Path("python"))
# ``steps:`` alone is the training's bar; latents, samples and validation draw bars of their own.
_BAR = re.compile(r"^steps:\s+\d+%\|[^|]*\|\s*(\d+)/(\d+)\s+\[([^\]]*)")
_NO_TOKENIZER = "in _load_tokenizer"
_LOSS = re.compile(r"avr_loss=([0-9.eE+-]+)")


class KohyaTrainer:
    """The adapter to sd-scripts."""

    name = "kohya_ss"
    summary = "kohya-ss/sd-scripts in an environment of its own"
    architectures = tuple(FAMILIES)
    starts_program = True
    loads_adapters = False

    def health(self, settings: Settings) -> Problem | None:
        """Return why sd-scripts cannot run on this machine, or None when it can."""
        home = SD_SCRIPTS.find_home(settings)
        if isinstance(home, str):
            return Problem(home, _SETUP)
        try:
            missing = SD_SCRIPTS.missing_modules(home.python)
        except PipelineError as error:
            return Problem(error.message, _SETUP)
        if missing:
            return Problem(f"the Python of sd-scripts lacks {', '.join(missing)}", _SETUP)
        return None

    def version(self, settings: Settings) -> str:
        """Return the commit of sd-scripts, or ``unknown``."""
        home = SD_SCRIPTS.find_home(settings)
        return "unknown" if isinstance(home, str) else SD_SCRIPTS.version(home.folder)

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what will be run.

        Reads no file but ``request.config_file``; a machine without sd-scripts gets a plan too.

        Raises:
            RecipeInvalidError: When sd-scripts cannot do what was asked for.
        """
        family = _family(request)
        launcher, script = split_extra_arguments(request.extra_arguments)
        check_extra_arguments(script)
        cpu = settings.text("trainers.kohya_ss.device") == "cpu" or "--cpu" in launcher
        require_trainable(request, family, cpu=cpu)
        tokenizers = settings.text("trainers.kohya_ss.tokenizerCache")
        options = kohya_config.run_options(request, family, tokenizer_cache=tokenizers)
        options, warnings = _with_user_file(options, request.config_file, family.script)
        found = SD_SCRIPTS.find_home(settings)
        home = _NOWHERE if isinstance(found, str) else found
        warnings += cautions(request, family, tokenizer_cache=tokenizers is not None)
        if isinstance(found, str):
            warnings.append(
                f"python and sd-scripts in the command stand for what {_SETUP} will bring"
            )
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=_files(request, options, cpu=cpu),
            argv=(
                *_launch(request, settings, home, cpu=cpu), *launcher,
                str(home.folder / family.script),
                "--config_file", str(request.run_folder / "run.toml"), *script,
            ),
            cwd=home.folder,
            environment={
                **OFFLINE,
                "COLUMNS": "400",  # rich would fold log lines, paths too, at 80
                "PYTHONPATH": str(home.folder),
            },
            expected_output=f"{kohya_config.OUTPUT_FOLDER}/{request.output_name}.safetensors",
            total_steps=total_steps(request.recipe, request.data.images_per_epoch),
            warnings=tuple(warnings),
        )  # fmt: skip

    def caption_reach(self, request: TrainingRequest, plan: Plan) -> int | None:
        """Return how many tokens of a caption sd-scripts reads."""
        schnell = "schnell" in request.checkpoint.path.name.lower()
        architecture = request.checkpoint.architecture
        return kohya_captions.caption_reach(plan, architecture, distilled=schnell)

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that a ``steps:`` bar tells."""
        bar = _BAR.match(line.text)
        if bar is None:
            return None
        loss = _LOSS.search(bar.group(3))
        return TrainingProgress(
            int(bar.group(1)), int(bar.group(2)), _number(loss.group(1)) if loss else None
        )

    def collect(self, plan: Plan, run_folder: Path) -> Collected:
        """Return the final weights and those saved at steps, unverified."""
        final = run_folder / plan.expected_output
        saved = tuple(kohya_resume.saves(plan, run_folder))
        return Collected(CollectedFile(final) if _plain(final) else None, saved)

    def carry_over(self, plan: Plan, earlier: Path, run_folder: Path) -> Continuation | None:
        """Copy the last state that an interrupted run saved; sd-scripts goes on from it."""
        return kohya_resume.carry_over(plan, earlier, run_folder)

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return why a run failed; sd-scripts ends with 0 when it found no images."""
        error = explain_failure(lines, status)
        if any("in make_buckets" in line.text for line in lines) and any(
            line.text.startswith("ZeroDivisionError") for line in lines
        ):
            return RunError(
                code="image_unreadable",
                message="sd-scripts could not read one of the images",
                hint="lora dataset verify",
            )
        # Offline, some versions of transformers fail over the path that they did not find.
        told = "Can't load tokenizer" in error.message
        if status != 0 and (told or any(_NO_TOKENIZER in line.text for line in lines)):
            return RunError(
                code="model_unavailable",
                message=error.message if told else "sd-scripts did not find a tokenizer",
                hint="set trainers.kohya_ss.tokenizerCache to a folder that holds it",
            )
        if status == 0 and error.code == "trainer_failed":
            return RunError(
                code="no_output",
                message="sd-scripts ended without an error and without weights",
                hint="lora run log shows what it printed",
            )
        return error


KOHYA_SS = KohyaTrainer()


def split_extra_arguments(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arguments for ``accelerate launch`` and those for the script.

    ``accelerate arguments -- script arguments``; without ``--`` all go to the script.
    """
    if "--" not in arguments:
        return (), tuple(arguments)
    cut = list(arguments).index("--")
    return tuple(arguments[:cut]), tuple(arguments[cut + 1 :])


def _family(request: TrainingRequest) -> Family:
    architecture = request.checkpoint.architecture
    family = FAMILIES.get(architecture)
    if family is None:
        also = ALSO_CALLED.get(architecture)
        raise RecipeInvalidError(
            f"kohya_ss does not train {architecture or 'a checkpoint without architecture'}; "
            f"it trains {', '.join(FAMILIES)}",
            hint=f"say architecture {also} in the checkpoint"
            if also
            else "lora train --trainer diffusers, or --trainer manual for weights made elsewhere",
        )
    return family


def _with_user_file(
    options: dict[str, Value], path: Path | None, script: str
) -> tuple[dict[str, Value], list[str]]:
    if path is None:
        return options, []
    try:
        document = tomllib.loads(read_bytes(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeInvalidError(
            f"{path.name} is no TOML: {error}",
            hint="--trainer-config takes a run file of sd-scripts (names and values in TOML)",
        ) from error
    merged = merge_user_file(options, document, path.name, script)
    return merged.options, list(merged.warnings)


def _files(
    request: TrainingRequest, options: dict[str, Value], *, cpu: bool
) -> tuple[PlannedFile, ...]:
    files = {
        "accelerate.yaml": _accelerate_yaml(request.recipe.mixed_precision, cpu=cpu),
        "dataset.toml": kohya_config.dataset_toml(request),
        "run.toml": kohya_config.run_toml(options),
        **kohya_config.metadata_lists(request.data),
    }
    if "sample_prompts" in options:
        files["sample-prompts.json"] = kohya_config.sample_prompts_json(request.recipe)
    return tuple(PlannedFile(path, content) for path, content in sorted(files.items()))


def _accelerate_yaml(mixed_precision: str, *, cpu: bool) -> str:
    # Without a file of ours accelerate reads whatever its user once configured.
    return (
        "compute_environment: LOCAL_MACHINE\n"
        'distributed_type: "NO"\n'
        f"use_cpu: {'true' if cpu else 'false'}\n"
        f'mixed_precision: "{mixed_precision}"\n'
        "num_machines: 1\n"
        "num_processes: 1\n"
    )


def _launch(
    request: TrainingRequest, settings: Settings, home: Home, *, cpu: bool
) -> tuple[str, ...]:
    own = settings.text("trainers.kohya_ss.accelerateConfig")
    return (
        str(home.python), "-m", "accelerate.commands.launch",
        "--config_file", own or str(request.run_folder / "accelerate.yaml"),
        "--num_processes", "1", "--num_machines", "1",
        "--mixed_precision", request.recipe.mixed_precision,
        "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1",
        *(("--cpu",) if cpu else ()),
    )  # fmt: skip


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
