"""The manifest: its items, its order, and the digest of what training sees. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from lora_pipeline.datasets.records import (
    Item,
    LicenseCount,
    Manifest,
    Normalization,
    ProvenanceSummary,
    SplitRule,
)
from lora_pipeline.foundation.canonical import MAX_EXACT, canonical_bytes
from lora_pipeline.foundation.errors import JsonInvalidError, RecordInvalidError


class _Seen(msgspec.Struct, frozen=True):
    """What training sees of an item. The fields stand in the order of RFC 8785: sorted."""

    caption: str
    license: str
    repeats: int
    sha256: str
    split: str
    tags: tuple[str, ...]


def content_hash(items: Iterable[Item], normalization: Normalization, split_rule: SplitRule) -> str:
    """Return ``sha256:…`` over what training sees; ``docs/manifest.md`` has the algorithm.

    The order of the items, ids, paths and times do not matter.

    Raises:
        RecordInvalidError: When an item lacks its SHA-256, as manifests of other tools may.
        JsonInvalidError: When a text has no canonical form.
    """
    digest = hashlib.sha256(b'{"items":[')
    between = b""
    # Two items of one digest come from other tools only; their order is fixed all the same.
    for _, text in sorted((item.sha256, _canonical(_seen(item))) for item in items):
        digest.update(between)
        digest.update(text)
        between = b","
    digest.update(b'],"normalization":' + canonical_bytes(normalization.to_dict()))
    digest.update(b',"split":' + canonical_bytes(split_rule.to_dict()) + b"}")
    return f"sha256:{digest.hexdigest()}"


def _canonical(seen: _Seen) -> bytes:
    # Of text and whole numbers alone msgspec writes what RFC 8785 asks for, twenty times as fast;
    # a test holds both against each other, character by character.
    try:
        return msgspec.json.encode(seen)
    except UnicodeEncodeError as error:
        raise JsonInvalidError(f"value has no canonical JSON form: {error}") from error


def hash_of_manifest(manifest: Manifest) -> str:
    """Return the content hash that a manifest should state.

    Raises:
        RecordInvalidError: When an item lacks its SHA-256.
    """
    return content_hash(manifest.items, manifest.normalization, manifest.split_rule)


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items as they stand in the file: by asset id, so that a diff has one line each."""
    return tuple(sorted(items, key=lambda item: (item.asset_id, item.variant_id)))


def summarise(
    authors: Iterable[str], sources: Iterable[str], items: Sequence[Item]
) -> ProvenanceSummary:
    """Return who made the images of ``items`` and under which licences they stand."""
    licenses = Counter(item.license for item in items)
    return ProvenanceSummary(
        authors=_named(authors),
        sources=_named(sources),
        licenses=tuple(
            LicenseCount(license=license_, images=count)
            for license_, count in sorted(licenses.items())
        ),
    )


def _named(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name}))


def _seen(item: Item) -> _Seen:
    if len(item.sha256) != 64:
        raise RecordInvalidError(
            f"item {item.asset_id} states no SHA-256 of its image",
            hint="lora dataset build ID makes the manifest anew",
        )
    if not 0 <= item.repeats <= MAX_EXACT:
        raise JsonInvalidError(f"item {item.asset_id} repeats {item.repeats} times")
    return _Seen(item.caption, item.license, item.repeats, item.sha256, item.split, item.tags)
