"""Git's own merge of lines, for what cannot be merged by meaning."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lora_pipeline.foundation.errors import RepositoryError
from lora_pipeline.workspace.git.call import call, reason_in

_MOST_CONFLICTS = 127  # what Git says of more


def merge_lines(
    base: bytes, ours: bytes, theirs: bytes, *, labels: tuple[str, str], marker_size: int = 7
) -> tuple[bytes, bool]:
    """Return the lines of both sides merged, and whether no conflict is left in them.

    Args:
        base: The common ancestor.
        ours: The present side.
        theirs: The other side.
        labels: What the two sides are called in the marks of a conflict.
        marker_size: How long these marks are.

    Raises:
        RepositoryError: When Git says no, such as for bytes that are no text.
    """
    with tempfile.TemporaryDirectory(prefix="lora-merge-") as folder:
        paths = []
        for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
            path = Path(folder, name)
            path.write_bytes(data)
            paths.append(str(path))
        mine, other = (label.replace("\n", " ") or "side" for label in labels)
        names = ("-L", mine, "-L", "base", "-L", other)
        options = ("--stdout", "--quiet", f"--marker-size={marker_size}")
        done = call(Path(folder), "merge-file", *options, *names, "--", *paths)
    if not 0 <= done.status <= _MOST_CONFLICTS:
        raise RepositoryError(f"git merge-file failed: {reason_in(done.stderr)}")
    return done.output, done.status == 0
