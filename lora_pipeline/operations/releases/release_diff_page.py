"""Two releases side by side as one page that needs nothing but itself, pictures and all."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from lora_pipeline.datasets.diff.page import Pictures, difference_section
from lora_pipeline.datasets.diff.view import DiffView
from lora_pipeline.evaluation.compare import of_every_prompt
from lora_pipeline.evaluation.records import Cell
from lora_pipeline.foundation.markup import GENERATOR, Markup, data_uri, element, page
from lora_pipeline.operations.releases.cell_differences import pixels_of
from lora_pipeline.operations.releases.measures_page import (
    MEASURES_STYLE,
    bar,
    counted,
    measures_section,
    scrolled,
)
from lora_pipeline.operations.releases.release_sides import Measured
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store

_MOST_OPEN = 24
_SIDE = 256  # pixels of the longer side
_STYLE = (
    """
.three { display: grid; grid-template-columns: repeat(3, minmax(0, 200px)); gap: 14px; }
.three figure { margin: 0; min-width: 0; }
.three figcaption { color: var(--muted); font-size: 13px; padding-top: 4px; }
.three .picture { width: 100%; height: auto; aspect-ratio: 1; }
.cells { grid-template-columns: repeat(auto-fill, minmax(min(460px, 100%), 1fr)); }
.cell { flex: 1; min-width: 0; }
.cell-head { margin-bottom: 8px; }
"""
    + MEASURES_STYLE
)


class ComparisonPage(msgspec.Struct, frozen=True):
    """What a page shows.

    Attributes:
        workspace: Holds the images.
        facts: What the operation answers.
        dataset: The comparison of the manifests with its pictures, or None.
        cells: The pairs of cells.
        most: How many of them are shown.
    """

    workspace: Workspace
    facts: dict[str, Any]
    dataset: tuple[DiffView, Pictures] | None
    cells: Sequence[Measured]
    most: int


def comparison_page(shown: ComparisonPage) -> str:
    """Return the page."""
    facts = shown.facts
    sides = f"{facts['before']} → {facts['after']}"
    parts = [
        element("h1", str(facts["loraId"]), class_="name"),
        element("p", sides, class_="sides"),
        *(element("p", one, class_="note") for one in facts["notComparable"]),
        *_made(facts),
        *_changes("Recipe", facts, "recipe"),
        *_changes("Training", facts, "training"),
        *_weights(facts),
        *measures_section(facts["measures"], facts["before"], facts["after"]),
        *_differences(facts),
        *_cells(shown),
    ]
    if shown.dataset is not None:
        parts.append(difference_section(*shown.dataset))
    elif facts.get("dataset"):
        words = f"Datasets are not compared: {facts['dataset']['notCompared']}"
        parts.append(element("p", words, class_="note"))
    footer = element("footer", f"Made by {GENERATOR}.")
    return page(f"{facts['loraId']} {sides}", *parts, footer, style=_STYLE)


def _made(facts: dict[str, Any]) -> Iterator[Markup]:
    if "releases" not in facts:
        return
    columns = ("", "status", "made", "by", "weights")
    rows = [
        (
            one["id"], one["status"] + (", active" if one["active"] else ""),
            one["createdAt"][:10], one["createdBy"], one["sha256"][:12],
        )
        for one in facts["releases"]
    ]  # fmt: skip
    yield _table(columns, rows)


def _changes(title: str, facts: dict[str, Any], key: str) -> Iterator[Markup]:
    if key not in facts:
        return
    yield element("h2", title)
    if not facts[key]:
        yield element("p", "The same.", class_="hint")
        return
    rows = [(one["name"], _said(one["before"]), _said(one["after"])) for one in facts[key]]
    yield _table(("", facts["before"], facts["after"]), rows)


def _weights(facts: dict[str, Any]) -> Iterator[Markup]:
    if "weights" not in facts:
        return
    found = facts["weights"]
    yield element("h2", "Weights")
    if found["notCompared"]:
        yield element("p", f"Not compared: {found['notCompared']}", class_="note")
        return
    yield _table(("", facts["before"], facts["after"]), [
        ("rank", *map(_said, found["ranks"])),
        ("size of the change", *map(_said, found["norms"])),
    ])  # fmt: skip
    likeness = found["likeness"]
    alike = "no module in common" if likeness is None else f"{likeness:.3f} of 1 alike"
    yield element("p", f"{alike}, over {found['compared']} modules", class_="facts")


def _differences(facts: dict[str, Any]) -> Iterator[Markup]:
    """Say of every prompt how far apart the releases are, whether its pictures are shown or not."""
    found = facts["byPrompt"]
    if not found:
        return
    told = f"{counted(facts['measured'], 'pair')} of images, mean of all pixels in 0 to 1"
    yield element("h2", "How far apart they draw ", element("span", told, class_="hint"))
    largest = max(one["mean"] for one in found) or 1.0
    rows = [
        (
            f"{one['prompt']}",
            f"{one['strength']:g}",
            bar(one["mean"] / largest, f"{one['mean']:.3f}"),
            f"{one['largest']:.3f}, seed {one['seed']}" if one["pairs"] > 1 else "",
        )
        for one in found
    ]
    columns = ("prompt", "strength", "mean difference", "largest")
    yield scrolled("Differences by prompt", columns, rows[:_MOST_OPEN])
    if len(rows) > _MOST_OPEN:
        title = f"{len(rows) - _MOST_OPEN} more prompts and strengths, that differ less"
        rest = scrolled(title, columns, rows[_MOST_OPEN:])
        yield element("details", element("summary", title), rest)


def _cells(shown: ComparisonPage) -> Iterator[Markup]:
    facts, cells = shown.facts, shown.cells
    yield element("h2", "Cells ", element("span", _counted(facts, len(cells)), class_="hint"))
    if not cells:
        return
    store = open_store(shown.workspace)
    names = (facts["before"], facts["after"])
    if len(cells) > shown.most:
        words = f"{shown.most} of {len(cells)} places, of every prompt as many (--pictures N)."
        yield element("p", words, class_="hint")
    drawn = of_every_prompt(cells, lambda one: one.pair.cell.prompt)[: shown.most]
    yield element("div", [_cell(store, one, names) for one in drawn], class_="rows cells")


def _counted(facts: dict[str, Any], cells: int) -> str:
    told = f"{facts['paired']} of {cells} places have both"
    if facts["meanDifference"] is not None:
        told += f" · mean difference {facts['meanDifference']:.3f}"
    return told + (f" · {facts['sameImages']} the same image" if facts["sameImages"] else "")


def _cell(store: ObjectStore, one: Measured, names: tuple[str, str]) -> Markup:
    cell = one.pair.cell
    words = f"seed {cell.seed} · strength {cell.strength:g}"
    if one.difference is not None:
        words += f" · difference {one.difference:.3f}"
    figures = [
        _figure(store, one.pair.base, "base"),
        _figure(store, one.pair.before, names[0]),
        _figure(store, one.pair.after, names[1]),
    ]
    head = element(
        "div",
        element("div", cell.prompt, class_="caption"),
        element("div", words, class_="facts"),
        class_="cell-head",
    )
    three = element("div", figures, class_="three")
    return element("article", element("div", head, three, class_="cell"))


def _figure(store: ObjectStore, cell: Cell | None, name: str) -> Markup:
    picture = _picture(store, cell)
    caption = element("figcaption", name)
    if picture:
        small = cell is not None and max(cell.width, cell.height) <= _SIDE // 2
        image = element(
            "img", src=data_uri("image/webp", picture), alt=name,
            class_="pixels" if small else None,
        )  # fmt: skip
        return element("figure", element("div", image, class_="picture"), caption)
    if cell is None:
        why = "not in this grid"
    else:
        why = cell.error or ("not drawn" if cell.status != "done" else "not on this machine")
    return element("figure", element("div", why, class_="picture none"), caption)


def _picture(store: ObjectStore, cell: Cell | None) -> bytes:
    pixels = pixels_of(store, cell)
    if pixels is None:
        return b""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    target = io.BytesIO()
    image.save(target, format="WEBP", lossless=max(image.size) <= _SIDE // 2, quality=85)
    return target.getvalue()


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = element("tr", [element("th", one) for one in columns])
    body = [
        element(
            "tr", element("th", row[0]), [element("td", one, class_="number") for one in row[1:]]
        )
        for row in rows
    ]
    return element("table", head, body)


def _said(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
