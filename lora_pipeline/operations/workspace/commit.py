"""Commit what an operation wrote."""

from __future__ import annotations

from msgspec.structs import replace

from lora_pipeline.foundation.errors import RepositoryError
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.git import commit as git_commit
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.root import Workspace


def require_repository(workspace: Workspace) -> None:
    """Check that there is a repository to commit to.

    Raises:
        RepositoryError: When the workspace is in none.
    """
    if git.repository_root(workspace.root) is None:
        raise RepositoryError(
            f"{workspace.root} is not in a Git repository, so nothing can be committed; "
            "nothing was written",
            hint="git init, or leave --commit out",
        )


def commit_written(workspace: Workspace, result: Result) -> Result:
    """Commit exactly what ``result`` says was written and add the commit to its data.

    Raises:
        RepositoryError: When the workspace is not a repository, or Git says no. What was
            written stays written.
    """
    paths = [workspace.root / path for path in result.written if not path.startswith(".lora/")]
    subject = result.reasoning or "Update records"
    commit = git_commit.commit(workspace.root, paths, subject[:1].upper() + subject[1:].rstrip("."))
    return replace(result, data={**result.data, "commit": commit})
