"""A finding about a record stands at the record's file."""

from __future__ import annotations

from typing import Any

from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def finding_at(
    workspace: Workspace,
    loaded: Loaded[Any],
    code: str,
    message: str,
    fix: str = "",
    *,
    severity: Severity = "error",
) -> Finding:
    """Return what was noticed about a record."""
    return Finding(code, severity, workspace.relative(loaded.path), message, fix)
