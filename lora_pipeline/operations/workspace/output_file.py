"""Where a picture or a page may be written that people look at: never over anything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError, UnsafePathError
from lora_pipeline.workspace.root import Workspace

_HEAD_BYTES = 1024
_MOST_PICTURES = 5000


class OutputKind(msgspec.Struct, frozen=True):
    """A kind of file that is made to be looked at.

    Attributes:
        name: What it is, with its article.
        extension: The end of its name.
        starts: What its first bytes are.
        holds: What stands near its beginning.
    """

    name: str
    extension: str
    starts: bytes
    holds: bytes = b""

    def matches(self, head: bytes) -> bool:
        """Return whether a file that starts with ``head`` is of this kind."""
        return head.startswith(self.starts) and self.holds in head


PNG = OutputKind("a PNG", ".png", b"\x89PNG\r\n\x1a\n")
HTML = OutputKind("a page", ".html", b"<!doctype html>", b'content="lora-pipeline ')
WEBP = OutputKind("a WebP", ".webp", b"RIFF", b"WEBP")


def require_output(
    workspace: Workspace, target: str, kinds: Sequence[OutputKind]
) -> tuple[Path, OutputKind]:
    """Return where a file may be written, and what kind its name asks for.

    It stays in the workspace, outside the records, and replaces nothing but an earlier file of
    its kind: agents may name it.

    Args:
        workspace: The workspace.
        target: Relative to the workspace, or absolute and inside it.
        kinds: What can be made.

    Raises:
        ArgumentInvalidError: When its name does not say what it is.
        UnsafePathError: When it leads outside the workspace, or among the records.
        StateError: When something else is there.
    """
    path = (workspace.root / target).resolve()
    kind = next((one for one in kinds if path.suffix.lower() == one.extension), None)
    if kind is None:
        names = " or ".join(one.extension for one in kinds)
        raise ArgumentInvalidError(
            f"{target!r} must end with {names}", hint=f"{target}{kinds[0].extension}"
        )
    example = f"name a file in the workspace, such as {path.name}"
    if not path.is_relative_to(workspace.root):
        raise UnsafePathError(f"{target} leads outside the workspace", hint=example)
    for kept in (workspace.data_root.resolve(), workspace.root / ".git", workspace.root / "config"):
        if path.is_relative_to(kept):
            message = f"{target} would stand in {workspace.relative(kept)}, which is for records"
            raise UnsafePathError(message, hint=example)
    require_replaceable(path, target, kind)
    return path, kind


def require_pictures(pictures: int, most: int = _MOST_PICTURES) -> None:
    """Check how many pictures a page is to show.

    Raises:
        ArgumentInvalidError: When it is less than none, or more than a page can hold.
    """
    if not 0 <= pictures <= most:
        raise ArgumentInvalidError(f"a page shows 0 to {most} pictures, got {pictures}")


def require_replaceable(path: Path, shown: str, kind: OutputKind) -> None:
    """Check that nothing is lost when a file is written.

    Raises:
        StateError: When something of another kind is there.
    """
    if path.is_dir():
        raise StateError(f"{shown} is a folder", hint=f"name a file in it, {kind.extension}")
    if path.exists():
        with path.open("rb") as stream:
            if not kind.matches(stream.read(_HEAD_BYTES)):
                raise StateError(f"{shown} is there and not {kind.name} of ours, it stays as it is")
