"""Setting up ai-toolkit: a checkout, and a Python that has what it imports."""

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
from lora_pipeline.training.trainers.ai_toolkit_home import MODULES, checkout_version, is_checkout
from lora_pipeline.training.trainers.environment import Environment, Say, python_version
from lora_pipeline.training.trainers.kohya_home import environment_python, missing_modules
from lora_pipeline.workspace import git
from lora_pipeline.workspace.settings import Settings

REPOSITORY = "https://github.com/ostris/ai-toolkit"
# The three must be of one build; ai-toolkit imports all of them before it looks at its job.
STEPS = (
    ("torch==2.13.0", "torchvision==0.28.0", "torchaudio==2.11.0"),
    ("--requirement", "requirements.txt"),
)
OLDEST = (3, 10)
_SOURCE = "lora setup ai_toolkit --source PATH, with a checkout that is there already"


def find_checkout(folder: Path, settings: Settings, source: str | None) -> Path | None:
    """Return the checkout to use; None when one has to be fetched.

    Args:
        folder: The trainer's folder below ``.lora/trainers``.
        settings: Settings in force.
        source: Checkout that was named on the command line.

    Raises:
        ArgumentInvalidError: When ``source`` is no checkout.
    """
    if source is not None:
        named = Path(source).expanduser().absolute()
        if is_checkout(named):
            return named
        raise ArgumentInvalidError(
            f"no ai-toolkit checkout at {named}: run.py and toolkit/ are not there",
            hint=f"git clone {REPOSITORY}, then --source with its folder",
        )
    home = settings.text("trainers.ai_toolkit.home")
    for place in (Path(home).expanduser() if home else None, folder / "ai-toolkit"):
        if place is not None and is_checkout(place):
            return place.absolute()
    return None


def fetch_checkout(folder: Path, say: Say) -> Path:
    """Clone ai-toolkit below the trainer's folder and return the checkout.

    Raises:
        TrainerUnavailableError: When it cannot be reached. Nothing is left of it.
    """
    say(f"fetching {REPOSITORY}")
    home = folder / "ai-toolkit"
    try:
        git.clone(REPOSITORY, home)
    except PipelineError as error:
        hint = _SOURCE if isinstance(error, RepositoryError) else None
        raise TrainerUnavailableError(error.message, hint=hint) from error
    if not is_checkout(home):
        raise TrainerUnavailableError(f"what was fetched from {REPOSITORY} is no ai-toolkit")
    return home


def ready_python(
    checkout: Path | None, settings: Settings, own: Environment, python: str | None
) -> Path | None:
    """Return a Python that has all that ai-toolkit imports; None when none is found."""
    if python is not None:
        candidates = [Path(python).expanduser()]
    else:
        chosen = settings.text("trainers.ai_toolkit.python")
        found = [
            Path(chosen).expanduser() if chosen else None,
            environment_python(checkout) if checkout else None,
            own.python if own.complete else None,
        ]
        candidates = [one for one in found if one is not None]
    return next((one.absolute() for one in candidates if _has_all(one)), None)


def build_python(checkout: Path, own: Environment, python: str | None, say: Say) -> Path:
    """Install what ai-toolkit needs into an environment of its own and return its Python.

    Raises:
        TrainerUnavailableError: When that fails; nothing is left of it.
    """
    base = Path(python).expanduser() if python else Path(sys.executable)
    version = python_version(base)
    if version < OLDEST:
        raise TrainerUnavailableError(
            f"ai-toolkit needs Python 3.10 or newer, {base} is {version[0]}.{version[1]}",
            hint="lora setup ai_toolkit --python python3.12",
        )

    def facts() -> Mapping[str, Any]:
        missing = missing_modules(own.python, MODULES)
        if missing:
            raise TrainerUnavailableError(
                f"the requirements of {checkout} did not bring {', '.join(missing)}", hint=_SOURCE
            )
        return {"checkout": str(checkout), "version": checkout_version(checkout)}

    own.build(base, STEPS, cwd=checkout, facts=facts, say=say)
    return own.python


def _has_all(python: Path) -> bool:
    try:
        return not missing_modules(python, MODULES)
    except PipelineError:
        return False
