"""Which assets a person means: by id, by words, or all of them. Decides only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from lora_pipeline.catalog.asset_endings import full_id
from lora_pipeline.catalog.records import Asset, Spec, Variant, Version
from lora_pipeline.foundation.errors import SelectionEmptyError
from lora_pipeline.foundation.ids import did_you_mean


class AssetEntry(msgspec.Struct, frozen=True):
    """An asset with its spec.

    Attributes:
        asset: The asset.
        spec: Its spec, or None when there is no such record.
    """

    asset: Asset
    spec: Spec | None

    @property
    def version(self) -> Version:
        """Its present version: the last one."""
        return self.asset.versions[-1]

    @property
    def variant(self) -> Variant:
        """The image of that version that counts: the primary one, else the first."""
        version = self.version
        primary = [one for one in version.variants if one.id == version.primary_variant_id]
        return (primary or list(version.variants))[0]

    @property
    def title(self) -> str:
        """What it shows."""
        return self.spec.title if self.spec else self.asset.id

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of the image, then of the spec; none twice."""
        return tuple(dict.fromkeys((*self.variant.tags, *(self.spec.tags if self.spec else ()))))


class AssetFilter(msgspec.Struct, frozen=True):
    """What a person said about the assets that are meant; everything said must hold.

    Attributes:
        ids: Ids, or endings of ids that only one asset has.
        tags: All of these.
        asset_types: One of these.
        statuses: One of these.
        titles: One of these; ``*`` stands for anything, case is ignored.
        styles: One of these.
    """

    ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    asset_types: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything was said."""
        return any((self.ids, self.tags, self.asset_types, self.statuses, self.titles, self.styles))


class _Step(msgspec.Struct, frozen=True):
    name: str
    keeps: Callable[[AssetEntry], bool]
    wanted: tuple[str, ...]
    offered: Callable[[AssetEntry], Iterable[str]]


def choose(entries: Sequence[AssetEntry], wanted: AssetFilter, *, where: str) -> list[AssetEntry]:
    """Return the assets that are meant, in the order of their titles.

    Args:
        entries: All assets.
        wanted: What was said.
        where: Whose assets these are, for messages.

    Raises:
        RecordNotFoundError: When an id is not there, or an ending fits several.
        SelectionEmptyError: When nothing is left; names the filter that left nothing.
    """
    if not entries:
        raise SelectionEmptyError(
            f"{where} has no assets", hint="lora asset import DIR --asset-type TYPE"
        )
    left = _by_ids(entries, wanted.ids, where) if wanted.ids else list(entries)
    counted = [f"{where} {len(entries)}"] + ([f"ids {len(left)}"] if wanted.ids else [])
    for step in _steps(wanted):
        kept = [entry for entry in left if step.keeps(entry)]
        counted.append(f"{step.name} {len(kept)}")
        if not kept:
            raise SelectionEmptyError(
                f"no asset is left: {step.name} kept 0 of {len(left)}",
                hint=_hint(step, left),
                source=" → ".join(counted),
            )
        left = kept
    return sorted(left, key=lambda entry: (entry.title.casefold(), entry.asset.id))


def _steps(wanted: AssetFilter) -> list[_Step]:
    every = [
        _Step(
            f"asset type {' or '.join(wanted.asset_types)}",
            lambda entry: entry.spec is not None and entry.spec.asset_type in wanted.asset_types,
            wanted.asset_types,
            lambda entry: [entry.spec.asset_type] if entry.spec else [],
        ),
        _Step(
            f"status {' or '.join(wanted.statuses)}",
            lambda entry: entry.version.status in wanted.statuses,
            wanted.statuses,
            lambda entry: [entry.version.status],
        ),
        _Step(
            f"style {' or '.join(wanted.styles)}",
            lambda entry: entry.spec is not None and entry.spec.style in wanted.styles,
            wanted.styles,
            lambda entry: [entry.spec.style] if entry.spec else [],
        ),
        *[_tag_step(tag) for tag in wanted.tags],
        _Step(
            f"title {' or '.join(wanted.titles)}",
            lambda entry: any(_fits(entry.title, title) for title in wanted.titles),
            wanted.titles,
            lambda entry: [entry.title],
        ),
    ]
    return [step for step in every if step.wanted]


def _tag_step(tag: str) -> _Step:
    return _Step(f"tag {tag}", lambda entry: tag in entry.tags, (tag,), lambda entry: entry.tags)


def _fits(title: str, pattern: str) -> bool:
    # Brackets are letters here: only the two wildcards that everybody knows mean something.
    literal = pattern.casefold().replace("[", "[[]")
    return fnmatchcase(title.casefold(), literal)


def _hint(step: _Step, left: Sequence[AssetEntry]) -> str | None:
    offered = sorted({word for entry in left for word in step.offered(entry) if word})
    near = next((near for word in step.wanted if (near := did_you_mean(word, offered))), None)
    if near and near not in step.wanted:
        return f"did you mean {near}?"
    return "there are: " + ", ".join(offered[:8]) if offered else None


def _by_ids(entries: Sequence[AssetEntry], ids: Sequence[str], where: str) -> list[AssetEntry]:
    by_id = {entry.asset.id: entry for entry in entries}
    chosen: dict[str, AssetEntry] = {}
    for given in ids:
        asset_id = full_id(given, by_id, where)
        chosen[asset_id] = by_id[asset_id]
    return list(chosen.values())
