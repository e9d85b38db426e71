"""Which images a rule chooses, and why each other one is left out. Decides only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from lora_pipeline.catalog.records import Asset
from lora_pipeline.datasets.filters import Filter, candidate_filters, pick_filters
from lora_pipeline.datasets.picks import Candidate, Pick, Reason, pick_of
from lora_pipeline.datasets.records import Selection
from lora_pipeline.foundation.errors import SelectionEmptyError

T = TypeVar("T")


class LeftOut(msgspec.Struct, frozen=True):
    """An asset that is not in the dataset.

    Attributes:
        asset_id: The asset.
        title: What it shows.
        reason: Why it is not in.
        matches: True when it is what was asked for and something bars it.
    """

    asset_id: str
    title: str
    reason: Reason
    matches: bool


class Stop(msgspec.Struct, frozen=True):
    """Where an asset stopped.

    Attributes:
        row: Number of the filter that it did not pass.
        project_id: Project of the asset.
        spec_id: Its spec.
        left_out: The asset and the reason.
    """

    row: int
    project_id: str
    spec_id: str
    left_out: LeftOut


class Step(msgspec.Struct, frozen=True):
    """One filter and what it did.

    Attributes:
        name: The filter, as people say it: ``status approved``.
        before: Images before it.
        after: Images after it.
        hint: What may help when it left nothing over.
    """

    name: str
    before: int
    after: int
    hint: str | None = None


class Selected(msgspec.Struct, frozen=True):
    """What a rule chose.

    Attributes:
        picks: The images, in the order of their asset ids.
        left_out: All other assets, likewise.
        steps: What each filter did, in order.
    """

    picks: tuple[Pick, ...]
    left_out: tuple[LeftOut, ...]
    steps: tuple[Step, ...]


class Sieve:
    """The filters of a rule, through which assets pass one by one; only what stays is kept.

    Attributes:
        considered: Number of assets so far.
        stops: Those that did not pass.
    """

    def __init__(self, rule: Selection) -> None:
        self.considered = 0
        self.stops: list[Stop] = []
        self._rule = rule
        self._candidate_filters = candidate_filters(rule)
        self._pick_filters = pick_filters(rule)
        self._filters: list[Filter[Any]] = [*self._candidate_filters, *self._pick_filters]
        self._stopped = [0] * len(self._filters)

    def through(self, candidates: Iterable[Candidate]) -> Iterator[Pick]:
        """Yield the image of every asset that passes all filters."""
        split = len(self._candidate_filters)
        for candidate in candidates:
            self.considered += 1
            if not self._passes(candidate, candidate.asset, self._candidate_filters, 0):
                continue
            pick = pick_of(candidate, self._rule)
            if pick is not None and self._passes(pick, candidate.asset, self._pick_filters, split):
                yield pick

    def count(self, row: int, spec_id: str, project_id: str, left_out: LeftOut) -> None:
        """Count an asset of which it is known where it stops."""
        self.considered += 1
        self._stopped[row] += 1
        self.stops.append(Stop(row, project_id, spec_id, left_out))

    def count_one_that_passes(self) -> None:
        """Count an asset of which it is known that it passes."""
        self.considered += 1

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The assets that did not pass, in the order of their ids."""
        left = (stop.left_out for stop in self.stops)
        return tuple(sorted(left, key=lambda one: one.asset_id))

    def steps(self, again: Callable[[], Iterable[Candidate]]) -> list[Step]:
        """Return what each filter did, in order.

        Args:
            again: Gives the same assets once more; called for the hint of a filter that left
                nothing over.
        """
        steps: list[Step] = []
        before = self.considered
        for row, (one, stopped) in enumerate(zip(self._filters, self._stopped, strict=True)):
            after = before - stopped
            if one.asked or stopped:
                emptied = before > 0 and after == 0
                hint = self._hint(row, again()) if emptied else None
                steps.append(Step(one.name, before, after, hint))
            before = after
        return steps

    def _passes(self, item: T, asset: Asset, filters: Sequence[Filter[T]], first: int) -> bool:
        for row, one in enumerate(filters, start=first):
            reason = one.judge(item)
            if reason is not None:
                self._stopped[row] += 1
                left = _left_out(item, reason, one)
                self.stops.append(Stop(row, asset.project_id, asset.spec_id, left))
                return False
        return True

    def _hint(self, row: int, candidates: Iterable[Candidate]) -> str | None:
        """Return what may help when nothing passes the filter ``row``."""
        split = len(self._candidate_filters)
        reached = [one for one in candidates if _all_pass(one, self._candidate_filters[:row])]
        if row < split:
            return self._candidate_filters[row].hint(reached)
        before = self._pick_filters[: row - split]
        picks = [pick for one in reached if (pick := pick_of(one, self._rule))]
        return self._pick_filters[row - split].hint(
            [pick for pick in picks if _all_pass(pick, before)]
        )


def select(candidates: Sequence[Candidate], rule: Selection) -> Selected:
    """Return what ``rule`` chooses from ``candidates``; their order does not matter."""
    ordered = sorted(candidates, key=lambda candidate: candidate.asset.id)
    sieve = Sieve(rule)
    picks = tuple(sieve.through(ordered))
    return Selected(picks, sieve.left_out, tuple(sieve.steps(lambda: ordered)))


def require_some(steps: Sequence[Step], *, start: str) -> None:
    """Check that something is left after all filters.

    Args:
        steps: What each filter did.
        start: Where the assets come from, such as ``neon_city``.

    Raises:
        SelectionEmptyError: When a filter left nothing over; names it and counts all before.
    """
    empty = next((step for step in steps if step.after == 0), None)
    if empty is None:
        return
    if empty.before == 0:
        raise SelectionEmptyError(
            f"{start} has no assets", hint="lora asset import DIR --asset-type TYPE"
        )
    way = [f"{start} {steps[0].before}"]
    way += [f"{step.name} {step.after}" for step in steps[: steps.index(empty) + 1]]
    raise SelectionEmptyError(
        f"no image is left: {empty.name} kept 0 of {empty.before}",
        hint=empty.hint,
        source=" → ".join(way),
    )


def duplicates(picks: Sequence[T], key: Callable[[T], tuple[str, ...]]) -> dict[int, int]:
    """Return which of ``picks`` repeat another one: index of the repeat to index of the kept.

    Args:
        picks: What is looked at.
        key: The identity of the bytes first, then whatever decides which of several is kept.
            It must not hold what depends on the workspace, unless all else is equal.
    """
    keys = [key(pick) for pick in picks]
    if len({one[0] for one in keys}) == len(keys):
        return {}
    first: dict[str, int] = {}
    repeats: dict[int, int] = {}
    for index in sorted(range(len(picks)), key=keys.__getitem__):
        kept = first.setdefault(keys[index][0], index)
        if kept != index:
            repeats[index] = kept
    return repeats


def _all_pass(item: T, filters: Sequence[Filter[T]]) -> bool:
    return all(one.judge(item) is None for one in filters)


def _left_out(item: object, reason: Reason, by: Filter[T]) -> LeftOut:
    assert isinstance(item, Candidate | Pick)  # noqa: S101 - the two things that are filtered
    title = item.spec.title if item.spec else ""
    return LeftOut(item.asset.id, title, reason, matches=not by.asked)
