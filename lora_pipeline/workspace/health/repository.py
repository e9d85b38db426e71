"""What can be wrong with the repository that holds a workspace, and with its disk."""

from __future__ import annotations

import functools
import os
import shutil
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.health.machine import Check
from lora_pipeline.workspace.root import Workspace

_LFS_POINTER = b"version https://git-lfs"
_OURS = (".lora/", "config/local.json")
_LF = "*.json text eol=lf"


def repository_checks(workspace: Workspace) -> Iterator[Check]:
    """Yield what can be said of the repository that a workspace stands in."""
    yield _file_names(workspace)
    if git.repository_root(workspace.root) is None:
        words = "not in a Git repository: nothing is reviewed, nothing can be committed"
        yield Check("repository", "warn", words, "git init")
        return
    yield _ignored(workspace)
    yield _line_ends(workspace)
    yield _large_files(workspace)
    yield _history(workspace)
    yield _clock(workspace)


def _file_names(workspace: Workspace) -> Check:
    """Look at names as they are; nothing is written to find out."""
    if _same_in_other_case(workspace.root):
        words = "this disk takes upper and lower case for the same; two such ids would collide"
        return Check("file names", "ok", words)
    return Check("file names", "ok", "upper and lower case are told apart")


def _same_in_other_case(folder: Path) -> bool:
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names as the disk gives them
        other = unicodedata.normalize("NFC", name).swapcase()
        if other != name and (folder / other).exists():
            return (folder / other).samefile(folder / name)
    return False


def _add_lines(workspace: Workspace, name: str, lines: tuple[str, ...]) -> list[str]:
    path = workspace.root / name
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    missing = [line for line in lines if line not in text.splitlines()]
    if text and not text.endswith("\n"):
        text += "\n"
    changes = Changes(workspace)
    changes.write_file(path, (text + "".join(f"{line}\n" for line in missing)).encode())
    return changes.apply()


def _ignored(workspace: Workspace) -> Check:
    seen = [
        name
        for name in (".lora/store", "config/local.json")
        if not git.ignored(workspace.root, workspace.root / name)
    ]
    if seen:
        words = f"Git does not ignore {' and '.join(seen)}"
        fix = "add .lora/ and config/local.json to .gitignore"
        mend = functools.partial(_add_lines, workspace, ".gitignore", _OURS)
        return Check("gitignore", "fail", words, fix, mend)
    return Check("gitignore", "ok", "this machine's state stays out of Git")


def _line_ends(workspace: Workspace) -> Check:
    attributes = workspace.root / ".gitattributes"
    text = attributes.read_text(encoding="utf-8", errors="replace") if attributes.is_file() else ""
    converts = (git.setting(workspace.root, "core.autocrlf") or "false") != "false"
    if "eol=lf" in text:
        return Check("line ends", "ok", "LF on every system")
    fix = f"add to .gitattributes: {_LF}"
    mend = functools.partial(_add_lines, workspace, ".gitattributes", (_LF,))
    if converts:
        words = "core.autocrlf changes records, and .gitattributes does not forbid it"
        return Check("line ends", "fail", words, fix, mend)
    words = ".gitattributes does not fix LF: a Windows checkout may change records"
    return Check("line ends", "warn", words, fix, mend)


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
