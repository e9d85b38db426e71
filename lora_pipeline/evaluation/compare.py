"""Two grids side by side, at the same prompt, seed, strength and settings. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from lora_pipeline.evaluation.records import Cell, Evaluation, EvaluationMetrics

T = TypeVar("T")
Number = float | int | bool
_Key = tuple[Any, ...]
_NO_VALUES = frozenset({"notProven", "method", "manifestHash"})


class CellPair(msgspec.Struct, frozen=True):
    """One place of two grids.

    Attributes:
        before: The cell of the older release, or None where its grid has none.
        after: That of the newer one.
        base: The cell without a LoRA that belongs to them, where one was drawn.
    """

    before: Cell | None
    after: Cell | None
    base: Cell | None

    @property
    def cell(self) -> Cell:
        """The one of both that is there."""
        found = self.after or self.before
        assert found is not None  # noqa: S101 - a pair has at least one
        return found

    @property
    def same_image(self) -> bool:
        """Whether both releases drew the very same image."""
        return (
            self.before is not None
            and self.after is not None
            and bool(self.before.image_sha256)
            and self.before.image_sha256 == self.after.image_sha256
        )


def pair_cells(before: Evaluation | None, after: Evaluation | None) -> list[CellPair]:
    """Return every place of two grids, the strongest first, in the order of the newer suite."""
    older, newer = _cells(before), _cells(after)
    bases = {**_bases(before), **_bases(after)}
    order = list(dict.fromkeys([*newer, *older]))
    pairs = [
        CellPair(
            older.get(key),
            newer.get(key),
            bases.get(_without_strength(older.get(key) or newer[key])),
        )
        for key in order
    ]
    return sorted(pairs, key=lambda one: -one.cell.strength)  # stable: the order stays otherwise


def not_comparable(before: Evaluation | None, after: Evaluation | None) -> list[str]:
    """Return why two grids tell little about two releases, in words; nothing when they do."""
    if before is None or after is None:
        missing = [name for name, one in (("older", before), ("newer", after)) if one is None]
        return [f"the {' and the '.join(missing)} release has no grid"]
    told = []
    if before.checkpoint_digest != after.checkpoint_digest:
        told.append("drawn on different base models")
    if before.suite_digest != after.suite_digest:
        told.append("drawn from different suites")
    first, second = before.renderer, after.renderer
    if first and second and first.fingerprint != second.fingerprint:
        told.append(f"drawn by different renderers ({first.name} {first.version}, "
                    f"{second.name} {second.version}, or other machines)")  # fmt: skip
    drawn = [
        (one.cell, old.image_sha256, new.image_sha256)
        for one in _base_pairs(before, after)
        if (old := one.before) and (new := one.after)
    ]
    if any(old != new for _, old, new in drawn):
        told.append("their base images differ: more than the LoRA changed")
    return told


class PromptDifference(msgspec.Struct, frozen=True):
    """How much two releases differ on one prompt at one strength.

    Attributes:
        prompt_id: The prompt.
        prompt: Its text.
        strength: The strength.
        pairs: How many pairs of images were compared.
        mean: Mean of their differences, in 0..1.
        largest: The largest of them.
        seed: The seed that has it.
    """

    prompt_id: str
    prompt: str
    strength: float
    pairs: int
    mean: float
    largest: float
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "promptId": self.prompt_id, "prompt": self.prompt, "strength": self.strength,
            "pairs": self.pairs, "mean": self.mean, "largest": self.largest, "seed": self.seed,
        }  # fmt: skip


def differences_by_prompt(
    measured: Iterable[tuple[CellPair, float | None]],
) -> list[PromptDifference]:
    """Return how much two releases differ by prompt and strength, the most different first."""
    groups: dict[tuple[str, float], list[tuple[float, Cell]]] = {}
    for pair, difference in measured:
        if difference is not None:
            cell = pair.cell
            groups.setdefault((cell.prompt, cell.strength), []).append((difference, cell))
    found = []
    for (prompt, strength), ones in groups.items():
        largest, cell = max(ones, key=lambda one: one[0])
        mean = round(sum(difference for difference, _ in ones) / len(ones), 6)
        found.append(
            PromptDifference(cell.prompt_id, prompt, strength, len(ones), mean, largest, cell.seed)
        )
    return sorted(found, key=lambda one: -one.mean)  # stable: the order stays otherwise


def of_every_prompt(things: Sequence[T], prompt_of: Callable[[T], str]) -> list[T]:
    """Return things in an order that takes one of every prompt, then another of every prompt."""
    turns: Counter[str] = Counter()
    numbered = []
    for one in things:
        prompt = prompt_of(one)
        numbered.append((turns[prompt], one))
        turns[prompt] += 1
    return [one for _, one in sorted(numbered, key=lambda pair: pair[0])]


def metric_values(metrics: EvaluationMetrics | None) -> dict[str, Number]:
    """Return every number and yes or no that was measured, by its dotted name."""
    if metrics is None:
        return {}
    return dict(_leaves(metrics.to_dict(), ""))


def _leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Number]]:
    for key in sorted(node):
        value, name = node[key], f"{path}.{key}" if path else key
        if key in _NO_VALUES:
            continue
        if isinstance(value, dict):
            yield from _leaves(value, name)
        elif isinstance(value, bool | int | float):
            yield name, value


def _cells(grid: Evaluation | None) -> dict[_Key, Cell]:
    cells = grid.cells if grid else ()
    return {(*_without_strength(cell), cell.strength): cell for cell in cells if cell.strength}


def _bases(grid: Evaluation | None) -> dict[_Key, Cell]:
    cells = grid.cells if grid else ()
    return {_without_strength(cell): cell for cell in cells if not cell.strength}


def _base_pairs(before: Evaluation, after: Evaluation) -> list[CellPair]:
    older, newer = _bases(before), _bases(after)
    return [CellPair(older[key], newer[key], None) for key in older.keys() & newer.keys()]


def _without_strength(cell: Cell) -> _Key:
    return (
        cell.prompt, cell.negative, cell.seed, cell.width, cell.height, cell.steps,
        cell.guidance, cell.sampler,
    )  # fmt: skip
