"""How Git shows and merges records here: its configuration, and the attributes that ask for it.

The attributes stand in Git and say which files; the configuration belongs to a clone and says
which program. Without the one the other does nothing: Git then compares and merges lines.
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from lora_pipeline.workspace.git.call import call, checked
from lora_pipeline.workspace.root import Workspace

DRIVER = "lora"
ATTRIBUTES = ".gitattributes"
Where = Literal["repository", "user"]
_OPTIONS: dict[Where | None, list[str]] = {
    "repository": ["--local"],
    "user": ["--global"],
    None: [],
}
PartState = Literal["ok", "missing", "other"]

_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
# pattern -> attributes; patterns are relative to the data root, except those without a slash.
_ATTRIBUTES = {
    "**/datasets/*.json": "diff=lora merge=lora",
    "**/loras/*.json": "diff=lora merge=lora",
    "**/catalogs/**/*.json": "diff=lora merge=lora",
    "*.safetensors": "diff=lora -text -merge",
}
_HEADING = "# Readable diffs and merges of records; `lora git install` sets them up in a clone."


class Part(msgspec.Struct, frozen=True):
    """One thing that Git must know.

    Attributes:
        name: The key of a setting, or the pattern of an attribute line.
        wanted: Its value.
        found: What stands there; None when nothing does.
    """

    name: str
    wanted: str
    found: str | None

    @property
    def state(self) -> PartState:
        """Whether it stands there as it should."""
        if self.found is None:
            return "missing"
        return "ok" if self.found == self.wanted else "other"


def settings_wanted() -> dict[str, str]:
    """Return Git's settings by their key, with the program that runs this very process."""
    program = _program()
    return {
        f"diff.{DRIVER}.textconv": _show(program),
        # Cached texts would stand in refs/notes, where stores and searches find old digests.
        f"diff.{DRIVER}.cachetextconv": "false",
        f"diff.{DRIVER}.wordregex": "[^,[:space:]]+",
        f"diff.{DRIVER}.xfuncname": "^image .*$",
        f"merge.{DRIVER}.name": "lora: records by their meaning",
        f"merge.{DRIVER}.driver": _merge(program),
        # Of several ancestors an older one that is whole is better than a mixed one.
        f"merge.{DRIVER}.recursive": "binary",
    }


def settings_found(folder: Path, where: Where | None = None) -> list[Part]:
    """Return every setting of ours with what Git has of it: in one place, or all in all."""
    return [
        Part(key, wanted, _value(folder, key, where)) for key, wanted in settings_wanted().items()
    ]


def attribute_lines(data_root: str) -> dict[str, str]:
    """Return the attributes by their pattern, for records below ``data_root``."""
    prefix = "" if data_root in ("", ".") else f"{data_root.strip('/')}/"
    return {
        (prefix + pattern if "/" in pattern else pattern): values
        for pattern, values in _ATTRIBUTES.items()
    }


def attributes_found(workspace: Workspace) -> list[Part]:
    """Return every attribute line of ours with what really holds for such a file."""
    data_root = workspace.settings.require_text("dataRoot")
    parts = []
    for pattern, values in attribute_lines(data_root).items():
        sample = pattern.replace("**/", "shared/", 1).replace("**/", "").replace("*", "sample")
        wanted = dict(_attribute(word) for word in values.split())
        found = _effective(workspace.root, sample, list(wanted))
        held = values if found == wanted else _words_of(found)
        parts.append(Part(pattern, values, held or None))
    return parts


def attributes_file(workspace: Workspace, missing: list[Part]) -> bytes:
    """Return the .gitattributes of a workspace with lines for ``missing``."""
    path = workspace.root / ATTRIBUTES
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return with_attributes(text, missing).encode()


def with_attributes(text: str, missing: list[Part]) -> str:
    """Return the text of a .gitattributes with lines for ``missing`` at its end, where they win."""
    lines = [f"{part.name} {part.wanted}" for part in missing]
    before = text if not text or text.endswith("\n") else f"{text}\n"
    gap = "\n" if before else ""
    heading = [] if _HEADING in before else [_HEADING]
    return before + gap + "\n".join([*heading, *lines]) + "\n"


def install_settings(folder: Path, where: Where = "repository") -> None:
    """Write Git's settings.

    Raises:
        RepositoryError: When Git says no.
    """
    for key, value in settings_wanted().items():
        checked(folder, "config", *_OPTIONS[where], "--replace-all", "--", key, value)


def remove_settings(folder: Path, where: Where = "repository") -> list[str]:
    """Remove Git's settings and return the keys of those that stood there.

    Raises:
        RepositoryError: When Git says no.
    """
    found = [part.name for part in settings_found(folder, where) if part.found is not None]
    for section in (f"diff.{DRIVER}", f"merge.{DRIVER}"):
        if any(name.startswith(f"{section}.") for name in found):
            checked(folder, "config", *_OPTIONS[where], "--remove-section", section)
    return found


def _program() -> str:
    """Return this program as a shell calls it, wherever Git is called from.

    -P keeps the work tree out of the module search: what stands in it is data, never code.
    """
    python = f"{shlex.quote(sys.executable)} -P -m lora_pipeline"
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if _PACKAGE_ROOT in installed:
        return python
    rest = f"${{PYTHONPATH:+{os.pathsep}$PYTHONPATH}}"
    return f'PYTHONPATH={shlex.quote(str(_PACKAGE_ROOT))}"{rest}" {python}'


def _show(program: str) -> str:
    # A diff must not fail because this program was moved: the file is shown as it is then.
    return f'f() {{ {program} git textconv "$1" 2>/dev/null || cat "$1"; }}; f'


def _merge(program: str) -> str:
    # What it prints says that it ran, which no exit code does: without it Git merges lines.
    return (
        f'f() {{ case "$({program} git merge-driver "$@")" in merged) return 0;; '
        "conflict) return 1;; esac; "
        'git merge-file --marker-size="$4" -L ours -L base -L theirs "$2" "$1" "$3"; }; '
        "f %O %A %B %L %P %X %Y"
    )


def _value(folder: Path, key: str, where: Where | None) -> str | None:
    done = call(folder, "config", *_OPTIONS[where], "--get", "--", key)
    return done.stdout.removesuffix("\n") if done.status == 0 else None


def _attribute(word: str) -> tuple[str, str]:
    if word.startswith("-"):
        return word[1:], "unset"
    name, _, value = word.partition("=")
    return name, value or "set"


def _effective(folder: Path, path: str, names: list[str]) -> dict[str, str]:
    done = checked(folder, "check-attr", "-z", *names, "--", path)
    words = done.stdout.split("\0")
    return {words[at + 1]: words[at + 2] for at in range(0, len(words) - 2, 3)}


def _words_of(found: dict[str, str]) -> str:
    def word(name: str, value: str) -> Iterator[str]:
        if value == "unset":
            yield f"-{name}"
        elif value == "set":
            yield name
        elif value != "unspecified":
            yield f"{name}={value}"

    return " ".join(one for name, value in found.items() for one in word(name, value))
