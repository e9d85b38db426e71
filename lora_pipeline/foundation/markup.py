"""HTML from text that nobody trusts: everything is escaped, unless it was made here.

A page stands alone: no request, its style and pictures inside, and no script but one of ours by
its digest. Its content security policy says so as well, in case an escape were ever missed.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from pathlib import Path

from lora_pipeline import __version__

GENERATOR = f"lora-pipeline {__version__}"
_VOID = frozenset({"img", "meta", "br", "input"})
_STYLE = Path(__file__).with_name("page.css")


class Markup(str):
    """Text that is HTML already; only this module makes it."""

    __slots__ = ()


Child = str | Iterable[Markup]


def text(words: str) -> Markup:
    """Return text as HTML: escaped, its control and direction characters made visible."""
    return Markup(html.escape(visible(words), quote=True))


def element(tag: str, /, *children: Child, **attributes: str | None) -> Markup:
    """Return an element.

    Args:
        tag: Its name.
        *children: Text, which is escaped, or markup, or several pieces of markup.
        **attributes: ``class_`` stands for ``class``; empty ones have no value, None is left out.
    """
    opening = tag + "".join(_attribute(key, value) for key, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{opening}>")
    inside = "".join(map(_child, children))
    return Markup(f"<{opening}>{inside}</{tag}>")


def joined(parts: Iterable[Markup], between: str = "") -> Markup:
    """Return pieces of markup one after the other."""
    return Markup(text(between).join(parts))


def data_uri(media_type: str, data: bytes) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def page(title: str, *body: Markup, style: str = "", script: str = "") -> str:
    """Return a whole page that needs nothing but itself.

    Args:
        title: What the window is called.
        *body: What it shows.
        style: More rules, from a file of ours.
        script: A script from a file of ours; nothing else on the page is ever run.
    """
    sheet = _STYLE.read_text(encoding="utf-8") + style
    policy = f"default-src 'none'; img-src data:; style-src '{_source(sheet)}'; "
    policy += f"script-src '{_source(script)}'; " if script else ""
    policy += "base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="generator", content=GENERATOR),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        Markup(f"<style>{sheet}</style>"),
    )
    program = Markup(f"<script>{script}</script>") if script else Markup()
    inside = element("body", element("main", *body), program)
    return f"<!doctype html>\n{element('html', head, inside, lang='en')}\n"


def _source(code: str) -> str:
    """Return how a content security policy allows exactly this style or script."""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
    return f"sha256-{digest}"


def visible(words: str) -> str:
    """Return text whose control and direction characters are seen instead of obeyed."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in words)


def _attribute(key: str, value: str | None) -> str:
    if value is None:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f' {name}="{text(value)}"' if value else f" {name}"


def _child(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return text(child)
    return "".join(child)
