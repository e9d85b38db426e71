"""What was measured on two grids, drawn for a page: values, and intervals beside the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_pipeline.foundation.markup import Child, Markup, element

MEASURES_STYLE = """
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--changed); outline-offset: 2px; }
.scroll table { min-width: 560px; width: 100%; }
.scroll thead th { font-size: 13px; border-bottom: 1px solid var(--line); }
.scroll tbody th { color: var(--ink); min-width: 130px; }
.scroll tbody tr + tr > * { border-top: 1px solid var(--line); }
.scroll th, .scroll td { padding: 7px 18px 7px 0; font-variant-numeric: tabular-nums; }
.scroll .than { display: block; color: var(--muted); font-size: 13px; white-space: nowrap; }
.scroll .chip { font-size: 13px; margin: 0; }
.scroll .says { display: block; max-width: 300px; font-size: 14px; }
.scroll svg { display: block; margin: 5px 0 1px; overflow: visible; }
.scroll .axis { stroke: var(--muted); stroke-dasharray: 2 2; }
.scroll .span { stroke: var(--ink); stroke-width: 3; stroke-linecap: round; opacity: .35; }
.scroll .middle { fill: var(--ink); }
.scroll .bar { fill: var(--changed); }
.with-number { display: flex; gap: 10px; align-items: center; }
@media (max-width: 640px) {
  .scroll table { min-width: 0; }
  .scroll thead { display: none; }
  .scroll tr { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 12px; padding: 10px 0; }
  .scroll tr > * { border: 0 !important; padding: 0; }
  .scroll tbody tr + tr { border-top: 1px solid var(--line); }
  .scroll th, .scroll td:empty, .scroll td:last-child { grid-column: 1 / -1; }
  .scroll td:not(:last-child)::before {
    content: attr(data-of); display: block; color: var(--muted); font-size: 13px;
  }
  .scroll .than { white-space: normal; }
  .scroll svg { max-width: 100%; }
  .scroll .says { max-width: none; }
}
"""
_WIDE, _HIGH, _EDGE = 150, 12, 5


def measures_section(
    measures: Sequence[Mapping[str, Any]], before: str, after: str
) -> Iterator[Markup]:
    """Yield what was measured on two grids, and what follows."""
    yield element("h2", "Measured")
    if not measures:
        yield element("p", "Nothing was measured on either grid.", class_="hint")
        return
    intervals = any(one[side]["low"] is not None for one in measures for side in _SIDES)
    if intervals:
        words = (
            "Each value stands beside the base's at the same prompts and seeds. The bar is the "
            "difference to the base (dashed) with its 95 % interval. Two releases differ for "
            "certain only where their bars lie apart."
        )
        yield element("p", words, class_="hint")
    rows = [
        (
            one["title"],
            *(_value(one[side], _reach(one), name)
              for side, name in zip(_SIDES, (before, after), strict=True)),
            element("span", str(one["says"]), class_="says"),
        )
        for one in measures
    ]  # fmt: skip
    yield scrolled("Measured", ("", before, after, "what follows"), rows)


def scrolled(name: str, columns: Sequence[str], rows: Sequence[Sequence[Child]]) -> Markup:
    """Return a table that scrolls by itself where a window is narrow, with the keyboard too."""
    head = element("tr", [element("th", one, scope="col") for one in columns])
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [
                element("td", one, data_of=column)
                for column, one in zip(columns[1:], row[1:], strict=True)
            ],
        )
        for row in rows
    ]
    table = element("table", element("thead", head), element("tbody", body))
    return element("div", table, class_="scroll", role="region", aria_label=name, tabindex="0")


def bar(share: float, words: str) -> Markup:
    """Return a bar of a share of the widest one, with its number."""
    wide = max(1.0, share * _WIDE)
    drawn = element(
        "svg",
        element("rect", class_="bar", width=f"{wide:.1f}", height="8", y="2", rx="2"),
        viewBox=f"0 0 {_WIDE} {_HIGH}", width=str(_WIDE), height=str(_HIGH), aria_hidden="true",
    )  # fmt: skip
    return element("div", drawn, element("span", words), class_="with-number")


def counted(count: int, noun: str) -> str:
    """Return a number of things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


_SIDES = ("before", "after")


def _value(side: Mapping[str, Any], reach: float, name: str) -> Child:
    if not side["proven"]:
        return element("span", "not proven", class_="chip changed")
    parts = [element("span", side["words"])]
    if side["middle"] is not None:
        parts.append(_interval(side, reach, name))
        parts.append(element("span", f"to the base {side['difference']}", class_="than"))
    return parts


def _reach(measure: Mapping[str, Any]) -> float:
    """Return how far from the base the bars of one value reach, to draw both alike."""
    ends = [
        abs(measure[side][key])
        for side in _SIDES
        for key in ("middle", "low", "high")
        if measure[side][key] is not None
    ]
    return max(ends, default=0.0) or 1.0


def _interval(side: Mapping[str, Any], reach: float, name: str) -> Markup:
    def place(value: float) -> str:
        return f"{_WIDE / 2 + value / reach * (_WIDE / 2 - _EDGE):.1f}"

    middle, half = str(_HIGH // 2), place(0.0)
    parts = [element("line", class_="axis", x1=half, x2=half, y1="0", y2=str(_HIGH))]
    if side["low"] is not None and side["high"] is not None:
        parts.append(
            element("line", class_="span", x1=place(side["low"]), x2=place(side["high"]),
                    y1=middle, y2=middle)
        )  # fmt: skip
    parts.append(element("circle", class_="middle", cx=place(side["middle"]), cy=middle, r="3.5"))
    return element(
        "svg", parts, role="img", aria_label=f"{name}: {side['difference']} to the base",
        viewBox=f"0 0 {_WIDE} {_HIGH}", width=str(_WIDE), height=str(_HIGH),
    )  # fmt: skip
