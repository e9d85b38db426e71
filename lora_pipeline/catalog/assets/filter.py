"""Which assets a person means: by id, by words, or all of them. Decides only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

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


class Sieve:
    """Tells, one asset after the other, which are meant, and in the end why none was.

    Args:
        wanted: What was said; ids are for the caller.
        counted: What was left before the first filter: ``neon_city 48``, ``ids 3``.
    """

    def __init__(self, wanted: AssetFilter, counted: Sequence[str]) -> None:
        self._tallies = [_Tally(step) for step in _steps(wanted)]
        self._counted = counted

    def keeps(self, entry: AssetEntry) -> bool:
        """Return whether an asset is meant."""
        return all(tally.keeps(entry) for tally in self._tallies)

    def require_any(self) -> None:
        """Check that something was left.

        Raises:
            SelectionEmptyError: When nothing was; names the filter that left nothing.
        """
        counted = list(self._counted)
        for tally in self._tallies:
            counted.append(f"{tally.step.name} {tally.kept}")
            if not tally.kept:
                raise SelectionEmptyError(
                    f"no asset is left: {tally.step.name} kept 0 of {tally.reached}",
                    hint=_hint(tally.step, sorted(tally.offered)),
                    source=" → ".join(counted),
                )


class _Tally:
    """How many assets reached a filter, how many it kept, and the words that it was offered."""

    def __init__(self, step: _Step) -> None:
        self.step = step
        self.reached, self.kept = 0, 0
        self.offered: set[str] = set()

    def keeps(self, entry: AssetEntry) -> bool:
        self.reached += 1
        if self.step.keeps(entry):
            self.kept += 1
            self.offered.clear()
            return True
        if not self.kept:  # else nobody asks which words there are
            self.offered.update(filter(None, self.step.offered(entry)))
        return False


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


def _hint(step: _Step, offered: Sequence[str]) -> str | None:
    near = next((near for word in step.wanted if (near := did_you_mean(word, offered))), None)
    if near and near not in step.wanted:
        return f"did you mean {near}?"
    return "there are: " + ", ".join(offered[:8]) if offered else None
