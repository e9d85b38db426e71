"""What can be wrong with a machine or a workspace before any record is looked at."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lora_pipeline.foundation.files import stale_temporaries
from lora_pipeline.workspace import git
from lora_pipeline.workspace.lock import lock_holder
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.starter import schema_files
from lora_pipeline.workspace.store import open_store

State = Literal["ok", "warn", "fail", "skipped"]
_GIB = 1024**3
_NEEDED_GIT = (2, 28)
_DAY_S = 24 * 3600
_LFS_POINTER = b"version https://git-lfs"
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
    """

    name: str
    state: State
    message: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the check JSON-ready."""
        return {"name": self.name, "state": self.state, "message": self.message, "fix": self.fix}


def machine_checks(folder: Path) -> Iterator[Check]:
    """Yield what can be said of any machine; ``folder`` is where Git and the disk are asked."""
    yield _python()
    yield _git_version()
    yield _git_identity(folder)
    yield _disk("disk", folder)
    yield _disk("temporary folder", Path(tempfile.gettempdir()))
    yield _secrets()


def workspace_checks(workspace: Workspace) -> Iterator[Check]:
    """Yield what can be said of a workspace whose settings could be read."""
    yield Check("workspace", "ok", str(workspace.root))
    yield _store(workspace)
    yield _writable(workspace)
    yield _lock(workspace)
    yield _left_over(workspace)
    yield _editor_schemas(workspace)
    if git.repository_root(workspace.root) is None:
        words = "not in a Git repository: nothing is reviewed, nothing can be committed"
        yield Check("repository", "warn", words, "git init")
        return
    yield _ignored(workspace)
    yield _line_ends(workspace)
    yield _large_files(workspace)
    yield _history(workspace)
    yield _clock(workspace)


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


def _disk(name: str, folder: Path) -> Check:
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


def _store(workspace: Workspace) -> Check:
    root = open_store(workspace).root
    if root.exists() and not (root.is_dir() and os.access(root, os.R_OK | os.W_OK)):
        fix = "set store.root in config/local.json"
        return Check("store", "fail", f"{root} cannot be read and written", fix)
    if not root.exists():
        return Check("store", "ok", f"{root} (made with the first object)")
    place = _disk("store", root)
    return Check("store", place.state, f"{root} · {place.message}", place.fix)


def _writable(workspace: Workspace) -> Check:
    refused = [
        path
        for path in (workspace.root, workspace.data_root, workspace.runtime)
        if path.exists() and not os.access(path, os.W_OK)
    ]
    if refused:
        words = ", ".join(workspace.relative(path) or "." for path in refused)
        return Check("permissions", "fail", f"cannot write {words}", "check who owns it")
    return Check("permissions", "ok", "records and state can be written")


def _lock(workspace: Workspace) -> Check:
    holder = lock_holder(workspace.runtime)
    if holder is None:
        return Check("lock", "ok", "free")
    return Check("lock", "warn", f"held by {holder}", "wait for it to end")


def _left_over(workspace: Workspace) -> Check:
    before = time.time() - _DAY_S
    stale = [path for path in stale_temporaries(workspace.root) if _is_older(path, before)]
    if not stale:
        return Check("left over", "ok", "nothing of interrupted writes")
    first = workspace.relative(stale[0])
    more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
    return Check(
        "left over",
        "warn",
        f"{first}{more}, from writes that were interrupted; nothing names them",
        "delete them",
    )


def _is_older(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime < moment
    except OSError:
        return False  # gone meanwhile


def _editor_schemas(workspace: Workspace) -> Check:
    fix = "lora init --refresh-schemas"
    ours = schema_files()
    missing = [path for path in ours if not (workspace.root / path).is_file()]
    if len(missing) == len(ours):
        return Check("schemas", "skipped", "editors have none here", fix)
    other = [
        path
        for path, data in ours.items()
        if path in missing or (workspace.root / path).read_bytes().replace(b"\r\n", b"\n") != data
    ]
    if other:
        words = f"{len(other)} for editors are of another version of lora"
        return Check("schemas", "warn", words, fix)
    return Check("schemas", "ok", "editors complete and check by this version")


def _ignored(workspace: Workspace) -> Check:
    seen = [
        name
        for name in (".lora/store", "config/local.json")
        if not git.ignored(workspace.root, workspace.root / name)
    ]
    if seen:
        words = f"Git does not ignore {' and '.join(seen)}"
        return Check("gitignore", "fail", words, "add .lora/ and config/local.json to .gitignore")
    return Check("gitignore", "ok", "this machine's state stays out of Git")


def _line_ends(workspace: Workspace) -> Check:
    attributes = workspace.root / ".gitattributes"
    text = attributes.read_text(encoding="utf-8", errors="replace") if attributes.is_file() else ""
    converts = (git.setting(workspace.root, "core.autocrlf") or "false") != "false"
    if "eol=lf" in text:
        return Check("line ends", "ok", "LF on every system")
    if converts:
        words = "core.autocrlf changes records, and .gitattributes does not forbid it"
        return Check("line ends", "fail", words, "add to .gitattributes: *.json text eol=lf")
    words = ".gitattributes does not fix LF: a Windows checkout may change records"
    return Check("line ends", "warn", words, "add to .gitattributes: *.json text eol=lf")


def _large_files(workspace: Workspace) -> Check:
    pointers = [
        path
        for path in workspace.data_root.glob("**/files/images/**/*")
        if path.is_file() and path.stat().st_size < 1024 and _is_pointer(path)
    ]
    if pointers:
        words = f"{len(pointers)} images are Git LFS pointers, not images"
        return Check("git lfs", "warn", words, "git lfs pull")
    attributes = workspace.root / ".gitattributes"
    wanted = attributes.is_file() and b"filter=lfs" in attributes.read_bytes()
    if wanted and shutil.which("git-lfs") is None:
        return Check("git lfs", "fail", ".gitattributes asks for it, it is not installed",
                     "install git-lfs, then git lfs install")  # fmt: skip
    return Check("git lfs", "ok", "all images are here" if wanted else "not used")


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_LFS_POINTER)) == _LFS_POINTER


def _history(workspace: Workspace) -> Check:
    if git.is_shallow(workspace.root):
        words = "the clone is shallow: what was rewritten in the past cannot be seen"
        return Check("history", "warn", words, "git fetch --unshallow")
    return Check("history", "ok", "complete")


def _clock(workspace: Workspace) -> Check:
    committed = git.head_time(workspace.root)
    if committed is not None and committed > time.time() + 300:
        words = "this machine's clock is behind the newest commit"
        return Check("clock", "warn", words, "set the clock")
    return Check("clock", "ok", "not behind the newest commit")
