"""Findings: what a check noticed, with a stable code, a severity and the way to mend it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Severity = Literal["error", "warning", "info", "not_proven"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that a check noticed.

    Attributes:
        code: Stable slug, such as ``active_release_unproven``.
        severity: ``error`` makes the check fail; ``not_proven`` says that something could not
            be checked here, which is never the same as passed.
        where: The file or thing, relative to the workspace.
        message: What is wrong, in one sentence.
        fix: The command or step that mends it, or empty.
    """

    code: str
    severity: Severity
    where: str
    message: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
            "fix": self.fix,
        }


def has_errors(findings: list[Finding]) -> bool:
    """Return whether one of the findings makes a check fail."""
    return any(finding.severity == "error" for finding in findings)
