"""How a command names a manifest that is not where people are."""

from __future__ import annotations

from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace


def with_place(workspace: Workspace, scope: Scope, command: str) -> str:
    """Return a command with the options that it needs to find a manifest of that scope."""
    if scope == SHARED:
        return f"{command} --scope baseline"
    if len(workspace.records.project_ids()) > 1 and scope.project_id != workspace.settings.text(
        "project"
    ):
        return f"{command} --project {scope.project_id}"
    return command
