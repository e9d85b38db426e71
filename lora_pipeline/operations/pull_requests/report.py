"""Tell a pull request: what changed between two commits, and what the gate says of it now."""

from __future__ import annotations

import shlex

from lora_pipeline.datasets.diff.pictures import pictures_of
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.pull_requests.reporting.gather import gather_report
from lora_pipeline.operations.pull_requests.reporting.markdown import report_markdown
from lora_pipeline.operations.pull_requests.reporting.page import report_page
from lora_pipeline.operations.pull_requests.reporting.view import ReportView
from lora_pipeline.operations.pull_requests.reporting.words import verdict_words
from lora_pipeline.operations.workspace.output_file import HTML, require_output, require_pictures
from lora_pipeline.workspace.git.history import require_repository
from lora_pipeline.workspace.git.moments import moments
from lora_pipeline.workspace.root import Workspace

PICTURES = 300


def report_changes(
    workspace: Workspace, revision: str = "HEAD", *, markdown: bool = False
) -> Result:
    """Tell what changed between two commits, and what the gate says now.

    Args:
        workspace: The workspace.
        revision: ``A..B`` two commits; ``A...B`` a branch from where it parted; one commit is
            compared with the work tree.
        markdown: Whether to add the report as Markdown for a pull request.

    Raises:
        RepositoryError: When there is no repository or no such commit.
    """
    view = _view(workspace, revision)
    data = {"revision": revision, "verdict": verdict_words(view), **view.to_dict()}
    command = f"lora report {shlex.quote(revision)} --html report.html"
    if markdown:
        data["markdown"] = report_markdown(view, command=command)
    return Result(
        data=data,
        reasoning=f"{view.older.label} → {view.newer.label}: {view.headline()}",
        suggestions=() if markdown or view.is_empty else (command,),
    )


def write_report_page(
    workspace: Workspace, revision: str = "HEAD", *, html: str, pictures: int = PICTURES
) -> Result:
    """Write the report as one page of HTML that needs nothing but itself.

    Args:
        workspace: The workspace.
        revision: As ``report_changes`` has it.
        html: The file, in the workspace; only an earlier page is replaced.
        pictures: How many images of datasets are shown at most.

    Raises:
        RepositoryError: When there is no repository or no such commit.
        ArgumentInvalidError, UnsafePathError, StateError: When nothing may be written there.
    """
    require_pictures(pictures)
    path, _ = require_output(workspace, html, (HTML,))
    view = _view(workspace, revision)
    if not workspace.dry_run:
        shown = [pictures_of(workspace, one.view, pictures) for one in view.datasets]
        with disk_refusals():
            write_atomic(path, report_page(view, shown).encode("utf-8", "backslashreplace"))
    return Result(
        data={
            "revision": revision,
            "verdict": verdict_words(view),
            **view.to_dict(),
            "html": workspace.relative(path),
        },
        reasoning=f"{view.older.label} → {view.newer.label}: {view.headline()}",
        written=(workspace.relative(path),),
        dry_run=workspace.dry_run,
    )


def _view(workspace: Workspace, revision: str) -> ReportView:
    root = require_repository(workspace.root)
    return gather_report(workspace, root, *moments(root, revision))
