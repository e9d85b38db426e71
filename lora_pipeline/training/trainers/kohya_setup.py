"""Setting up sd-scripts: a checkout, and a Python that has what it imports."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    PipelineError,
    RepositoryError,
    TrainerUnavailableError,
)
from lora_pipeline.training.trainers.environment import Environment, Say, python_version
from lora_pipeline.training.trainers.kohya_home import (
    checkout_version,
    environment_python,
    missing_modules,
    scripts_folder,
)
from lora_pipeline.workspace import git
from lora_pipeline.workspace.settings import Settings

REPOSITORY = "https://github.com/kohya-ss/sd-scripts"
# torch comes first: the requirements leave its choice to the machine.
STEPS = (("torch", "torchvision"), ("--requirement", "requirements.txt"))
OLDEST, NEWEST = (3, 10), (3, 12)


def find_checkout(folder: Path, settings: Settings, source: str | None) -> Path | None:
    """Return the sd-scripts checkout to use; None when one has to be fetched.

    Args:
        folder: The trainer's folder below ``.lora/trainers``.
        settings: Settings in force.
        source: Checkout that was named on the command line.

    Raises:
        ArgumentInvalidError: When ``source`` is no checkout.
    """
    if source is not None:
        return _named_checkout(Path(source).expanduser().absolute())
    named = settings.text("trainers.kohya_ss.home")
    for home in (Path(named).expanduser() if named else None, folder / "sd-scripts"):
        found = scripts_folder(home) if home else None
        if found is not None:
            return found.absolute()
    return None


def fetch_checkout(folder: Path, say: Say) -> Path:
    """Clone sd-scripts below the trainer's folder and return the checkout.

    Raises:
        TrainerUnavailableError: When it cannot be reached. Nothing is left of it.
    """
    say(f"fetching {REPOSITORY}")
    home = folder / "sd-scripts"
    try:
        git.clone(REPOSITORY, home)
    except PipelineError as error:
        raise TrainerUnavailableError(
            error.message,
            hint="lora setup kohya_ss --source PATH, with a checkout that is there already"
            if isinstance(error, RepositoryError)
            else None,
        ) from error
    scripts = scripts_folder(home)
    if scripts is None:
        raise TrainerUnavailableError(f"what was fetched from {REPOSITORY} is no sd-scripts")
    return scripts


def ready_python(
    scripts: Path | None, settings: Settings, own: Environment, python: str | None
) -> Path | None:
    """Return a Python that has all that sd-scripts imports; None when none is found."""
    chosen = settings.text("trainers.kohya_ss.python")
    candidates = (
        Path(python).expanduser() if python else None,
        Path(chosen).expanduser() if chosen and python is None else None,
        environment_python(scripts) if scripts and python is None else None,
        own.python if own.complete and python is None else None,
    )
    for candidate in candidates:
        if candidate is not None and _has_all(candidate):
            return candidate.absolute()
    return None


def build_python(scripts: Path, own: Environment, python: str | None, say: Say) -> Path:
    """Install what sd-scripts needs into an environment of its own and return its Python.

    Raises:
        TrainerUnavailableError: When that fails; nothing is left of it.
    """
    base = Path(python).expanduser() if python else Path(sys.executable)
    version = python_version(base)
    if not OLDEST <= version <= NEWEST:
        raise TrainerUnavailableError(
            f"sd-scripts needs Python {_dotted(OLDEST)} to {_dotted(NEWEST)}, {base} is "
            f"{_dotted(version)}",
            hint=f"lora setup kohya_ss --python python{_dotted(NEWEST)}",
        )

    def facts() -> Mapping[str, Any]:
        missing = missing_modules(own.python)
        if missing:
            raise TrainerUnavailableError(
                f"the requirements of {scripts} did not bring {', '.join(missing)}",
                hint="lora setup kohya_ss --source PATH, with a checkout of another version",
            )
        return {"scripts": str(scripts), "version": checkout_version(scripts)}

    own.build(base, STEPS, cwd=scripts, facts=facts, say=say)
    return own.python


def _named_checkout(home: Path) -> Path:
    found = scripts_folder(home)
    if found is not None:
        return found
    submodule = home / "sd-scripts"
    if submodule.is_dir() and not any(submodule.iterdir()):
        raise ArgumentInvalidError(
            f"the submodule {submodule} is empty",
            hint=f"git -C {home} submodule update --init",
        )
    raise ArgumentInvalidError(
        f"no sd-scripts checkout at {home}: train_network.py and library/ are not there",
        hint=f"git clone {REPOSITORY}, then --source with its folder",
    )


def _has_all(python: Path) -> bool:
    try:
        return not missing_modules(python)
    except PipelineError:
        return False


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
