"""What becomes of an asset when a person decides something about it. Decides only.

Each function returns the changed asset, the same asset when there is nothing to change, or an
``Objection`` when the step is not allowed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lora_pipeline.catalog.records import (
    Asset,
    ProjectRights,
    Rights,
    TrainingRight,
    Variant,
    Version,
    VersionStatus,
)
from lora_pipeline.catalog.rights.training import Objection, may_train


def give_status(
    asset: Asset, status: VersionStatus, *, by: str, at: str, note: str, rights: ProjectRights
) -> Asset | Objection:
    """Give the present version a status.

    An asset that may not be trained on cannot be approved: not when it was withdrawn, and not
    when its training rights are denied.
    """
    version = asset.versions[-1]
    if version.status == status and (not note or version.review_note == note):
        return asset
    if status == "approved":
        objection = may_train(asset, rights)
        if objection is not None and objection.code in ("withdrawn", "rights_denied"):
            return objection
    changed = msgspec.structs.replace(
        version, status=status, reviewed_by=by, reviewed_at=at, review_note=note
    )
    return _with_version(asset, changed, at)


def tag(asset: Asset, *, add: tuple[str, ...], remove: tuple[str, ...], at: str) -> Asset:
    """Add and remove tags of the image that counts; tags that stay keep their order."""
    version = asset.versions[-1]
    primary = version.primary_variant_id or version.variants[0].id

    def retag(variant: Variant) -> Variant:
        if variant.id != primary:
            return variant
        kept = [one for one in variant.tags if one not in remove]
        return msgspec.structs.replace(variant, tags=tuple(dict.fromkeys((*kept, *add))))

    return _with_variants(asset, retag, at)


def rate(asset: Asset, stars: int, *, at: str) -> Asset:
    """Give the image that counts a rating, 0 to 5."""
    version = asset.versions[-1]
    primary = version.primary_variant_id or version.variants[0].id
    return _with_variants(
        asset,
        lambda one: msgspec.structs.replace(one, rating=stars) if one.id == primary else one,
        at,
    )


def withdraw(asset: Asset, *, reason: str, by: str, at: str) -> Asset:
    """Say that an asset must not be trained on from now on; a first withdrawal stands."""
    if asset.rights.withdrawn_at:
        return asset
    rights = msgspec.structs.replace(asset.rights, withdrawn_at=at, withdrawn_by=by, reason=reason)
    return msgspec.structs.replace(asset, rights=rights, updated_at=at)


class Statement(msgspec.Struct, frozen=True):
    """What a person states about the rights in an asset; what is empty stays as it was.

    Attributes:
        training: Whether it may be trained on.
        license: Licence that the right rests on.
        consent: Who consented, and where that is kept.
        expires_on: Last day on which licence or consent hold; ``never`` takes a day away.
        reason: Why.
    """

    training: TrainingRight | None = None
    license: str = ""
    consent: str = ""
    expires_on: str = ""
    reason: str = ""


def state_rights(asset: Asset, stated: Statement, *, at: str) -> Asset | Objection:
    """Say whether an asset may be trained on; what was withdrawn stays withdrawn."""
    before = asset.rights
    if before.withdrawn_at:
        return Objection(
            "withdrawn", f"withdrawn on {before.withdrawn_at[:10]}, which stands", "withdrawn"
        )
    training = stated.training or before.training
    expires_on = "" if stated.expires_on == "never" else stated.expires_on or before.expires_on
    rights = Rights(
        training=training,
        license=stated.license or before.license,
        consent=stated.consent or before.consent,
        expires_on=expires_on,
        reason=stated.reason or (before.reason if training == before.training else ""),
    )
    if rights == before:
        return asset
    return msgspec.structs.replace(asset, rights=rights, updated_at=at)


def _with_variants(asset: Asset, change: Callable[[Variant], Variant], at: str) -> Asset:
    version = asset.versions[-1]
    variants = tuple(change(variant) for variant in version.variants)
    if variants == version.variants:
        return asset
    return _with_version(asset, msgspec.structs.replace(version, variants=variants), at)


def _with_version(asset: Asset, version: Version, at: str) -> Asset:
    versions = (*asset.versions[:-1], version)
    return msgspec.structs.replace(asset, versions=versions, updated_at=at)
