"""Make a folder a workspace."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    StateError,
    WorkspaceNotFoundError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.root import Workspace, find_root, open_workspace
from lora_pipeline.workspace.starter import FOLDERS_OF_RECORDS, schema_files, starter_files


def init_workspace(
    folder: str,
    *,
    use_git: bool = True,
    use_lfs: bool = False,
    refresh_schemas: bool = False,
    dry_run: bool = False,
) -> Result:
    """Make a folder a workspace; what is there already stays as it is.

    It has no workspace as its argument, because there is none yet.

    Args:
        folder: Path of the folder; made when it is missing.
        use_git: Whether to make a Git repository where there is none.
        use_lfs: Whether Git LFS is to keep imported images.
        refresh_schemas: Whether to bring ``schemas/`` to this version: they are ours.
        dry_run: Whether to write nothing.

    Raises:
        ArgumentInvalidError: When the folder is a file, or lies inside ``.git``.
        StateError: When it lies inside another workspace.
        RepositoryError: When Git is missing or says no.
        StorageError: When the disk refuses.
    """
    root = Path(folder).expanduser().resolve()
    _require_place(root)
    made_repository = use_git and _make_repository(root, dry_run=dry_run)
    workspace = open_workspace(root, dry_run=dry_run)
    created, kept = _plan(workspace, lfs=use_lfs, refresh_schemas=refresh_schemas)
    changes = Changes(workspace)
    for path, data in created.items():
        changes.write_file(root / path, data)
    written = changes.apply()
    if not dry_run:
        with files.disk_refusals():
            for path in FOLDERS_OF_RECORDS:
                (root / path).mkdir(parents=True, exist_ok=True)
            (workspace.runtime / "cache").mkdir(parents=True, exist_ok=True)  # kept things go there
    return Result(
        data={
            "root": str(root),
            "created": sorted(created),
            "kept": sorted(kept),
            "madeRepository": made_repository,
        },
        reasoning=_reasoning(root, created, kept),
        warnings=_warnings(workspace, kept, lfs=use_lfs),
        suggestions=_next(workspace),
        written=written,
        dry_run=dry_run,
    )


def _require_place(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise ArgumentInvalidError(f"{root} is a file", hint="lora init FOLDER")
    if ".git" in root.parts:
        raise ArgumentInvalidError(
            f"{root} belongs to Git itself", hint="lora init in the folder above .git"
        )
    try:
        outer = find_root(root.parent)
    except WorkspaceNotFoundError:
        return
    raise StateError(
        f"{root} lies inside the workspace {outer}, and one workspace cannot hold another: "
        "commands would not know which of the two is meant",
        hint=f"lora project create ID in {outer}, or choose a folder outside of it",
    )


def _make_repository(root: Path, *, dry_run: bool) -> bool:
    existing = next(folder for folder in (root, *root.parents) if folder.is_dir())
    # A repository that ignores the folder would never hold its records.
    if git.repository_root(existing) is not None and not git.ignored(existing, root / "data"):
        return False
    if not dry_run:
        with files.disk_refusals():
            root.mkdir(parents=True, exist_ok=True)
        git.initialise(root)
    return True


def _plan(
    workspace: Workspace, *, lfs: bool, refresh_schemas: bool
) -> tuple[dict[str, bytes], list[str]]:
    ours = schema_files() if refresh_schemas else {}
    created: dict[str, bytes] = {}
    kept: list[str] = []
    for path, data in starter_files(lfs=lfs).items():
        target = workspace.root / path
        missing = not (target.exists() or target.is_symlink())
        if missing or (path in ours and target.read_bytes() != data):
            created[path] = data
        else:
            kept.append(path)
    return created, kept


def _reasoning(root: Path, created: dict[str, bytes], kept: list[str]) -> str:
    if not created:
        return f"{root.name} is a workspace already; nothing was missing"
    if kept:
        return f"Completed the workspace {root.name}: {len(created)} added, {len(kept)} kept"
    return f"Made the workspace {root.name}"


def _warnings(workspace: Workspace, kept: list[str], *, lfs: bool) -> list[str]:
    warnings = []
    in_git = git.repository_root(workspace.root) is not None
    if ".gitignore" in kept and in_git:
        missing = [
            name
            for name in (".lora/store", "config/local.json")
            if not git.ignored(workspace.root, workspace.root / name)
        ]
        if missing:
            warnings.append(
                "your .gitignore was kept; add to it: .lora/ and config/local.json "
                f"(Git sees {' and '.join(missing)})"
            )
    attributes = workspace.root / ".gitattributes"
    if ".gitattributes" in kept:
        text = attributes.read_text(encoding="utf-8", errors="replace")
        if "eol=lf" not in text:
            warnings.append("your .gitattributes was kept; add to it: *.json text eol=lf")
        if lfs and "filter=lfs" not in text:
            warnings.append(
                "your .gitattributes was kept; add to it: "
                "data/**/files/images/** filter=lfs diff=lfs merge=lfs -text"
            )
    if lfs:
        warnings.append("Git LFS must be installed on each machine: git lfs install")
    return warnings


def _next(workspace: Workspace) -> list[str]:
    suggestions = []
    if git.configured_email(workspace.root) is None:
        suggestions.append("git config user.email you@studio")
    if not workspace.records.project_ids():
        suggestions.append("lora project create my_game")
    else:
        suggestions.append("lora status")
    return suggestions
