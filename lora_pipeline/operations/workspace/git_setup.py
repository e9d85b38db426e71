"""Teach Git to show and merge records here by their meaning, and take that back."""

from __future__ import annotations

from typing import Any, Literal

from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.git.drivers import (
    ATTRIBUTES,
    Part,
    attributes_file,
    attributes_found,
    install_settings,
    remove_settings,
    settings_found,
)
from lora_pipeline.workspace.git.history import require_repository
from lora_pipeline.workspace.health.machine import Check
from lora_pipeline.workspace.root import Workspace

_PLACES = {"repository": "this clone (.git/config)", "user": "your user (git config --global)"}


def install_git(
    workspace: Workspace, *, where: Literal["repository", "user"] = "repository"
) -> Result:
    """Set the diff driver and the merge driver of records.

    Git's settings of this clone name the program, which no clone takes over from another; the
    lines in .gitattributes name the files, and are for everybody.

    Args:
        workspace: The workspace.
        where: ``repository`` for this clone, ``user`` for every clone of this user.

    Raises:
        RepositoryError: When there is no repository, or Git says no.
        StorageError: When the disk refuses.
    """
    require_repository(workspace.root)
    settings = [part for part in settings_found(workspace.root, where) if part.state != "ok"]
    attributes = [part for part in attributes_found(workspace) if part.state != "ok"]
    changes = Changes(workspace)
    if attributes:
        changes.write_file(workspace.root / ATTRIBUTES, attributes_file(workspace, attributes))
    written = changes.apply()
    if settings and not workspace.dry_run:
        install_settings(workspace.root, where)
    done = bool(settings or attributes)
    words = "Git shows and merges records by their meaning"
    return Result(
        data={
            "where": where,
            "settings": [part.name for part in settings],
            "attributes": [f"{part.name} {part.wanted}" for part in attributes],
            "replaced": [_replaced(part) for part in (*settings, *attributes) if _asked(part)],
        },
        reasoning=f"{words} in {_PLACES[where]}" if done else f"{words} here already",
        suggestions=("git diff", f"git add {ATTRIBUTES}") if attributes else ("git diff",),
        written=written,
        dry_run=workspace.dry_run,
    )


def uninstall_git(
    workspace: Workspace, *, where: Literal["repository", "user"] = "repository"
) -> Result:
    """Remove the diff driver and the merge driver from Git's settings.

    The lines in .gitattributes stay: they are in Git, other clones may need them, and without
    the settings they do nothing.

    Args:
        workspace: The workspace.
        where: ``repository`` for this clone, ``user`` for every clone of this user.

    Raises:
        RepositoryError: When there is no repository, or Git says no.
    """
    require_repository(workspace.root)
    if workspace.dry_run:
        found = settings_found(workspace.root, where)
        removed = [part.name for part in found if part.found is not None]
    else:
        removed = remove_settings(workspace.root, where)
    return Result(
        data={"where": where, "settings": removed},
        reasoning=f"Git compares and merges records as text again in {_PLACES[where]}"
        if removed
        else f"Nothing of ours was set in {_PLACES[where]}",
        dry_run=workspace.dry_run,
    )


def show_git(workspace: Workspace) -> Result:
    """Say whether Git shows and merges records by their meaning in this clone.

    Raises:
        RepositoryError: When there is no repository.
    """
    require_repository(workspace.root)
    parts = [*settings_found(workspace.root), *attributes_found(workspace)]
    lacking = [part for part in parts if part.state != "ok"]
    return Result(
        data={"parts": [_part(part) for part in parts], "installed": not lacking},
        reasoning="Git shows and merges records by their meaning in this clone"
        if not lacking
        else f"{len(lacking)} of {len(parts)} settings and attributes are missing or others",
        suggestions=() if not lacking else ("lora git install",),
        refusal=Refusal(
            "git_not_set_up",
            "Git compares or merges records as text in this clone",
            "lora git install",
        )
        if lacking
        else None,
    )


def drivers_check(workspace: Workspace) -> Check | None:
    """Return how Git shows and merges records here as a line of a check-up; None without Git."""
    if git.repository_root(workspace.root) is None:
        return None
    settings = {part.state for part in settings_found(workspace.root)}
    fix = "lora git install"
    if settings == {"missing"}:
        words = "Git compares and merges records as text in this clone"
        return Check("git drivers", "skipped", words, fix)
    if settings != {"ok"}:
        words = "Git's settings name another program, or an older version of it"
        return Check("git drivers", "warn", words, fix)
    if any(part.state != "ok" for part in attributes_found(workspace)):
        return Check("git drivers", "warn", ".gitattributes does not ask for them", fix)
    return Check("git drivers", "ok", "records are shown and merged by their meaning")


def _asked(part: Part) -> bool:
    """Whether somebody set it to something else; a line for all files (``*``) does not count."""
    return part.found is not None and ("diff" in part.found or "merge" in part.found)


def _replaced(part: Part) -> dict[str, str]:
    return {"name": part.name, "was": part.found or "", "is": part.wanted}


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "state": part.state,
        "wanted": part.wanted,
        "found": part.found,
    }
