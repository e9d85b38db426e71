"""Compare two manifests, or one with its past: as data, as Markdown, as a page."""

from __future__ import annotations

import shlex
from typing import Any, Literal

from lora_pipeline.datasets.diff.markdown import difference_markdown
from lora_pipeline.datasets.diff.page import (
    MOST_ROWS,
    difference_section,
    pictured_items,
    rows_left_out,
)
from lora_pipeline.datasets.diff.pictures import pictures_of
from lora_pipeline.datasets.diff.view import DiffView, view_of
from lora_pipeline.datasets.diff.words import headline
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.markup import GENERATOR, element, page
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.operations.datasets.dataset_sides import (
    Sides,
    one_in_git,
    require_one_question,
    two_datasets,
)
from lora_pipeline.operations.workspace.output_file import HTML, require_output, require_pictures
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]
PICTURES = 300


def diff_datasets(
    workspace: Workspace,
    dataset_id: str,
    other_id: str | None = None,
    *,
    git_revision: str | None = None,
    markdown: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Compare two manifests, or one with what it was at a commit.

    Args:
        workspace: The workspace.
        dataset_id: Id or path of the manifest; the older one when two are named.
        other_id: Id or path of the newer one.
        git_revision: Compare the manifest with itself: ``REV`` with the work tree, ``A..B`` two
            commits, ``A...B`` from where they parted; HEAD when neither this nor another
            manifest is named.
        markdown: Whether to add the comparison as Markdown for a pull request.
        project: Project to look in.
        scope: ``baseline`` for shared manifests.

    Raises:
        RecordNotFoundError: When a manifest does not exist, or did not at either commit.
        RepositoryError: When there is no repository or no such commit.
        RecordError: When a manifest is not valid; the message says at which commit.
        ArgumentInvalidError: When both another manifest and a commit are named.
    """
    sides, view = _compared(workspace, dataset_id, other_id, git_revision, project, scope)
    data = _data(sides, view)
    command = _command(workspace, sides)
    if markdown:
        lines = difference_markdown(view, more=f"{command} --json")
        data["markdown"] = "\n".join(lines).rstrip()
    shown = () if view.nothing_changed else (f"{command} --html diff.html",)
    return Result(
        data=data,
        reasoning=_reasoning(view),
        suggestions=() if markdown else shown,
    )


def write_diff_page(
    workspace: Workspace,
    dataset_id: str,
    other_id: str | None = None,
    *,
    html: str,
    git_revision: str | None = None,
    pictures: int = PICTURES,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Write a comparison as one page of HTML that needs nothing but itself.

    Args:
        workspace: The workspace.
        dataset_id: As ``diff_datasets`` has it.
        other_id: Likewise.
        html: The file, in the workspace; only an earlier page is replaced.
        git_revision: As ``diff_datasets`` has it.
        pictures: How many images are shown at most; the page says how many there are.
        project: Project to look in.
        scope: ``baseline`` for shared manifests.

    Raises:
        RecordNotFoundError, RepositoryError, RecordError: As ``diff_datasets`` does.
        ArgumentInvalidError, UnsafePathError, StateError: When nothing may be written there.
    """
    require_pictures(pictures)
    path, _ = require_output(workspace, html, (HTML,))
    sides, view = _compared(workspace, dataset_id, other_id, git_revision, project, scope)
    wanted = len(pictured_items(view))
    missing = 0
    if not workspace.dry_run:
        shown = pictures_of(workspace, view, pictures)
        missing = sum(1 for one in shown.by_digest.values() if one.missing)
        document = page(
            f"{view.name} · {view.before.label} → {view.after.label}",
            difference_section(view, shown),
            element("footer", f"Made by {GENERATOR}. Pictures show what training sees."),
        )
        with disk_refusals():
            write_atomic(path, document.encode("utf-8", "backslashreplace"))
    return Result(
        data={
            **_data(sides, view),
            "html": workspace.relative(path),
            "pictures": min(wanted, pictures),
            "picturesWanted": wanted,
            "picturesMissing": missing,
        },
        reasoning=_reasoning(view),
        warnings=tuple(_warnings(view, wanted, pictures, missing)),
        written=(workspace.relative(path),),
        dry_run=workspace.dry_run,
    )


def _compared(
    workspace: Workspace,
    dataset_id: str,
    other_id: str | None,
    git_revision: str | None,
    project: str | None,
    scope: ScopeName,
) -> tuple[Sides, DiffView]:
    require_one_question(other_id, git_revision)
    if other_id:
        sides = two_datasets(workspace, dataset_id, other_id, project=project, scope=scope)
    else:
        revision = "HEAD" if git_revision is None else git_revision
        sides = one_in_git(workspace, dataset_id, revision, project=project, scope=scope)
    return sides, view_of(sides.name, sides.before, sides.after)


def _data(sides: Sides, view: DiffView) -> dict[str, Any]:
    before, after = view.before.manifest, view.after.manifest
    return {
        "name": view.name,
        "before": before.id if before else None,
        "after": after.id if after else None,
        "gitRevision": sides.revision,
        "contentHashBefore": before.content_hash if before else None,
        "contentHashAfter": after.content_hash if after else None,
        "headline": headline(view),
        **view.to_dict(),
    }


def _reasoning(view: DiffView) -> str:
    told = headline(view).replace("  ", ", ")
    return f"{view.name}, {view.before.label} → {view.after.label}: {told}"


def _command(workspace: Workspace, sides: Sides) -> str:
    if sides.revision is None:
        command = f"lora dataset diff {sides.before.label} {sides.after.label}"
    else:
        command = f"lora dataset diff {sides.name} --git {shlex.quote(sides.revision)}"
    return with_place(workspace, sides.scope, command)


def _warnings(view: DiffView, wanted: int, pictures: int, missing: int) -> list[str]:
    warnings = []
    if wanted > pictures:
        warnings.append(
            f"{pictures} of {wanted} images have their picture on the page (--pictures N)"
        )
    if missing:
        noun = "1 picture is" if missing == 1 else f"{missing} pictures are"
        warnings.append(f"{noun} not here; the page says why")
    left_out = rows_left_out(view)
    if left_out:
        warnings.append(
            f"{left_out} images are not listed on the page, which holds at most {MOST_ROWS} "
            "of a part; --json lists them all"
        )
    return warnings
