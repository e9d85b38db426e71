"""Where ai-toolkit and its Python stand on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lora_pipeline.training.trainers.kohya_home import environment_python
from lora_pipeline.workspace.settings import Settings

# What run.py imports before it looks at its job.
MODULES = (
    "torch", "torchaudio", "torchvision", "accelerate", "transformers", "diffusers", "peft",
    "safetensors", "huggingface_hub", "oyaml", "dotenv", "einops", "cv2", "albumentations",
    "lycoris", "optimum",
)  # fmt: skip
_VERSION = re.compile(r"""^VERSION\s*=\s*["']([\w.+-]{1,40})["']""", re.MULTILINE)


@dataclass(frozen=True)
class ToolkitHome:
    """An installation of ai-toolkit.

    Attributes:
        folder: Checkout that holds ``run.py``.
        python: Python of its environment.
    """

    folder: Path
    python: Path


def is_checkout(folder: Path) -> bool:
    """Return whether a folder is a checkout of ai-toolkit."""
    return (folder / "run.py").is_file() and (folder / "toolkit" / "config_modules.py").is_file()


def find_home(settings: Settings) -> ToolkitHome | str:
    """Return the installation that the settings name, or why there is none."""
    named = settings.text("trainers.ai_toolkit.home")
    if named is None:
        return "ai-toolkit is not set up on this machine"
    folder = Path(named).expanduser()
    if not is_checkout(folder):
        return f"trainers.ai_toolkit.home is {named}, and no ai-toolkit checkout is there"
    chosen = settings.text("trainers.ai_toolkit.python")
    python = Path(chosen).expanduser() if chosen else environment_python(folder)
    if python is None:
        return f"ai-toolkit at {folder} has no Python environment"
    if not os.access(python, os.X_OK):
        return f"the Python of ai-toolkit, {python}, is not there"
    return ToolkitHome(folder.absolute(), python.absolute())


def checkout_version(folder: Path) -> str:
    """Return the version that a checkout says of itself, or ``unknown``."""
    try:
        found = _VERSION.search((folder / "version.py").read_text(encoding="utf-8")[:4000])
    except (OSError, ValueError):
        return "unknown"
    return found.group(1) if found else "unknown"
