"""Whether an asset may be trained on. Decides only."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from lora_pipeline.catalog.records import Asset, ProjectRights

# From then on it is said that a licence ends: time to ask for a longer one, or to train anew.
SOON_DAYS = 30


class Objection(msgspec.Struct, frozen=True):
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


def taken_back(asset: Asset, today: str) -> Objection | None:
    """Return since when an asset must no longer be used, or None when nothing was taken back.

    That is a withdrawal, or a licence or consent whose last day is over.

    Args:
        asset: The asset.
        today: The present time or date, as records hold it.
    """
    stated = asset.rights
    if stated.withdrawn_at:
        why = f": {stated.reason}" if stated.reason else ""
        return Objection("withdrawn", f"withdrawn on {stated.withdrawn_at[:10]}{why}", "withdrawn")
    if stated.expires_on and stated.expires_on < today[:10]:
        return Objection("expired", f"its licence ended on {stated.expires_on}", "expired")
    return None


def taken_back_since(asset: Asset) -> str:
    """Return the moment from which an asset must no longer be used, or an empty string.

    An asset whose licence ends has one before it has come; withdrawing it later changes nothing
    about when it began.
    """
    stated = asset.rights
    ended = f"{stated.expires_on}T23:59:59Z" if stated.expires_on else ""
    return min(filter(None, (stated.withdrawn_at, ended)), default="")


def ends_soon(asset: Asset, today: str) -> bool:
    """Return whether the licence of an asset that is in use ends within the next weeks."""
    last, stated = asset.rights.expires_on, asset.rights
    return bool(last) and not stated.withdrawn_at and last <= days_after(today, SOON_DAYS)[:10]


def days_after(moment: str, days: int) -> str:
    """Return a moment so many days later, as records hold it.

    Args:
        moment: A time, or a date.
        days: How many.
    """
    later = datetime.fromisoformat(moment) + timedelta(days=days)
    return later.strftime("%Y-%m-%dT%H:%M:%SZ")


def may_train(asset: Asset, rights: ProjectRights) -> Objection | None:
    """Return why an asset may not be trained on, or None when it may.

    A withdrawal weighs most, then a denial, then what the project asks for. No clock decides
    here: that a licence ended is asked with ``taken_back``.
    """
    stated = asset.rights
    if stated.withdrawn_at:
        return taken_back(asset, stated.withdrawn_at)
    if stated.training == "denied":
        why = f": {stated.reason}" if stated.reason else ""
        return Objection("rights_denied", f"training rights denied{why}", "training rights denied")
    if stated.training == "unknown" and rights.unknown_training == "exclude":
        words = "training rights unknown"
        return Objection("rights_unknown", f"{words}, which this project excludes", words)
    return (
        _license_objection(asset, rights)
        or _provenance_objection(asset, rights)
        or _consent_objection(asset, rights)
    )


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


def _consent_objection(asset: Asset, rights: ProjectRights) -> Objection | None:
    if not rights.consent_required or asset.rights.consent:
        return None
    return Objection("consent_missing", "no consent is recorded", "without a recorded consent")
