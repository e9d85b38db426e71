"""Setting up mflux from the package index."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_pipeline.foundation.errors import TrainerUnavailableError
from lora_pipeline.training.trainers.environment import Environment, Say, python_version
from lora_pipeline.training.trainers.mflux.trainer import PROGRAM, program_version

VERSION = "0.24.*"
OLDEST = (3, 11)
_WHOLE = ((f"mflux=={VERSION}",),)
# On Linux mflux asks for MLX's CUDA build, which does not even import without an NVIDIA driver.
_WITHOUT_GPU = (
    ("--no-deps", f"mflux=={VERSION}"),
    (
        "mlx[cpu]==0.32.2", "transformers>=5.5,<6", "huggingface-hub>=1.1.6,<2", "torch",
        "safetensors", "sentencepiece", "tokenizers", "opencv-python", "piexif", "pillow>=13",
        "matplotlib", "fonttools", "platformdirs", "toml", "tqdm", "regex", "requests", "pyyaml",
        "filelock", "hf-transfer", "anyio", "fsspec",
    ),
)  # fmt: skip


def install_steps(platform: str, *, nvidia: bool) -> tuple[tuple[str, ...], ...]:
    """Return what each call of ``pip install`` is given on a machine.

    Raises:
        TrainerUnavailableError: When mflux does not run there.
    """
    if platform == "darwin" or (platform == "linux" and nvidia):
        return _WHOLE
    if platform == "linux":
        return _WITHOUT_GPU
    raise TrainerUnavailableError(
        f"mflux does not run on {platform}: it needs macOS on Apple silicon, or Linux",
        hint="lora train --trainer diffusers, or --trainer kohya_ss",
    )


def steps_for_this_machine() -> tuple[tuple[str, ...], ...]:
    """Return what ``pip install`` is given here.

    Raises:
        TrainerUnavailableError: When mflux does not run here.
    """
    return install_steps(sys.platform, nvidia=shutil.which("nvidia-smi") is not None)


def build_program(own: Environment, python: str | None, say: Say) -> Path:
    """Install mflux into an environment of its own and return mflux-train.

    Raises:
        TrainerUnavailableError: When that fails; nothing is left of it.
    """
    steps = steps_for_this_machine()
    base = Path(python).expanduser() if python else Path(sys.executable)
    version = python_version(base)
    if version < OLDEST:
        raise TrainerUnavailableError(
            f"mflux needs Python 3.11 or newer, {base} is {version[0]}.{version[1]}",
            hint="lora setup mflux --python python3.12",
        )
    program = own.programs / PROGRAM

    def facts() -> Mapping[str, Any]:
        installed = program_version(program)
        if not program.is_file() or installed == "unknown":
            raise TrainerUnavailableError(f"mflux was installed without a working {PROGRAM}")
        return {"program": str(program), "version": installed}

    own.build(base, steps, cwd=None, facts=facts, say=say)
    return program
