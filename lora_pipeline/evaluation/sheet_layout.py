"""Where everything stands on a contact sheet: prompts in lines of pictures, lines on pages.

A grid that a person can look through is one page. A larger one is cut between lines into pages
of a bounded height: no picture format takes 40,000 pixels, and nobody's memory should have to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from lora_pipeline.evaluation.records import Cell, Evaluation, SuitePrompt
from lora_pipeline.evaluation.suites import rule_words

MAX_WIDTH = 2000
PAGE_HEIGHT = 8000
MARGIN, LABEL, GAP, GROUP_GAP, ROW_GAP, LINE_GAP = 44, 236, 16, 40, 30, 14
GROUP_HEAD, CAPTION = 26, 26
SMALL_SIDE, _ENLARGED_SIDE, _LARGE_SIDE = 96, 192, 224

Group = tuple[Cell, ...]


class Prompt(msgspec.Struct, frozen=True):
    """Cells of one prompt that stand on one page, one group a seed, and what they are to show."""

    text: str
    asks: str
    groups: tuple[Group, ...]


class Layout(msgspec.Struct, frozen=True):
    """Sizes in pixels that follow from the cells, and the prompts of each page."""

    pages: tuple[tuple[Prompt, ...], ...]
    width: int
    height: int
    columns: int
    groups_a_line: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> Layout:
        """Return the layout of the whole grid; every page of it has the same widths."""
        suite = evaluation.suite
        asks = {one.id: _asks(one) for one in suite.prompts} if suite else {}
        prompts = tuple(
            Prompt(cells[0].prompt, asks.get(name, ""), _by_seed(cells))
            for name, cells in _runs(evaluation.cells)
        )
        columns = max(len(group) for prompt in prompts for group in prompt.groups)
        first = evaluation.cells[0]
        width, height = _shown_size(first.width, first.height)
        group = columns * (width + GAP) - GAP
        fitting = (MAX_WIDTH - 2 * MARGIN - LABEL + GROUP_GAP) // (group + GROUP_GAP)
        most = max(len(prompt.groups) for prompt in prompts)
        a_line = max(1, min(fitting, most))
        lines = max(1, PAGE_HEIGHT // (GROUP_HEAD + height + CAPTION + ROW_GAP))
        return cls(tuple(_pages(prompts, lines, a_line)), width, height, columns, a_line)

    @property
    def group_width(self) -> int:
        """Width of the cells of one seed."""
        return self.columns * (self.width + GAP) - GAP

    @property
    def line_height(self) -> int:
        """Height of one line of groups."""
        return GROUP_HEAD + self.height + CAPTION

    def height_of(self, prompt: Prompt) -> int:
        """Return the height of one prompt with the gap below it."""
        lines = -(-len(prompt.groups) // self.groups_a_line)
        return lines * (self.line_height + LINE_GAP) - LINE_GAP + ROW_GAP

    def size(self, page: int, header_height: int) -> tuple[int, int]:
        """Return the size of a page, counted from 1."""
        groups = self.groups_a_line * (self.group_width + GROUP_GAP) - GROUP_GAP
        width = max(2 * MARGIN + LABEL + groups, 900)
        height = header_height + sum(map(self.height_of, self.pages[page - 1]))
        return width, height + MARGIN


def page_count(evaluation: Evaluation) -> int:
    """Return how many pages the contact sheet of an evaluation has; without cells, none."""
    return len(Layout.of(evaluation).pages) if evaluation.cells else 0


def is_enlarged(evaluation: Evaluation) -> bool:
    """Return whether the cells are so small that the sheet shows them enlarged."""
    return all(max(cell.width, cell.height) <= SMALL_SIDE for cell in evaluation.cells)


def _pages(
    prompts: Sequence[Prompt], lines_a_page: int, groups_a_line: int
) -> Iterator[tuple[Prompt, ...]]:
    page: list[Prompt] = []
    room = lines_a_page
    for prompt in prompts:
        groups = prompt.groups
        # A prompt that fits on a page of its own is not torn.
        if room < -(-len(groups) // groups_a_line) <= lines_a_page:
            yield tuple(page)
            page, room = [], lines_a_page
        while groups:
            if not room:
                yield tuple(page)
                page, room = [], lines_a_page
            taken, groups = groups[: room * groups_a_line], groups[room * groups_a_line :]
            page.append(Prompt(prompt.text, prompt.asks, taken))
            room -= -(-len(taken) // groups_a_line)
    if page:
        yield tuple(page)


def _asks(prompt: SuitePrompt) -> str:
    return rule_words(prompt) or prompt.kind.replace("_", " ")


def _shown_size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    if longest <= SMALL_SIDE:
        factor = max(1, _ENLARGED_SIDE // longest)
        return width * factor, height * factor
    if longest <= _LARGE_SIDE:
        return width, height
    return (
        max(1, round(width * _LARGE_SIDE / longest)),
        max(1, round(height * _LARGE_SIDE / longest)),
    )


def _runs(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    for name, run in groupby(cells, key=lambda cell: cell.prompt_id):
        yield name, list(run)


def _by_seed(cells: Sequence[Cell]) -> tuple[Group, ...]:
    return tuple(tuple(run) for _, run in groupby(cells, key=lambda cell: cell.seed))
