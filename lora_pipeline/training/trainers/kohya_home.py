"""Where sd-scripts and its Python stand on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.process import run
from lora_pipeline.workspace import git
from lora_pipeline.workspace.settings import Settings

# What sd-scripts imports before it looks at its configuration.
MODULES = (
    "torch", "accelerate", "transformers", "diffusers", "safetensors", "toml", "voluptuous",
    "einops", "imagesize", "cv2", "huggingface_hub",
)  # fmt: skip
_VIRTUAL = ("venv", ".venv")
_PROBE = """
import importlib.util, sys
print(sys.version.split()[0])
print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name) is None])
"""


@dataclass(frozen=True)
class Home:
    """An installation of sd-scripts.

    Attributes:
        scripts: Checkout that holds ``train_network.py``.
        python: Python of its environment.
    """

    scripts: Path
    python: Path


def scripts_folder(home: Path) -> Path | None:
    """Return the sd-scripts checkout at ``home``.

    ``home`` is the checkout, or that of kohya_ss, whose submodule ``sd-scripts`` it is.
    """
    for folder in (home, home / "sd-scripts"):
        if (folder / "train_network.py").is_file() and (folder / "library").is_dir():
            return folder
    return None


def environment_python(home: Path) -> Path | None:
    """Return the Python of the environment that a checkout brings, when there is one."""
    programs = ("Scripts/python.exe",) if os.name == "nt" else ("bin/python",)
    for folder in (home, home.parent):
        for name in _VIRTUAL:
            for program in programs:
                path = folder / name / program
                if os.access(path, os.X_OK):
                    return path
    return None


def find_home(settings: Settings) -> Home | str:
    """Return the installation that the settings name, or why there is none."""
    named = settings.text("trainers.kohya_ss.home")
    if named is None:
        return "sd-scripts is not set up on this machine"
    scripts = scripts_folder(Path(named).expanduser())
    if scripts is None:
        return f"trainers.kohya_ss.home is {named}, and no sd-scripts checkout is there"
    chosen = settings.text("trainers.kohya_ss.python")
    python = Path(chosen).expanduser() if chosen else environment_python(scripts)
    if python is None:
        return f"sd-scripts at {scripts} has no Python environment"
    if not os.access(python, os.X_OK):
        return f"the Python of sd-scripts, {python}, is not there"
    return Home(scripts.absolute(), python.absolute())


def missing_modules(python: Path, modules: tuple[str, ...] = MODULES) -> tuple[str, ...]:
    """Return which modules a Python cannot find; nothing is imported.

    Raises:
        ProcessError: When it cannot be run.
        PipelineError: When it fails.
    """
    done = run([str(python), "-c", _PROBE, *modules], timeout_s=60)
    if done.status != 0:
        raise PipelineError(f"{python} does not run: {done.stderr.strip()[-200:]}")
    lines = done.stdout.splitlines()
    return tuple(lines[1].split()) if len(lines) > 1 else ()


def checkout_version(scripts: Path) -> str:
    """Return the commit of a checkout as ``git:<12 digits>``, or ``unknown``."""
    try:
        root = git.repository_root(scripts)
        # A folder inside somebody else's repository has that repository's commit, not its own.
        if root is None or root.resolve() != scripts.resolve():
            return "unknown"
        commit = git.head(scripts)
    except PipelineError:
        return "unknown"
    return f"git:{commit[:12]}" if commit else "unknown"
