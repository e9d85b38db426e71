"""A comparison of manifests as Markdown for a pull request. Pure.

What comes from a manifest stands in code spans, where it names nobody and links nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.datasets.diff.changes import Change
from lora_pipeline.datasets.diff.view import DiffView, Side
from lora_pipeline.datasets.diff.words import (
    aspect_name,
    aspect_value,
    cut,
    headline,
    images,
    other_changes,
    setting_name,
    setting_value,
)
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.markdown import code, details, table

MOST_ROWS = 50  # of one section
_ROOM = 18_000  # characters of one section: a comment of GitHub holds 65,536 in all
_LONGEST = 300  # characters of a caption
_LONGEST_WORD = 60  # letters of a word that is counted
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
        f"{code(view.before.label)} → {code(view.after.label)} · **{_plain(headline(view))}**",
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
    kinds = {"+": "added", "-": "removed"}
    shown = [
        f"{_SIGNS[kinds[sign]].format(code(cut(word, _LONGEST_WORD)))} {count}"
        for sign, word, count in view.words[:_WORDS]
    ]
    more = len(view.words) - _WORDS
    if more > 0:
        shown.append(f"and {more} more")
    return [f"**Caption words** {' · '.join(shown)}", ""] if shown else []


def _transitions(view: DiffView) -> list[str]:
    lines = [
        f"- {aspect_name(one.aspect)}: {code(aspect_value(one.aspect, one.before))} → "
        f"{code(aspect_value(one.aspect, one.after))} · {images(one.images)}"
        for one in view.transitions
    ]
    return [*lines, ""] if lines else []


def _listed(title: str, changes: Sequence[Change], more: str) -> list[str]:
    rows: list[list[str]] = []
    room = _ROOM
    for change in changes[:MOST_ROWS]:
        told = _told(change)
        room -= len(told)
        if room < 0:
            break
        rows.append([code(change.asset_id), told])
    body = table(("asset", "what"), rows)
    left_out = len(changes) - len(rows)
    if left_out > 0:
        body += ["", f"{left_out} more: {code(more)}"]
    return [*details(f"{title} {len(changes)}", body), ""]


def _told(change: Change) -> str:
    if change.kind != "changed":
        item = change.after or change.before
        return code(cut(item.caption, _LONGEST)) if item else ""
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
    parts: list[str] = []
    room = 2 * _LONGEST
    for piece in change.caption:
        words = piece.text.strip()
        if not words.strip(","):
            continue
        if room <= 0:
            parts.append("…")
            break
        parts.append(_SIGNS[piece.kind].format(code(cut(words, room))))
        room -= len(words)
    return " ".join(parts) or "caption: blanks"


def _plain(words: str) -> str:
    # Between tildes GitHub strikes words out.
    return words.replace("~", "\\~")
