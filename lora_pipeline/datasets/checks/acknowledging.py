"""Findings that somebody accepted: which ones an acknowledgement holds for. Decides only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from lora_pipeline.datasets.checks.findings import RULES, CheckFinding
from lora_pipeline.datasets.checks.records import (
    AcknowledgedFinding,
    AcknowledgedImage,
    Acknowledgement,
)

Key = tuple[str, str, str, tuple[str, ...]]


def with_acknowledgements(
    findings: Iterable[CheckFinding], records: Sequence[Acknowledgement], dataset_id: str
) -> list[CheckFinding]:
    """Return findings, each with the acknowledgement that holds for it, where there is one.

    What is said of one image, or of several together, holds wherever these very images are; what
    is said of a set holds for the dataset that it was said of.
    """
    known: dict[Key, list[tuple[AcknowledgedFinding, Acknowledgement]]] = {}
    for record in records:
        for one in record.findings:
            if one.images or record.dataset_id == dataset_id:
                known.setdefault(_key_of_record(one), []).append((one, record))
    return [_with_one(finding, known.get(_key(finding), [])) for finding in findings]


def acknowledged(finding: CheckFinding) -> AcknowledgedFinding:
    """Return what a record says of a finding that somebody accepts."""
    return AcknowledgedFinding(
        code=finding.code,
        subject=finding.subject,
        images=tuple(
            AcknowledgedImage(asset_id=one.asset_id, sha256=one.sha256) for one in finding.pictures
        ),
        caption=finding.caption,
        measured=finding.measured,
        limit=finding.limit,
    )


def _with_one(
    finding: CheckFinding, candidates: Sequence[tuple[AcknowledgedFinding, Acknowledgement]]
) -> CheckFinding:
    holding = [record for one, record in candidates if _is_no_worse(finding, one)]
    if not holding:
        return finding
    return replace(finding, acknowledged=max(holding, key=lambda one: (one.created_at, one.id)))


def _is_no_worse(finding: CheckFinding, accepted: AcknowledgedFinding) -> bool:
    now, then = (_badness(finding.code, one.measured, one.limit) for one in (finding, accepted))
    return now is None or (then is not None and now <= then * 1.000001)


def _badness(code: str, measured: float | None, limit: float | None) -> float | None:
    rule = RULES.get(code)
    if rule is None or rule.grows is None or measured is None or not limit:
        return None
    if rule.grows:
        return measured / limit
    return limit / measured if measured else float("inf")


def _key(finding: CheckFinding) -> Key:
    images = tuple(sorted(one.sha256 for one in finding.pictures))
    # A corner is where it is: the images say the rest. A set is told by its subject.
    return (finding.code, finding.subject, finding.caption, images)


def _key_of_record(one: AcknowledgedFinding) -> Key:
    images = tuple(sorted(image.sha256 for image in one.images))
    return (one.code, one.subject, one.caption, images)
