"""Whether an asset may be trained on. Decides only."""

from __future__ import annotations

from dataclasses import dataclass

from lora_pipeline.catalog.records import Asset, ProjectRights


@dataclass(frozen=True)
class Objection:
    """Why an asset may not be trained on.

    Attributes:
        code: Stable slug.
        text: The reason for this asset, in a few words.
        summary: What assets with that reason have in common, for counting them.
    """

    code: str
    text: str
    summary: str


def license_of(asset: Asset) -> str:
    """Return the licence that training on an asset rests on, or an empty string."""
    return asset.rights.license or asset.provenance.license


def may_train(asset: Asset, rights: ProjectRights) -> Objection | None:
    """Return why an asset may not be trained on, or None when it may.

    A withdrawal weighs most, then a denial, then what the project asks for.
    """
    stated = asset.rights
    if stated.withdrawn_at:
        why = f": {stated.reason}" if stated.reason else ""
        return Objection("withdrawn", f"withdrawn on {stated.withdrawn_at[:10]}{why}", "withdrawn")
    if stated.training == "denied":
        why = f": {stated.reason}" if stated.reason else ""
        return Objection("rights_denied", f"training rights denied{why}", "training rights denied")
    if stated.training == "unknown" and rights.unknown_training == "exclude":
        words = "training rights unknown"
        return Objection("rights_unknown", f"{words}, which this project excludes", words)
    return _license_objection(asset, rights) or _provenance_objection(asset, rights)


def _license_objection(asset: Asset, rights: ProjectRights) -> Objection | None:
    if not rights.allowed_licenses:
        return None
    found = license_of(asset)
    if not found:
        return Objection("license_missing", "no licence is recorded", "without a licence")
    # SPDX ids are compared without regard to case.
    if found.casefold() in {allowed.casefold() for allowed in rights.allowed_licenses}:
        return None
    return Objection(
        "license_not_allowed",
        f"licence {found} is not one that this project allows",
        "under a licence that is not allowed",
    )


def _provenance_objection(asset: Asset, rights: ProjectRights) -> Objection | None:
    if not rights.provenance_required:
        return None
    known = {
        "source": asset.provenance.source,
        "author": asset.provenance.author,
        "licence": license_of(asset),
    }
    missing = [name for name, value in known.items() if not value]
    if not missing:
        return None
    return Objection(
        "provenance_missing", f"no {' and no '.join(missing)} recorded", "without provenance"
    )
