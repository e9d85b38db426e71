"""Merging two manifests over their common ancestor: the rule by its settings, items by asset. Pure.

While Git merges, the other branch's images and records are not in the work tree yet. So what
comes out is true to its items (the content hash is computed anew) and says of itself that no
build has confirmed it; the next build does, from the merged assets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.datasets.manifest import hash_of_manifest, in_order
from lora_pipeline.datasets.records import (
    Item,
    LicenseCount,
    Manifest,
    ProvenanceSummary,
    UnconfirmedMerge,
)
from lora_pipeline.datasets.selection import duplicates
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.workspace.merge_documents import (
    Clash,
    Side,
    earlier,
    later,
    members,
    merge_documents,
    words,
)

# Which image it is: mixed from both sides it would name an image that never was.
_IMAGE = (
    "asset_version_id", "variant_id", "path", "sha256", "xxh3", "bytes", "width", "height",
)  # fmt: skip
_WORDS = ("caption", "tags", "license", "split", "repeats")
# Follows from the items, or from the merge itself.
_DERIVED = ("schema", "items", "contentHash", "provenanceSummary", "unconfirmedMerge")
_SHAPE = members(
    createdAt=earlier,
    updatedAt=later,
    provenance=members(),
    selection=members(),
    captionRule=members(),
    normalization=members(),
    splitRule=members(),
)


class MergedManifest(msgspec.Struct, frozen=True):
    """What two manifests came to.

    Attributes:
        manifest: The merged manifest; where the rules clash it has the preferred side's rule.
        clashes: Settings that both sides changed in different ways.
        undecided: Assets whose item both sides changed in different ways; only a build of the
            merged assets can tell which is right.
    """

    manifest: Manifest
    clashes: tuple[Clash, ...]
    undecided: tuple[str, ...]


def merge_manifests(
    base: Manifest | None, ours: Manifest, theirs: Manifest, *, prefer: Side = "ours"
) -> MergedManifest:
    """Return the merged manifest, with the content hash of its items.

    The same three manifests give the same bytes on every machine: no clock is read.

    Args:
        base: The common ancestor; None when both sides made the manifest anew.
        ours: The present side.
        theirs: The other side.
        prefer: Whose setting the result has where the sides clash.

    Raises:
        RecordInvalidError: When the result is no manifest: no item is left, or an item states no
            digest of its image.
    """
    document, clashes = merge_documents(
        _SHAPE, _rule(base), _rule(ours), _rule(theirs), prefer=prefer
    )
    items, undecided = _merge_items(base.items if base else (), ours.items, theirs.items)
    if not items:
        raise RecordInvalidError("no image is left of the two manifests")
    merged = Manifest.from_dict({**document, "items": []})
    merged = replace(merged, items=items, provenance_summary=_summary(base, ours, theirs, items))
    merged = replace(merged, content_hash=hash_of_manifest(merged))
    settled = next((one for one in (ours, theirs) if _says_the_same(one, merged)), None)
    if settled and not undecided:
        times = {"created_at": merged.created_at, "updated_at": merged.updated_at}
        return MergedManifest(replace(settled, **times), clashes, undecided)
    left_open = UnconfirmedMerge(
        ours=ours.content_hash,
        theirs=theirs.content_hash,
        undecided=_still_undecided(undecided, ours, theirs),
    )
    return MergedManifest(replace(merged, unconfirmed_merge=left_open), clashes, undecided)


def _rule(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {}
    return {key: value for key, value in manifest.to_dict().items() if key not in _DERIVED}


def _merge_items(
    base: Sequence[Item], ours: Sequence[Item], theirs: Sequence[Item]
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    before, mine, other = ({item.asset_id: item for item in side} for side in (base, ours, theirs))
    merged: list[Item] = []
    undecided: list[str] = []
    for asset_id in sorted(mine.keys() | other.keys()):
        item, decided = _merge_item(before.get(asset_id), mine.get(asset_id), other.get(asset_id))
        if item is not None:
            merged.append(item)
        if not decided:
            undecided.append(asset_id)
    # Two branches that imported the same art gave it two ids; a build keeps one of them.
    repeats = duplicates(merged, _duplicate_key)
    kept = (item for index, item in enumerate(merged) if index not in repeats)
    return in_order(kept), tuple(undecided)


def _merge_item(
    base: Item | None, ours: Item | None, theirs: Item | None
) -> tuple[Item | None, bool]:
    if theirs in (ours, base):
        return ours, True
    if ours == base:
        return theirs, True
    if ours is None or theirs is None:
        # Gone on one side, changed on the other. It may have been withdrawn: it stays out.
        return None, False
    taken: dict[str, Any] = {}
    decided = True
    for names in (_IMAGE, *((name,) for name in _WORDS)):
        before, mine, other = (_values(item, names) for item in (base, ours, theirs))
        if mine == before and before is not None:
            taken |= dict(zip(names, other or (), strict=True))
        elif other not in (mine, before):
            decided = False
    return replace(ours, **taken), decided


def _values(item: Item | None, names: Iterable[str]) -> tuple[Any, ...] | None:
    return tuple(getattr(item, name) for name in names) if item else None


def _duplicate_key(item: Item) -> tuple[str, ...]:
    # As a build decides, by what training sees; see datasets/build.py.
    return (
        item.sha256 or item.asset_id,
        f"{10_000 - len(item.tags):05}",
        item.caption,
        "\n".join(item.tags),
        item.license,
        item.asset_id,
    )


def _summary(
    base: Manifest | None, ours: Manifest, theirs: Manifest, items: Sequence[Item]
) -> ProvenanceSummary:
    before, mine, other = (
        {name: list(getattr(one.provenance_summary, name)) for name in ("authors", "sources")}
        if one
        else {}
        for one in (base, ours, theirs)
    )
    named, _ = merge_documents(members(default=words), before, mine, other)
    counts = Counter(item.license for item in items)
    return ProvenanceSummary(
        authors=tuple(sorted(named["authors"])),
        sources=tuple(sorted(named["sources"])),
        licenses=tuple(
            LicenseCount(license=license_, images=count)
            for license_, count in sorted(counts.items())
        ),
    )


def _says_the_same(side: Manifest, merged: Manifest) -> bool:
    """Whether the merged manifest claims no more than that side did."""
    other = {"created_at": "", "updated_at": "", "unconfirmed_merge": None}
    summary = {"provenance_summary": merged.provenance_summary}  # follows from the items
    return replace(side, **other, **summary) == replace(merged, **other)


def _still_undecided(undecided: Iterable[str], *sides: Manifest) -> tuple[str, ...]:
    """Return the assets in doubt: of this merge, and of one before that nobody confirmed."""
    earlier_ones = [
        asset_id
        for side in sides
        if side.unconfirmed_merge
        for asset_id in side.unconfirmed_merge.undecided
    ]
    return tuple(sorted({*undecided, *earlier_ones}))
