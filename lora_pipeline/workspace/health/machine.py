"""What can be wrong with a machine before any workspace is looked at."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lora_pipeline.workspace.git import repository as git

State = Literal["ok", "warn", "fail", "skipped"]
_GIB = 1024**3
_NEEDED_GIT = (2, 28)
# Their values are never looked at.
_SECRET_NAMES = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "REPLICATE_API_TOKEN", "FAL_KEY", "RUNPOD_API_KEY",
    "WANDB_API_KEY", "AWS_ACCESS_KEY_ID", "AZURE_STORAGE_KEY", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What, in a word or two.
        state: ``fail`` keeps something from working, ``warn`` may, ``skipped`` was not looked
            at and says why.
        message: What was found.
        fix: The command or step that mends it, or empty.
        mend: Mends it, where that is safe, and returns the paths that it changed; else None.
    """

    name: str
    state: State
    message: str
    fix: str = ""
    mend: Callable[[], list[str]] | None = field(default=None, compare=False, repr=False)

    @property
    def code(self) -> str:
        """A stable slug: the name with underscores."""
        return self.name.replace(" ", "_")

    def to_dict(self) -> dict[str, Any]:
        """Return the check JSON-ready."""
        return {
            "code": self.code,
            "name": self.name,
            "state": self.state,
            "message": self.message,
            "fix": self.fix,
            "fixable": self.mend is not None and self.state != "ok",
        }


def machine_checks(folder: Path) -> Iterator[Check]:
    """Yield what can be said of any machine; ``folder`` is where Git and the disk are asked."""
    yield _python()
    yield _git_version()
    yield _git_identity(folder)
    yield disk_check("disk", folder)
    yield disk_check("temporary folder", Path(tempfile.gettempdir()))
    yield _secrets()


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Check("python", "ok", found)
    return Check("python", "warn", f"{found}; tested with 3.11 to 3.14", "use Python 3.11 to 3.14")


def _git_version() -> Check:
    found = git.version()
    if found is None:
        return Check("git", "fail", "not installed", "install git")
    words = ".".join(map(str, found))
    if found < _NEEDED_GIT:
        needed = ".".join(map(str, _NEEDED_GIT))
        return Check("git", "fail", f"{words}; {needed} or newer is needed", "update git")
    return Check("git", "ok", words)


def _git_identity(folder: Path) -> Check:
    missing = [key for key in ("user.name", "user.email") if git.setting(folder, key) is None]
    if not missing:
        return Check("identity", "ok", str(git.setting(folder, "user.email")))
    return Check(
        "identity",
        "warn",
        f"Git has no {' and no '.join(missing)}: approvals and commits need them",
        " && ".join(f"git config --global {key} …" for key in missing),
    )


def disk_check(name: str, folder: Path) -> Check:
    """Return how much room a disk has."""
    place = next(one for one in (folder, *folder.parents) if one.is_dir())
    free = shutil.disk_usage(place).free
    words = f"{free / _GIB:.1f} GiB free at {place}"
    if free < 0.2 * _GIB:
        return Check(name, "fail", words, "free disk space")
    if free < 5 * _GIB:
        return Check(name, "warn", f"{words}; training writes gigabytes", "free disk space")
    return Check(name, "ok", words)


def _secrets() -> Check:
    present = [name for name in _SECRET_NAMES if os.environ.get(name)]
    words = f"set: {', '.join(present)}" if present else "none set"
    return Check("secrets", "ok", f"{words} (names only; values are not looked at)")
