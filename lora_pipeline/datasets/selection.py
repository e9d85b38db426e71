"""Which images a rule chooses, and why each other one is left out. Decides only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lora_pipeline.datasets.filters import Filter, candidate_filters, pick_filters
from lora_pipeline.datasets.picks import Candidate, Pick, Reason, pick_of
from lora_pipeline.datasets.records import Selection
from lora_pipeline.foundation.errors import SelectionEmptyError

T = TypeVar("T")


@dataclass(frozen=True)
class LeftOut:
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


@dataclass(frozen=True)
class Step:
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


@dataclass(frozen=True)
class Selected:
    """What a rule chose.

    Attributes:
        picks: The images, in the order of their asset ids.
        left_out: All other assets, in the order in which they were left out.
        steps: What each filter did, in order.
    """

    picks: tuple[Pick, ...]
    left_out: tuple[LeftOut, ...]
    steps: tuple[Step, ...]


def select(candidates: Sequence[Candidate], rule: Selection) -> Selected:
    """Return what ``rule`` chooses from ``candidates``; their order does not matter."""
    left: list[LeftOut] = []
    steps: list[Step] = []
    ordered = sorted(candidates, key=lambda candidate: candidate.asset.id)
    kept = _through(ordered, candidate_filters(rule), left, steps)
    found = [pick for one in kept if (pick := pick_of(one, rule))]
    picks = _through(found, pick_filters(rule), left, steps)
    return Selected(tuple(picks), tuple(left), tuple(steps))


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
    first: dict[str, int] = {}
    repeats: dict[int, int] = {}
    for index in sorted(range(len(picks)), key=lambda index: key(picks[index])):
        kept = first.setdefault(key(picks[index])[0], index)
        if kept != index:
            repeats[index] = kept
    return repeats


def _through(
    items: list[T], filters: Sequence[Filter[T]], left: list[LeftOut], steps: list[Step]
) -> list[T]:
    for one in filters:
        judged = [(item, one.judge(item)) for item in items]
        kept = [item for item, reason in judged if reason is None]
        if one.asked or len(kept) < len(items):
            hint = None if kept else one.hint(items)
            steps.append(Step(one.name, len(items), len(kept), hint))
        left += [_left_out(item, reason, one) for item, reason in judged if reason is not None]
        items = kept
    return items


def _left_out(item: object, reason: Reason, by: Filter[T]) -> LeftOut:
    assert isinstance(item, Candidate | Pick)  # noqa: S101 - the two things that are filtered
    title = item.spec.title if item.spec else ""
    return LeftOut(item.asset.id, title, reason, matches=not by.asked)
