"""The lines that a merge leaves in a file when it could not decide: where, and of which sides."""

from __future__ import annotations

import re
import shlex

import msgspec

from lora_pipeline.foundation.errors import MergeConflictError

# Git writes seven of a character, and more around a conflict inside a conflict. None of these
# lines can stand in JSON, nor in YAML at the top, so one alone (half resolved) is enough.
_MARKER = re.compile(rb"^([<|=>])\1{6,}(?:[ \t]([^\r\n]*))?\r?$", re.MULTILINE)
_STARTS = (b"<<<<<<<", b">>>>>>>", b"=======", b"|||||||")


class Markers(msgspec.Struct, frozen=True):
    """What a failed merge left in a file.

    Attributes:
        line: The first such line, counted from 1.
        places: How many conflicts there are; 0 when only a part of one is left.
        ours: What Git calls the present side, such as ``HEAD``; empty when it does not say.
        theirs: What it calls the other side, such as ``feature/art``.
    """

    line: int
    places: int
    ours: str
    theirs: str

    def __str__(self) -> str:
        """Return where it is and which sides differ, in words."""
        if not self.places:
            return f"line {self.line} is what is left of one"
        where = f"at line {self.line}"
        if self.places > 1:
            where = f"in {self.places} places, the first {where}"
        sides = " against ".join(filter(None, [self.ours, self.theirs]))
        return f"{where} ({sides})" if sides else where


def find_markers(data: bytes) -> Markers | None:
    """Return what a merge left in text, or None."""
    if not any(start in data for start in _STARTS):
        return None
    found = list(_MARKER.finditer(data))
    if not found:
        return None
    names = {sign: _name_after(found, sign) for sign in (b"<", b">")}
    opened = sum(1 for match in found if match[1] == b"<")
    closed = sum(1 for match in found if match[1] == b">")
    return Markers(
        line=data.count(b"\n", 0, found[0].start()) + 1,
        places=min(opened, closed),
        ours=names[b"<"],
        theirs=names[b">"],
    )


def conflict_error(data: bytes, name: str) -> MergeConflictError | None:
    """Return the error that names an unresolved merge in text, or None when there is none.

    Args:
        data: The text.
        name: Its file, as the commands in the hint need it.
    """
    markers = find_markers(data)
    if markers is None:
        return None
    file = shlex.quote(name)
    return MergeConflictError(
        f"{name} holds an unresolved merge: {markers}",
        hint=f"keep one side: git checkout --ours -- {file} (or --theirs); then git add {file}",
    )


def _name_after(found: list[re.Match[bytes]], sign: bytes) -> str:
    names = (match[2] for match in found if match[1] == sign and match[2])
    return next(names, b"").decode("utf-8", "replace").strip()
