"""The image of an asset: which version and variant stand for it. Decides only."""

from __future__ import annotations

import msgspec

from lora_pipeline.catalog.records import Asset, ImageIdentity, Spec, Variant, Version
from lora_pipeline.datasets.records import Selection


class Reason(msgspec.Struct, frozen=True):
    """Why an asset is left out.

    Attributes:
        code: Stable slug.
        text: The reason for this asset, in a few words.
        summary: What assets of that reason have in common, for counting them.
    """

    code: str
    text: str
    summary: str


class Candidate(msgspec.Struct, frozen=True):
    """An asset before anything was decided.

    Attributes:
        asset: Its record.
        spec: Its spec, or None when there is no such record.
        barred: Why rights forbid to train on it, or None when they do not.
        license: Licence that it stands under, or empty.
    """

    asset: Asset
    spec: Spec | None
    barred: Reason | None = None
    license: str = ""


class Pick(msgspec.Struct, frozen=True):
    """The image of an asset: its version and variant.

    Attributes:
        asset: Record of the asset.
        spec: Record of its spec.
        version: The last version of the status that was asked for.
        variant: The one that the variant policy prefers.
        tags: Tags of the variant, then of the spec when these count; none twice.
        barred: As the candidate has it.
        license: As the candidate has it.
    """

    asset: Asset
    spec: Spec
    version: Version
    variant: Variant
    tags: tuple[str, ...]
    barred: Reason | None
    license: str

    @property
    def path(self) -> str:
        """Path of the image: the one with alpha, else the original."""
        return self.variant.alpha_path or self.variant.original_path

    @property
    def identity(self) -> ImageIdentity | None:
        """What that image was when it was imported, where the record says it."""
        return self.variant.alpha if self.variant.alpha_path else self.variant.original


def pick_of(candidate: Candidate, rule: Selection) -> Pick | None:
    """Return the image of a candidate, or None without a spec or a version of that status."""
    version = pick_version(candidate.asset, rule.status)
    if candidate.spec is None or version is None:
        return None
    variant = pick_variant(version)
    spec_tags = candidate.spec.tags if rule.include_spec_tags else ()
    return Pick(
        asset=candidate.asset,
        spec=candidate.spec,
        version=version,
        variant=variant,
        tags=tuple(dict.fromkeys((*variant.tags, *spec_tags))),
        barred=candidate.barred,
        license=candidate.license,
    )


def pick_version(asset: Asset, status: str) -> Version | None:
    """Return the last version of that status, or None when there is none."""
    return next((one for one in reversed(asset.versions) if one.status == status), None)


def pick_variant(version: Version) -> Variant:
    """Return the variant to use: primary, else selected, else best rated, else first.

    A rejected one is returned only when all are; what is done then is the filters' business.
    """
    usable = [one for one in version.variants if one.status != "rejected"] or version.variants
    primary = next((one for one in usable if one.id == version.primary_variant_id), None)
    selected = next((one for one in usable if one.status == "selected"), None)
    # max() returns the first of equals, so without ratings this is the first variant.
    return primary or selected or max(usable, key=lambda one: one.rating)
