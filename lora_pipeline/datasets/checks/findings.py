"""What a check of images finds: its codes, how bad each is, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from lora_pipeline.datasets.checks.records import Acknowledgement
from lora_pipeline.foundation.findings import Severity


class Picture(msgspec.Struct, frozen=True):
    """An image that is checked.

    Attributes:
        asset_id: Its asset.
        name: What people call it.
        path: Its path, as records have it.
        sha256: Digest of its bytes.
        tags: Its tags.
        caption: Its caption; empty before there is one.
    """

    asset_id: str
    name: str
    path: str
    sha256: str
    tags: tuple[str, ...] = ()
    caption: str = ""


class Rule(msgspec.Struct, frozen=True):
    """One thing that can be wrong.

    Attributes:
        title: What it is called in reports.
        severity: How bad it is, unless the finding says otherwise.
        fix: What mends it; ``{ids}`` stands for the assets.
        grows: Whether a larger measure is worse; None where nothing is measured.
    """

    title: str
    severity: Severity
    fix: str
    grows: bool | None = None


def _reject(note: str) -> str:
    return f'lora asset reject {{ids}} --note "{note}"'


RULES: dict[str, Rule] = {
    "file_changed": Rule("changed since", "error", "restore the file, or build the dataset again"),
    "file_missing": Rule("file missing", "error", "restore the file, or build the dataset again"),
    "file_not_here": Rule("not here", "not_proven", "git lfs pull, or set assetsRoot"),
    "image_refused": Rule("cannot be read", "error", _reject("cannot be read")),
    "transparent": Rule("nothing to see", "error", _reject("nothing to see"), grows=False),
    "one_colour": Rule("one colour", "error", _reject("one colour")),
    "small": Rule("too small", "warning", "import a larger original", grows=False),
    "blurred": Rule("blurred", "warning", _reject("blurred"), grows=True),
    "enlarged": Rule("enlarged", "warning", _reject("enlarged"), grows=False),
    "jpeg_artefacts": Rule("JPEG artefacts", "warning", _reject("JPEG artefacts")),
    "border": Rule("border", "warning", "crop it and import it again, then {reject}"),
    "extreme_shape": Rule("extreme shape", "warning", _reject("extreme shape"), grows=True),
    "duplicate": Rule("exact duplicates", "error", "lora dataset build"),
    "same_pixels": Rule("same pixels in other bytes", "warning", _reject("same pixels")),
    "near_duplicate": Rule("near-duplicates", "warning", _reject("near-duplicate")),
    "repeated_corner": Rule(
        "same thing in a corner", "warning", "lora asset tag {ids} --add issue:watermark"
    ),
    "odd_colours": Rule("colour profile in doubt", "warning", "export it as sRGB and import it"),
    "location": Rule("says where it was taken", "info", "nothing: staging takes it out"),
    "grey": Rule("grey", "info", "nothing, where that is meant"),
    "few_images": Rule("few images", "warning", "lora asset import DIR", grows=False),
    "fewer_than_recommended": Rule(
        "fewer images than recommended", "info", "lora asset import DIR", grows=False
    ),
    "more_than_recommended": Rule(
        "more images than recommended", "info", "lora dataset build --min-rating 3", grows=True
    ),
    "imbalance": Rule("imbalance", "warning", "lora dataset build --balance {subject}", grows=True),
}
"""Every rule of images by its code. Rules of captions have codes of their own."""


class CheckFinding(msgspec.Struct, frozen=True):
    """One thing that is wrong with one image, with several together, or with the whole set.

    Attributes:
        code: Stable slug.
        severity: How bad it is.
        message: What is wrong, in a few words.
        pictures: The images that it is about; none when it is about the set.
        subject: What it is about when no image says it: a tag group, a corner.
        measured: The measure, where there is one.
        limit: What it is compared with.
        fix: The command or step that mends it.
        caption: The caption that it is about, for rules of captions.
        acknowledged: Who accepted it and why, when somebody did.
    """

    code: str
    severity: Severity
    message: str
    pictures: tuple[Picture, ...] = ()
    subject: str = ""
    measured: float | None = None
    limit: float | None = None
    fix: str = ""
    caption: str = ""
    acknowledged: Acknowledgement | None = None

    @property
    def title(self) -> str:
        """What it is called in reports."""
        rule = RULES.get(self.code)
        return rule.title if rule else self.code.replace("_", " ")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        seen = self.acknowledged
        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "message": self.message,
            "subject": self.subject,
            "assets": [
                {"assetId": one.asset_id, "name": one.name, "sha256": one.sha256}
                for one in self.pictures
            ],
            "measured": self.measured,
            "limit": self.limit,
            "fix": self.fix,
            "acknowledged": seen
            and {"by": seen.acknowledged_by, "at": seen.created_at, "reason": seen.reason},
        }


def found(
    code: str,
    message: str,
    pictures: Sequence[Picture] = (),
    *,
    to_mend: Sequence[Picture] | None = None,
    severity: Severity | None = None,
    subject: str = "",
    measured: float | None = None,
    limit: float | None = None,
) -> CheckFinding:
    """Return a finding of a rule.

    Args:
        code: The rule.
        message: What is wrong.
        pictures: The images that it is about.
        to_mend: Those of them that the fix is about; all when left out.
        severity: When it is not the rule's.
        subject: What it is about when no image says it.
        measured: The measure.
        limit: What it is compared with.
    """
    rule = RULES[code]
    ids = " ".join(one.asset_id for one in (pictures if to_mend is None else to_mend))
    reject = f'lora asset reject {ids} --note "{rule.title}"'
    fix = rule.fix.format(ids=ids, subject=subject, reject=reject)
    return CheckFinding(
        code=code,
        severity=severity or rule.severity,
        message=message,
        pictures=tuple(pictures),
        subject=subject,
        measured=None if measured is None else round(measured, 3),
        limit=None if limit is None else round(limit, 3),
        fix=fix,
    )
