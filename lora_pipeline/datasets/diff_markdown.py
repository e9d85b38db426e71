"""A comparison of manifests as Markdown for a pull request. Pure.

What comes from a manifest stands in code spans, where it names nobody and links nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.datasets.diff import Change
from lora_pipeline.datasets.diff_view import DiffView, Side
from lora_pipeline.datasets.diff_words import (
    aspect_name,
    aspect_value,
    headline,
    other_changes,
    setting_name,
    setting_value,
)
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.markdown import code, details, table

MOST_ROWS = 50  # of one section: a comment of GitHub holds 65,536 characters
_LONGEST = 300  # characters of a caption
_WORDS = 15  # caption words that are counted
_SIGNS = {"added": "**{}**", "removed": "~~{}~~", "same": "{}"}


def difference_markdown(view: DiffView, *, more: str) -> list[str]:
    """Return the lines that tell a comparison.

    Args:
        view: The comparison.
        more: Command that lists what is left out here.
    """
    lines = [
        f"### {code(view.name)}",
        "",
        f"{code(view.before.label)} → {code(view.after.label)} · **{headline(view)}**",
        "",
        *table(("", "images", "held out", "content"), [_side(view.before), _side(view.after)]),
        "",
    ]
    lines += _rules(view)
    lines += _words(view)
    lines += _transitions(view)
    titles = (("came", "Came"), ("went", "Went"), ("changed", "Changed"))
    for kind, title in titles:
        changes = [one for one in view.difference.changes if one.kind == kind]
        if changes:
            lines += _listed(title, changes, more)
    return lines


def _side(side: Side) -> list[str]:
    label = code(side.label)
    if side.manifest is None:
        return [label, "no such dataset", "", ""]
    digest = side.manifest.content_hash
    return [label, str(side.images), str(side.held_out), code(short(digest)) if digest else "—"]


def _rules(view: DiffView) -> list[str]:
    lines = [
        f"- {setting_name(name)}: {code(setting_value(before))} → {code(setting_value(after))}"
        for name, before, after in view.rules
    ]
    return ["**Rule**", "", *lines, ""] if lines else []


def _words(view: DiffView) -> list[str]:
    shown = [
        f"{_SIGNS['added' if sign == '+' else 'removed'].format(code(word))} {count}"
        for sign, word, count in view.words[:_WORDS]
    ]
    more = len(view.words) - _WORDS
    if more > 0:
        shown.append(f"and {more} more")
    return [f"**Caption words** {' · '.join(shown)}", ""] if shown else []


def _transitions(view: DiffView) -> list[str]:
    lines = [
        f"- {aspect_name(one.aspect)}: {code(aspect_value(one.aspect, one.before))} → "
        f"{code(aspect_value(one.aspect, one.after))}, {one.images} times"
        for one in view.transitions
    ]
    return [*lines, ""] if lines else []


def _listed(title: str, changes: Sequence[Change], more: str) -> list[str]:
    rows = [[code(change.asset_id), _told(change)] for change in changes[:MOST_ROWS]]
    body = table(("asset", "what"), rows)
    left_out = len(changes) - MOST_ROWS
    if left_out > 0:
        body += ["", f"{left_out} more: {code(more)}"]
    return [*details(f"{title} {len(changes)}", body), ""]


def _told(change: Change) -> str:
    if change.kind != "changed":
        item = change.after or change.before
        return code(_cut(item.caption)) if item else ""
    parts = []
    if "image" in change.aspects and change.before and change.after:
        before, after = change.before.sha256[:8], change.after.sha256[:8]
        parts.append(f"image {code(before)} → {code(after)}")
    if "caption" in change.aspects:
        parts.append(_caption(change))
    tags = [_SIGNS["added"].format(code(tag)) for tag in change.tags_added]
    tags += [_SIGNS["removed"].format(code(tag)) for tag in change.tags_removed]
    if "tags" in change.aspects:
        parts.append("tags " + (" ".join(tags) or "in another order"))
    parts += [
        f"{name} {code(before)} → {code(after)}" for name, before, after in other_changes(change)
    ]
    return "<br>".join(parts)


def _caption(change: Change) -> str:
    parts = [
        _SIGNS[piece.kind].format(code(_cut(piece.text.strip())))
        for piece in change.caption
        if piece.text.strip(" ,")
    ]
    return " ".join(parts) or "caption: blanks"


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
