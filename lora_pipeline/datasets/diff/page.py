"""A comparison of manifests as HTML: a section for a page, with its pictures inside. Pure.

Captions, tags and licences are text of strangers; ``foundation.markup`` escapes all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import msgspec

from lora_pipeline.datasets.diff.changes import ASPECTS, Change
from lora_pipeline.datasets.diff.view import DiffView, Side
from lora_pipeline.datasets.diff.words import (
    aspect_name,
    aspect_value,
    cut,
    facts,
    headline,
    images,
    other_changes,
    setting_name,
    setting_value,
)
from lora_pipeline.datasets.records import Item
from lora_pipeline.datasets.thumbnails import SIDE, Thumbnail
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.markup import Markup, data_uri, element, text

MOST_ROWS = 2000  # of one section; a page with more is no help to anybody
_OPEN = 24  # rows of a section that are seen at once
_WORDS = 30  # caption words that are counted
_LONGEST = 60  # letters of such a word


class Pictures(msgspec.Struct, frozen=True):
    """The small pictures of a page.

    Attributes:
        by_digest: Thumbnails by the SHA-256 of their image.
        wanted: How many images could have one.
    """

    by_digest: Mapping[str, Thumbnail] = msgspec.field(default_factory=dict)
    wanted: int = 0

    def of(self, item: Item) -> Thumbnail:
        """Return the thumbnail of an item, or why there is none."""
        if not item.sha256:
            return Thumbnail(missing="no digest in the manifest")
        return self.by_digest.get(item.sha256, Thumbnail(missing="picture left out"))


def pictured_items(view: DiffView) -> list[Item]:
    """Return the items that a page shows, each image once.

    The first rows of every part come first, so that a limit leaves no part without pictures.
    """
    ordered = zip_longest(*(changes[:MOST_ROWS] for _, changes in _sections(view)))
    changes = [change for row in ordered for change in row if change is not None]
    items = [
        item
        for change in changes
        for item in _shown_items(change)
        if item is not None and item.sha256
    ]
    return list({item.sha256: item for item in items}.values())


def _shown_items(change: Change) -> tuple[Item | None, ...]:
    if "image" in change.aspects:
        return change.before, change.after
    return (change.after or change.before,)


def rows_left_out(view: DiffView) -> int:
    """Return how many images have no row on a page because there are too many."""
    return sum(max(0, len(changes) - MOST_ROWS) for _, changes in _sections(view))


def difference_section(view: DiffView, pictures: Pictures) -> Markup:
    """Return the whole comparison as one section of a page."""
    parts = [
        element("h1", view.name, class_="name"),
        element("p", f"{view.before.label} → {view.after.label}", class_="sides"),
        element("p", _headline(view), class_="headline"),
        _sides(view),
    ]
    parts += _notes(view, pictures)
    parts += _rules(view)
    parts += _totals(view)
    for title, changes in _sections(view):
        if changes:
            parts.append(_listed(title, changes, pictures))
    return element("section", parts, class_="difference")


def _sections(view: DiffView) -> list[tuple[str, list[Change]]]:
    changed = view.difference.of_kind("changed")
    replaced = [one for one in changed if "image" in one.aspects]
    captions = [one for one in changed if "image" not in one.aspects and "caption" in one.aspects]
    others = [one for one in changed if not {"image", "caption"} & set(one.aspects)]
    return [
        ("Images replaced", replaced),
        ("Came", view.difference.of_kind("came")),
        ("Went", view.difference.of_kind("went")),
        ("Captions changed", captions),
        ("Only tags, licence, split or repeats changed", others),
    ]


def _headline(view: DiffView) -> Markup:
    if view.nothing_changed or view.before.manifest is None or view.after.manifest is None:
        return text(headline(view))
    difference = view.difference
    chips = [
        element("span", f"+{difference.count('came')} came", class_="chip came"),
        element("span", f"−{difference.count('went')} went", class_="chip went"),  # noqa: RUF001
    ]
    for aspect in ASPECTS:
        count = difference.count_of(aspect)
        if count:
            chips.append(element("span", f"{aspect_name(aspect)} {count}", class_="chip changed"))
    return element("span", chips)


def _sides(view: DiffView) -> Markup:
    head = element("tr", [element("th", one) for one in ("", "images", "held out", "content")])
    return element("table", head, _side(view.before), _side(view.after), class_="sides-table")


def _side(side: Side) -> Markup:
    label = side.label + (f" ({side.commit[:10]})" if side.commit else "")
    if side.manifest is None:
        cells = ["no such dataset", "", ""]
    else:
        digest = side.manifest.content_hash
        cells = [str(side.images), str(side.held_out), short(digest) if digest else "no digest"]
    return element("tr", element("th", label), [element("td", cell) for cell in cells])


def _notes(view: DiffView, pictures: Pictures) -> list[Markup]:
    notes = []
    shown = len(pictures.by_digest)
    if shown < pictures.wanted:
        notes.append(
            f"Pictures of {shown} of {pictures.wanted} images; the others are listed without one."
        )
    left_out = rows_left_out(view)
    if left_out:
        notes.append(
            f"{left_out} images are not listed: a part of this page holds at most {MOST_ROWS}. "
            "lora dataset diff --json lists them all."
        )
    return [element("p", note, class_="note") for note in notes]


def _rules(view: DiffView) -> list[Markup]:
    if not view.rules:
        return []
    rows = [
        element(
            "tr",
            element("th", setting_name(name)),
            element("td", _value("del", before)),
            element("td", _value("ins", after)),
        )
        for name, before, after in view.rules
    ]
    return [element("h2", "Rule"), element("table", rows, class_="rules")]


def _value(tag: str, value: object) -> Markup:
    if value in (None, "", []):
        return element("span", setting_value(value), class_="hint")
    return element(tag, setting_value(value))


def _totals(view: DiffView) -> list[Markup]:
    parts: list[Markup] = []
    if view.words:
        tags = {"+": "ins", "-": "del"}
        words = [
            element("li", element(tags[sign], cut(word, _LONGEST)), f" {count}")
            for sign, word, count in view.words[:_WORDS]
        ]
        more = len(view.words) - _WORDS
        if more > 0:
            words.append(element("li", f"and {more} more words", class_="more"))
        parts += [
            element("h2", "Caption words"),
            element("p", "In how many captions a word came or went.", class_="hint"),
            element("ul", words, class_="words"),
        ]
    if view.transitions:
        rows = [
            element(
                "tr",
                element("th", aspect_name(one.aspect)),
                element("td", element("del", aspect_value(one.aspect, one.before))),
                element("td", element("ins", aspect_value(one.aspect, one.after))),
                element("td", images(one.images)),
            )
            for one in view.transitions
        ]
        parts += [
            element("h2", "Licences, split and repeats"),
            element("table", rows, class_="rules"),
        ]
    return parts


def _listed(title: str, changes: Sequence[Change], pictures: Pictures) -> Markup:
    rows = [_row(change, pictures) for change in changes[:MOST_ROWS]]
    grid = "cards" if changes[0].kind != "changed" else "rows"
    parts = [
        element(
            "h2", title, " ", element("span", str(len(changes)), class_=f"chip {changes[0].kind}")
        ),
        element("div", rows[:_OPEN], class_=grid),
    ]
    if len(rows) > _OPEN:
        folded = element("div", rows[_OPEN:], class_=grid)
        summary = element("summary", f"{len(rows) - _OPEN} more")
        parts.append(element("details", summary, folded))
    return element("section", parts, class_="part")


def _row(change: Change, pictures: Pictures) -> Markup:
    item = change.after or change.before
    if item is None:
        return Markup()
    if change.kind != "changed":
        body = [
            element("p", item.caption or "no caption", class_="caption"),
            element("p", facts(item), class_="facts"),
            element("p", change.asset_id, class_="id"),
        ]
        return element("article", _picture(item, pictures), element("div", body))
    shown = [_picture(item, pictures)]
    if "image" in change.aspects and change.before is not None:
        arrow = element("span", "→", class_="arrow")
        shown = [_picture(change.before, pictures), arrow, _picture(item, pictures)]
    return element("article", element("div", shown, class_="pair"), _told(change, item))


def _told(change: Change, item: Item) -> Markup:
    body = [_caption(change, item)]
    tags = [element("ins", tag) for tag in change.tags_added]
    tags += [element("del", tag) for tag in change.tags_removed]
    if tags:
        body.append(element("p", "tags ", [element("span", one, " ") for one in tags]))
    elif "tags" in change.aspects:
        body.append(element("p", "tags in another order"))
    body += [
        element("p", f"{name} ", element("del", before), " ", element("ins", after))
        for name, before, after in other_changes(change)
    ]
    body.append(element("p", facts(item), class_="facts"))
    body.append(element("p", change.asset_id, class_="id"))
    return element("div", body)


def _caption(change: Change, item: Item) -> Markup:
    if "caption" not in change.aspects:
        return element("p", item.caption or "no caption", class_="caption")
    tags = {"added": "ins", "removed": "del"}
    pieces = [
        element(tags[piece.kind], piece.text) if piece.kind in tags else text(piece.text)
        for piece in change.caption
    ]
    return element("p", pieces, class_="caption")


def _picture(item: Item, pictures: Pictures) -> Markup:
    found = pictures.of(item)
    if not found.webp:
        return element("span", found.missing, class_="picture none")
    small = 0 < max(item.width, item.height) <= SIDE // 2
    image = element(
        "img",
        src=data_uri("image/webp", found.webp),
        alt=item.caption or "image",
        loading="lazy",
        class_="pixels" if small else None,
    )
    return element("span", image, class_="picture")
