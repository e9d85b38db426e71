"""Setting up a trainer that is a checkout: the checkout, and a Python for it."""

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
from lora_pipeline.training.trainers.checkout import CheckoutProgram, environment_python
from lora_pipeline.training.trainers.environment import Environment, Say, python_version
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.settings import Settings

_SUGGESTED = (3, 12)


def find_checkout(
    program: CheckoutProgram, folder: Path, settings: Settings, source: str | None
) -> Path | None:
    """Return the checkout to use; None when one has to be fetched.

    Args:
        program: What is set up.
        folder: The trainer's folder below ``.lora/trainers``.
        settings: Settings in force.
        source: Checkout that was named on the command line.

    Raises:
        ArgumentInvalidError: When ``source`` is no checkout.
    """
    if source is not None:
        return _named_checkout(program, Path(source).expanduser().absolute())
    named = settings.text(f"trainers.{program.trainer}.home")
    for home in (Path(named).expanduser() if named else None, folder / program.name):
        found = program.locate(home) if home else None
        if found is not None:
            return found.absolute()
    return None


def fetch_checkout(program: CheckoutProgram, folder: Path, say: Say) -> Path:
    """Clone the program below the trainer's folder and return the checkout.

    Raises:
        TrainerUnavailableError: When it cannot be reached. Nothing is left of it.
    """
    say(f"fetching {program.repository}")
    home = folder / program.name
    try:
        git.clone(program.repository, home)
    except PipelineError as error:
        instead = _with_source(program, "that is there already")
        raise TrainerUnavailableError(
            error.message, hint=instead if isinstance(error, RepositoryError) else None
        ) from error
    found = program.locate(home)
    if found is None:
        raise TrainerUnavailableError(
            f"what was fetched from {program.repository} is no {program.name}"
        )
    return found


def ready_python(
    program: CheckoutProgram,
    checkout: Path | None,
    settings: Settings,
    own: Environment,
    python: str | None,
) -> Path | None:
    """Return a Python that has all that the program imports; None when none is found."""
    candidates: list[Path | None] = [Path(python).expanduser() if python else None]
    if python is None:
        chosen = settings.text(f"trainers.{program.trainer}.python")
        candidates = [
            Path(chosen).expanduser() if chosen else None,
            environment_python(checkout) if checkout else None,
            own.python if own.complete else None,
        ]
    for candidate in candidates:
        if candidate is not None and _has_all(program, candidate):
            return candidate.absolute()
    return None


def build_python(
    program: CheckoutProgram, checkout: Path, own: Environment, python: str | None, say: Say
) -> Path:
    """Install what the program needs into an environment of its own and return its Python.

    Raises:
        TrainerUnavailableError: When that fails; nothing is left of it.
    """
    base = Path(python).expanduser() if python else Path(sys.executable)
    _require_python(program, base)

    def facts() -> Mapping[str, Any]:
        missing = program.missing_modules(own.python)
        if missing:
            raise TrainerUnavailableError(
                f"the requirements of {checkout} did not bring {', '.join(missing)}",
                hint=_with_source(program, "of another version"),
            )
        return {program.marked_as: str(checkout), "version": program.version(checkout)}

    own.build(base, program.steps, cwd=checkout, facts=facts, say=say)
    return own.python


def _named_checkout(program: CheckoutProgram, home: Path) -> Path:
    found = program.locate(home)
    if found is not None:
        return found
    submodule = home / program.name
    if submodule.is_dir() and not any(submodule.iterdir()):
        raise ArgumentInvalidError(
            f"the submodule {submodule} is empty",
            hint=f"git -C {home} submodule update --init",
        )
    raise ArgumentInvalidError(
        f"no {program.name} checkout at {home}: {program.signs} are not there",
        hint=f"git clone {program.repository}, then --source with its folder",
    )


def _require_python(program: CheckoutProgram, python: Path) -> None:
    oldest, newest = program.pythons
    version = python_version(python)
    if oldest <= version and (newest is None or version <= newest):
        return
    wanted = f"{_dotted(oldest)} to {_dotted(newest)}" if newest else f"{_dotted(oldest)} or newer"
    raise TrainerUnavailableError(
        f"{program.name} needs Python {wanted}, {python} is {_dotted(version)}",
        hint=f"lora setup {program.trainer} --python python{_dotted(newest or _SUGGESTED)}",
    )


def _has_all(program: CheckoutProgram, python: Path) -> bool:
    try:
        return not program.missing_modules(python)
    except PipelineError:
        return False


def _with_source(program: CheckoutProgram, which: str) -> str:
    return f"lora setup {program.trainer} --source PATH, with a checkout {which}"


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
