"""What people accepted although a check found it: who, when, why, and of which images."""

from __future__ import annotations

from typing import ClassVar, Literal

from lora_pipeline.foundation.record import Part, Record


class AcknowledgedImage(Part, frozen=True, kw_only=True):
    """An image as it was when somebody accepted it; any other bytes are another image."""

    asset_id: str
    sha256: str


class AcknowledgedFinding(Part, frozen=True, kw_only=True):
    """One finding that was accepted.

    It holds for exactly these images (or, without any, for the set), for this caption where the
    rule is about captions, and as long as the measure is no worse.
    """

    code: str
    subject: str = ""
    images: tuple[AcknowledgedImage, ...] = ()
    caption: str = ""
    measured: float | None = None
    limit: float | None = None


class Acknowledgement(Record, frozen=True, kw_only=True):
    """Findings that a person accepted, with the reason; written once and never again."""

    KIND: ClassVar[str] = "acknowledgement"
    ONE_LINE_EACH: ClassVar[tuple[str, ...]] = ("findings",)

    id: str
    scope: Literal["baseline", "project"]
    created_at: str
    acknowledged_by: str
    reason: str
    findings: tuple[AcknowledgedFinding, ...]
    project_id: str = ""
    dataset_id: str = ""
