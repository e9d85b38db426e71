"""An environment of its own for a foreign trainer: made whole, or taken away again.

A marker (``installed.json``) is written last. An environment without it is what an interrupted
set-up left, and the next one starts anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.errors import PipelineError, TrainerUnavailableError
from lora_pipeline.foundation.process import Supervised, child_environment, run

Say = Callable[[str], None]
MARKER = "installed.json"
_INSTALL = ("install", "--disable-pip-version-check", "--no-input", "--retries", "1",
            "--timeout", "15")  # fmt: skip
_NO_NETWORK = re.compile(
    r"NewConnectionError|Failed to establish a new connection|name resolution|Connection refused"
    r"|Network is unreachable|ConnectTimeout|Max retries exceeded|ProxyError"
)
_ERROR = re.compile(r"^ERROR: (.+)")
_SILENCE_S = 1800.0
_PACKAGES = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
)
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


class Environment(msgspec.Struct, frozen=True):
    """A virtual environment of a trainer.

    Attributes:
        folder: The trainer's folder below ``.lora/trainers``.
    """

    folder: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.folder / "venv"

    @property
    def programs(self) -> Path:
        """Where its programs stand."""
        return self.venv / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.programs / ("python.exe" if os.name == "nt" else "python")

    @property
    def complete(self) -> bool:
        """Whether a set-up was finished here."""
        return (self.folder / MARKER).is_file() and os.access(self.python, os.X_OK)

    @property
    def left_over(self) -> bool:
        """Whether an interrupted set-up left something here."""
        return self.venv.exists() and not self.complete

    def build(
        self,
        base: Path,
        steps: Sequence[Sequence[str]],
        *,
        cwd: Path | None,
        facts: Callable[[], Mapping[str, Any]],
        say: Say,
    ) -> None:
        """Make the environment and install into it; when that fails, take it away again.

        Args:
            base: Python to make it with.
            steps: What each call of ``pip install`` is given.
            cwd: Folder that relative requirements are meant from.
            facts: Checks what was installed and returns what the marker says of it.
            say: Takes a line about what happens.

        Raises:
            TrainerUnavailableError: When there is no network, or a package cannot be installed.
        """
        self.remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            say(f"making an environment at {self.venv}")
            pip = self._make(base)
            for step in steps:
                self._install(pip, step, cwd=cwd, say=say)
            told = {**facts(), "packages": self._packages()}
            files.write_atomic(self.folder / MARKER, strict_json.dumps(told))
        except BaseException:
            self.remove()
            raise

    def changed(self) -> list[str]:
        """Return which packages are others than were installed; empty when all are as they were.

        Whoever installs something into it by hand changes what the next run computes with.
        """
        try:
            noted = strict_json.load(self.folder / MARKER)
            before = noted["packages"] if isinstance(noted, dict) else {}
            now = self._packages()
        except (PipelineError, LookupError):
            return []
        return [
            f"{name} {before.get(name, 'absent')} → {now.get(name, 'absent')}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]

    def _packages(self) -> dict[str, str]:
        done = run([str(self.python), "-c", _PACKAGES], timeout_s=120)
        if done.status != 0:
            words = done.stderr.strip().splitlines()
            raise TrainerUnavailableError(
                f"{self.python} does not run: {words[-1] if words else 'no message'}"
            )
        told: dict[str, str] = json.loads(done.stdout)
        return told

    def remove(self) -> None:
        """Take the environment away; its marker first, so that no half of it counts."""
        (self.folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(self.venv, ignore_errors=True)

    def _make(self, base: Path) -> list[str]:
        """Make it and return how pip is called for it.

        The pip of ``base`` installs into it, which spares each environment a copy; a Python
        without pip gives the environment its own.
        """
        lent = run([str(base), "-m", "pip", "--version"], timeout_s=60).status == 0
        extra = ["--without-pip"] if lent else []
        done = run([str(base), "-m", "venv", *extra, str(self.venv)], timeout_s=300)
        if done.status != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise TrainerUnavailableError(
                f"{base} cannot make an environment: {words[-1] if words else 'no message'}",
                hint="install its venv module (python3-venv), or name another with --python",
            )
        if lent:
            return [str(base), "-m", "pip", "--python", str(self.python)]
        return [str(self.python), "-m", "pip"]

    def _install(
        self, pip: Sequence[str], what: Sequence[str], *, cwd: Path | None, say: Say
    ) -> None:
        say(f"pip install {' '.join(what)}")
        # Mirrors and indexes are set in variables, and pip is who needs them.
        mirrors = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        said: list[str] = []
        with Supervised(
            [*pip, *_INSTALL, *what],
            cwd=cwd or self.folder,
            environment=child_environment(mirrors),
        ) as running:
            for line in running.lines(idle_timeout_s=_SILENCE_S):
                said.append(line.text)
                if words := _words(line.text):
                    say(words)
            status = running.wait()
        if status != 0:
            raise _refusal(what, said[-200:])


def python_version(python: Path) -> tuple[int, int]:
    """Return the version of a Python.

    Raises:
        TrainerUnavailableError: When it cannot be run.
    """
    hint = "name a Python with --python"
    try:
        done = run([str(python), "-c", _VERSION], timeout_s=60)
    except PipelineError as error:
        raise TrainerUnavailableError(error.message, hint=hint) from error
    major, _, minor = done.stdout.strip().partition(".")
    if done.status != 0 or not (major.isdigit() and minor.isdigit()):
        raise TrainerUnavailableError(f"{python} is no Python that runs", hint=hint)
    return int(major), int(minor)


def _words(line: str) -> str:
    """Return what a line of pip says to somebody who waits, or nothing."""
    if line.startswith("Installing collected packages:"):
        count = line.count(",") + 1
        return f"installing {count} package{'s' if count > 1 else ''}"
    if line.startswith("Collecting "):
        return line.split(" (from ", 1)[0].lower()
    return ""


def _refusal(what: Sequence[str], said: Sequence[str]) -> TrainerUnavailableError:
    if any(_NO_NETWORK.search(line) for line in said):
        return TrainerUnavailableError(
            "cannot reach the package index, nothing was installed",
            hint="try again with a network, or set PIP_INDEX_URL to a mirror",
        )
    errors = [match.group(1) for line in said if (match := _ERROR.match(line))]
    reason = errors[0] if errors else (said[-1] if said else "no message")
    return TrainerUnavailableError(
        f"pip install {' '.join(what)} failed: {reason}", hint="--verbose shows what pip says"
    )
