"""A foreign trainer that is a checkout, with a Python that has what it imports."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.process import run
from lora_pipeline.workspace.settings import Settings

_VIRTUAL = ("venv", ".venv")
_PROBE = """
import importlib.util, sys
print(sys.version.split()[0])
print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name) is None])
"""


class Home(msgspec.Struct, frozen=True):
    """An installation.

    Attributes:
        folder: Checkout that holds the program.
        python: Python of its environment.
    """

    folder: Path
    python: Path


class CheckoutProgram(msgspec.Struct, frozen=True):
    """A program that is a checkout: how it is recognised, and what it needs.

    Attributes:
        trainer: Name of the trainer that starts it.
        name: Its own name, which its folder below ``.lora/trainers`` has too.
        repository: Where it is cloned from.
        modules: What it imports before it looks at its configuration.
        steps: What each call of ``pip install`` is given.
        pythons: Oldest and newest Python that it runs with; None when newer ones do.
        signs: The files that it is recognised by, in words.
        locate: Returns the checkout at a folder; None when there is none.
        version: Returns the version of a checkout, or ``unknown``.
        marked_as: Name that the checkout has in the marker of a finished environment.
    """

    trainer: str
    name: str
    repository: str
    modules: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    pythons: tuple[tuple[int, int], tuple[int, int] | None]
    signs: str
    locate: Callable[[Path], Path | None]
    version: Callable[[Path], str]
    marked_as: str = "checkout"

    def find_home(self, settings: Settings) -> Home | str:
        """Return the installation that the settings name, or why there is none."""
        named = settings.text(f"trainers.{self.trainer}.home")
        if named is None:
            return f"{self.name} is not set up on this machine"
        folder = self.locate(Path(named).expanduser())
        if folder is None:
            return f"trainers.{self.trainer}.home is {named}, and no {self.name} checkout is there"
        chosen = settings.text(f"trainers.{self.trainer}.python")
        python = Path(chosen).expanduser() if chosen else environment_python(folder)
        if python is None:
            return f"{self.name} at {folder} has no Python environment"
        if not os.access(python, os.X_OK):
            return f"the Python of {self.name}, {python}, is not there"
        return Home(folder.absolute(), python.absolute())

    def missing_modules(self, python: Path) -> tuple[str, ...]:
        """Return which of its modules a Python cannot find; nothing is imported.

        Raises:
            ProcessError: When it cannot be run.
            PipelineError: When it fails.
        """
        done = run([str(python), "-c", _PROBE, *self.modules], timeout_s=60)
        if done.status != 0:
            raise PipelineError(f"{python} does not run: {done.stderr.strip()[-200:]}")
        lines = done.stdout.splitlines()
        return tuple(lines[1].split()) if len(lines) > 1 else ()


def environment_python(home: Path) -> Path | None:
    """Return the Python of the environment that a checkout brings, when there is one."""
    program = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    for folder in (home, home.parent):
        for name in _VIRTUAL:
            path = folder / name / program
            if os.access(path, os.X_OK):
                return path
    return None
