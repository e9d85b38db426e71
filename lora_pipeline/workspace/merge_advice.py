"""What to do about a record that holds an unresolved merge: it depends on what it is."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from lora_pipeline.foundation.errors import MergeConflictError
from lora_pipeline.workspace.layout import RecordPlace, place_of

_ROOTS = ("shared", "projects")


def place_in(path: str) -> RecordPlace | None:
    """Return what a record's path is, wherever the data root lies in it.

    Git names files from the top of the repository, and a workspace may lie below that.
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    for start, part in enumerate(parts):
        place = place_of("/".join(parts[start:])) if part in _ROOTS else None
        if place is not None:
            return place
    return None


def advised(error: MergeConflictError, path: str) -> MergeConflictError:
    """Return the error of an unresolved merge with the way out that fits the kind of record.

    Args:
        error: What reading the file said.
        path: The file, relative to where Git is called.
    """
    steps = way_out(path)
    if steps is None:
        return error
    return MergeConflictError(error.message, hint=steps, source=error.source)


def way_out(path: str) -> str | None:
    """Return the commands that end a conflict in a record, or None when it is no record."""
    place = place_in(path)
    if place is None:
        return None
    file = shlex.quote(path)
    if place.kind == "dataset":
        return (
            f"keep the rule of one side: git checkout --ours -- {file} (or --theirs); then "
            f"{rebuild_command(place)}; then git add {file}"
        )
    if place.kind == "lora":
        return (
            f"keep the history of one side whole: git checkout --ours -- {file} (or --theirs), "
            f"git add {file}; then repeat what the other side did (lora promote, register, …)"
        )
    return (
        f"correct the lines, or keep one side: git checkout --ours -- {file} (or --theirs); "
        f"then lora validate, git add {file}"
    )


def rebuild_command(place: RecordPlace) -> str:
    """Return the command that builds a manifest again."""
    where = (
        f" --project {place.scope.project_id}" if place.scope.project_id else " --scope baseline"
    )
    return f"lora dataset build {place.record_id}{where}"
