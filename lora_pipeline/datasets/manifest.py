"""The manifest: its items, its order, and the digest of what training sees. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from lora_pipeline.catalog.records import Asset
from lora_pipeline.datasets.records import (
    Item,
    LicenseCount,
    Manifest,
    Normalization,
    ProvenanceSummary,
    SplitRule,
)
from lora_pipeline.foundation.canonical import canonical_bytes, digest_of
from lora_pipeline.foundation.errors import RecordInvalidError


def content_hash(items: Iterable[Item], normalization: Normalization, split_rule: SplitRule) -> str:
    """Return ``sha256:…`` over what training sees; ``docs/manifest.md`` has the algorithm.

    The order of the items, ids, paths and times do not matter.

    Raises:
        RecordInvalidError: When an item lacks its SHA-256, as manifests of other tools may.
    """
    return digest_of(hashed_document(items, normalization, split_rule))


def hashed_document(
    items: Iterable[Item], normalization: Normalization, split_rule: SplitRule
) -> dict[str, Any]:
    """Return the document whose canonical form ``content_hash`` is taken over.

    Raises:
        RecordInvalidError: When an item lacks its SHA-256.
    """
    return {
        "items": _in_order_of_digest([_seen(item) for item in items]),
        "normalization": normalization.to_dict(),
        "split": split_rule.to_dict(),
    }


def hash_of_manifest(manifest: Manifest) -> str:
    """Return the content hash that a manifest should state.

    Raises:
        RecordInvalidError: When an item lacks its SHA-256.
    """
    return content_hash(manifest.items, manifest.normalization, manifest.split_rule)


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items as they stand in the file: by asset id, so that a diff has one line each."""
    return tuple(sorted(items, key=lambda item: (item.asset_id, item.variant_id)))


def summarise(assets: Sequence[Asset], items: Sequence[Item]) -> ProvenanceSummary:
    """Return who made the images of ``items`` and under which licences they stand."""
    licenses = Counter(item.license for item in items)
    return ProvenanceSummary(
        authors=_named(asset.provenance.author for asset in assets),
        sources=_named(asset.provenance.source for asset in assets),
        licenses=tuple(
            LicenseCount(license=license_, images=count)
            for license_, count in sorted(licenses.items())
        ),
    )


def _in_order_of_digest(seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len({item["sha256"] for item in seen}) == len(seen):
        return sorted(seen, key=lambda item: str(item["sha256"]))
    # Two items of one digest come from other tools only; their order is fixed all the same.
    return sorted(seen, key=lambda item: (item["sha256"], canonical_bytes(item)))


def _named(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name}))


def _seen(item: Item) -> dict[str, Any]:
    if len(item.sha256) != 64:
        raise RecordInvalidError(
            f"item {item.asset_id} states no SHA-256 of its image",
            hint="lora dataset build ID makes the manifest anew",
        )
    return {
        "caption": item.caption,
        "license": item.license,
        "repeats": item.repeats,
        "sha256": item.sha256,
        "split": item.split,
        "tags": list(item.tags),
    }
