"""Which cells are compared: the LoRA's at the highest strength with their base cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from lora_pipeline.evaluation.grid import BASE
from lora_pipeline.evaluation.metrics.intervals import Pair
from lora_pipeline.evaluation.records import Cell, Evaluation
from lora_pipeline.evaluation.suites import calling_prompts

Number = Callable[[Cell], float | None]
Distance = Callable[[Cell, Cell], float]


class CellPair(msgspec.Struct, frozen=True):
    """A cell of the LoRA and the base cell of the same prompt and seed."""

    lora: Cell
    base: Cell


def cell_pairs(record: Evaluation) -> list[CellPair]:
    """Return the cells of the highest strength, for the prompts that call the LoRA."""
    if record.suite is None:
        return []
    calling = calling_prompts(record.suite)
    done = [one for one in record.cells if one.status == "done" and one.prompt_id in calling]
    top = max((one.strength for one in done), default=BASE)
    bases = {(one.prompt_id, one.seed): one for one in done if one.strength == BASE}
    return [
        CellPair(one, bases[one.prompt_id, one.seed])
        for one in done
        if one.strength == top > BASE and (one.prompt_id, one.seed) in bases
    ]


def drawn(cells: Iterable[Cell], *, base: bool) -> list[Cell]:
    """Return the rendered cells of the base, or those of the LoRA at every strength."""
    return [one for one in cells if one.status == "done" and (one.strength == BASE) is base]


def valued(pairs: Sequence[CellPair], value: Number) -> list[Pair]:
    """Return a value of each cell beside its base's; pairs that lack one are left out."""
    found = ((pair.lora.prompt_id, value(pair.lora), value(pair.base)) for pair in pairs)
    return [
        Pair(prompt, lora, base)
        for prompt, lora, base in found
        if lora is not None and base is not None
    ]


def varied(pairs: Sequence[CellPair], distance: Distance) -> list[Pair]:
    """Return, for each prompt, how far its seeds are apart; with one seed there is nothing."""
    return [
        Pair(
            prompt,
            _mean([distance(one.lora, other.lora) for one, other in both]),
            _mean([distance(one.base, other.base) for one, other in both]),
        )
        for prompt, both in seed_pairs(pairs)
    ]


def seed_pairs(pairs: Sequence[CellPair]) -> Iterator[tuple[str, list[tuple[CellPair, CellPair]]]]:
    """Yield each prompt with every two of its seeds."""
    by_prompt: dict[str, list[CellPair]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.lora.prompt_id, []).append(pair)
    for prompt, group in by_prompt.items():
        both = list(itertools.combinations(group, 2))
        if both:
            yield prompt, both


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
