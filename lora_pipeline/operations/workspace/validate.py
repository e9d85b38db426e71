"""Check everything that Git keeps: each record once, what they say of each other, and the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lora_pipeline.foundation.findings import Finding, has_errors
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.workspace.validation.catalogs import catalog_findings
from lora_pipeline.operations.workspace.validation.collect import collect
from lora_pipeline.operations.workspace.validation.content import content_of_records
from lora_pipeline.operations.workspace.validation.forms import form_findings
from lora_pipeline.operations.workspace.validation.images import image_findings
from lora_pipeline.operations.workspace.validation.references import reference_findings
from lora_pipeline.operations.workspace.validation.rights import rights_findings
from lora_pipeline.operations.workspace.validation.surroundings import (
    definition_findings,
    left_over,
    secret_findings,
    weights_in_git,
)
from lora_pipeline.operations.workspace.validation.unfinished import unfinished_findings
from lora_pipeline.operations.workspace.validation.words import word_findings
from lora_pipeline.releases.audit import Strictness, audit_lora
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.policies import require_base
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.root import Workspace

_ORDER = ("error", "not_proven", "warning", "info")


def validate_workspace(
    workspace: Workspace,
    *,
    project: str | None = None,
    require_weights: bool = False,
    require_images: bool = False,
    base: str = "",
) -> Result:
    """Check every record, every reference, and the gate of every active release.

    Nothing is believed: digests are computed anew, pointers must follow from their history, and
    every active release must pass the gate today. What is not on this machine is not proven.

    Args:
        workspace: What is checked.
        project: Check one project and the shared records; else all.
        require_weights: Whether weights of active releases must be on this machine.
        require_images: Whether every image of assets and grids must be, with its digest; what
            grids of active releases show is then measured anew.
        base: The commit that the branch is to be merged into, such as ``origin/main``: HEAD must
            hold its whole history, and what was promoted since must pass its policies too.

    Raises:
        RecordNotFoundError: When the project does not exist.
        RepositoryError: When HEAD does not hold the history of ``base``.
    """
    chosen = project or workspace.project
    if chosen:
        workspace.scope(chosen)
    collection = collect(workspace, chosen)
    records = collection.records
    seen = workspace.reading(records)
    reader = EvidenceReader(seen, records, measure_images=require_images)
    strictness = Strictness(
        weights=require_weights,
        images=require_images,
        base=require_base(workspace, base) if base else "",
    )
    findings = [
        *collection.findings,
        *definition_findings(seen),
        *secret_findings(seen),
        *reference_findings(seen, records),
        *word_findings(seen, records),
        *catalog_findings(seen, records),
        *form_findings(seen, records),
        *content_of_records(seen, records, reader.past),
        *rights_findings(seen, records, reader),
        *image_findings(seen, records, required=require_images),
        *(one for lora in records.everywhere(Lora) for one in audit_lora(reader, lora, strictness)),
        *weights_in_git(seen),
        *left_over(seen, records),
        *unfinished_findings(seen, records),
    ]
    return _result(workspace, _of_project(workspace, findings, chosen), collection.checked)


def _of_project(
    workspace: Workspace, findings: Iterable[Finding], project: str | None
) -> list[Finding]:
    """Keep what is about one project, about shared records, or about the workspace itself."""
    projects = workspace.relative(workspace.data_root / "projects")
    kept = {
        finding: None
        for finding in findings
        if project is None
        or not finding.where.startswith(f"{projects}/")
        or finding.where.startswith(f"{projects}/{project}/")
    }
    return sorted(
        kept, key=lambda one: (_ORDER.index(one.severity), one.where, one.code, one.message)
    )


def _result(workspace: Workspace, findings: list[Finding], checked: int) -> Result:
    counts = Counter(finding.severity for finding in findings)
    facts = {
        "records": checked,
        "errors": counts["error"],
        "notProven": counts["not_proven"],
        "warnings": counts["warning"],
        "findings": [finding.to_dict() for finding in findings],
    }
    words = f"{checked} records checked, {counts['error']} errors"
    if not has_errors(findings):
        return Result(data=facts, reasoning=words, dry_run=workspace.dry_run)
    first = findings[0]
    return Result(
        data=facts,
        reasoning=words,
        refusal=Refusal(
            "validation_failed",
            f"{counts['error']} errors, the first in {first.where}: {first.message}",
            first.fix or None,
        ),
    )
