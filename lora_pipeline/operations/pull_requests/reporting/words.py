"""The words of a report that Markdown and page have in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_pipeline.operations.pull_requests.reporting.view import AssetChanges, ReportView

RULES_HINT = (
    "Policies, suites, presets or settings: a promotion in the same pull request may rest on them."
)
STATUS_WORDS = {"pass": "pass", "fail": "fail", "not_proven": "not proven"}


def verdict_words(view: ReportView) -> str:
    """Return what a reviewer has to know before anything else."""
    if view.findings is None:
        return f"{view.newer.label} is not checked out, so neither gate nor records were checked"
    words = _verdict(view)
    if view.uncommitted:
        noun = "1 file is" if view.uncommitted == 1 else f"{view.uncommitted} files are"
        return f"{words} (the work tree was checked, where {noun} not as committed)"
    return words


def verdict_mark(view: ReportView) -> str:
    """Return how a page marks the verdict: all is well, it is not, or nobody looked."""
    if view.findings is None:
        return ""
    return "went" if view.errors or _refused(view) else "came"


def _refused(view: ReportView) -> list[str]:
    return [
        f"{one['loraId']} {one['releaseId']}"
        for lora in view.loras
        for one in lora.decisions
        if one["active"] and not one["passed"]
    ]


def _verdict(view: ReportView) -> str:
    errors, refused = len(view.errors), _refused(view)
    if refused:
        return f"active without passing the gate: {', '.join(refused)}"
    if errors:
        return f"lora validate finds {errors} error{'' if errors == 1 else 's'}"
    return "every record is valid, and every active release passes its gate"


def decision_words(decision: Mapping[str, Any]) -> str:
    """Return the gate's answer about a release in a few words."""
    refusing = [one for one in decision["conditions"] if one["status"] != "pass"]
    if decision["passed"]:
        return f"passes {decision['policyId']}"
    titles = ", ".join(one["title"] for one in refusing)
    return f"refused by {decision['policyId']}: {titles}"


def asset_words(assets: AssetChanges) -> str:
    """Return what became of assets in one line."""
    parts = [f"{count} {kind}" for kind, count in assets.counts.items()]
    parts += [f"{count} {what}" for what, count in sorted(assets.decisions.items())]
    return " · ".join(parts)
