"""The blind page: one HTML file that shows pairs and keeps the answers. Pure.

It tells nothing of what is on which side: no ids of cells, no names of files, no digests of what
was rendered. The order stays with us until the answers are in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.evaluation.blind.pictures import Picture
from lora_pipeline.foundation.markup import GENERATOR, Markup, data_uri, element, page

_SCRIPT = Path(__file__).with_name("page.js")
_STYLE = Path(__file__).with_name("page.css")
_TINY = 128  # drawn with hard pixels, else a browser blurs them away
_CHOICES = (("left", "Left", "1"), ("tie", "No difference", "0"), ("right", "Right", "2"))


class ShownPair(msgspec.Struct, frozen=True):
    """A pair as the page shows it.

    Attributes:
        pair: Its id on the page.
        prompt: What was asked for; both sides got the same.
        left: The picture on the left.
        right: The picture on the right.
        rule: What both must, or must never, show; empty where the prompt sets no rule.
    """

    pair: str
    prompt: str
    left: Picture
    right: Picture
    rule: str = ""


class PageWords(msgspec.Struct, frozen=True):
    """What a page says of itself.

    Attributes:
        plan_id: Id of its plan.
        content_digest: Digest of what it shows.
        title: What is compared, without saying which side it is on.
        command: The command that takes the answers, with FILE in the place of the file.
        questions: What is asked of each pair.
    """

    plan_id: str
    content_digest: str
    title: str
    command: str
    questions: Mapping[str, str]


def blind_page(words: PageWords, pairs: Sequence[ShownPair]) -> str:
    """Return the whole page."""
    sections = [_pair(words, pair, number, len(pairs)) for number, pair in enumerate(pairs, 1)]
    return page(
        f"Blind review · {words.title}",
        _start(words, len(pairs)),
        element("div", sections, id="pairs", hidden=""),
        _end(words),
        element("p", f"Made by {GENERATOR}. Nothing leaves this page.", class_="hint foot"),
        style=_STYLE.read_text(encoding="utf-8"),
        script=_SCRIPT.read_text(encoding="utf-8"),
    )


def _start(words: PageWords, count: int) -> Markup:
    keys = (
        ("1 0 2", "left, no difference, right, for the question that is marked"),
        ("← →", "the pair before, the next one"),
        ("F", "flicker: both pictures in one place, in turn"),
        ("Z", "every pixel as it is"),
    )
    return element(
        "section",
        element("h1", words.title),
        element(
            "p",
            f"{count} pairs. Both sides got the same prompt and the same seed; which side is "
            "which is drawn anew for every pair, and not on this page. Some pairs come twice. "
            "Say “no difference” where you see none: a guess helps nobody.",
            class_="lead",
        ),
        element(
            "dl", [one for key, what in keys for one in (element("dt", key), element("dd", what))]
        ),
        element("noscript", element("p", "This page needs JavaScript to keep your answers.")),
        element("button", "Begin", type="button", id="begin", class_="main"),
        id="start",
        data_plan=words.plan_id,
        data_content=words.content_digest,
    )


def _pair(words: PageWords, pair: ShownPair, number: int, count: int) -> Markup:
    figures = element(
        "div",
        _figure("Left", "left", pair.left),
        _figure("Right", "right", pair.right),
        class_="sides-shown",
    )
    asked = [
        _question(pair.pair, question, text, required=not place)
        for place, (question, text) in enumerate(words.questions.items())
    ]
    return element(
        "section",
        element(
            "header",
            element("h2", f"Pair {number} of {count}"),
            element("p", pair.prompt, class_="prompt"),
            element("p", f"Both {pair.rule}.", class_="rule") if pair.rule else "",
        ),
        figures,
        element("div", asked, class_="questions"),
        element(
            "nav",
            element(
                "button", "Back", type="button", class_="back", disabled="" if number == 1 else None
            ),
            element("button", "Flicker", type="button", class_="flicker", aria_pressed="false"),
            element("button", "Next", type="button", class_="next main"),
        ),
        id=pair.pair,
        class_="pair-page",
        hidden="",
        tabindex="-1",
        aria_label=f"Pair {number} of {count}",
    )


def _figure(title: str, side: str, picture: Picture) -> Markup:
    tiny = " tiny" if max(picture.width, picture.height) <= _TINY else ""
    image = element(
        "img",
        src=data_uri(picture.media_type, picture.data),
        alt=f"{title} picture",
        width=str(picture.width),
        height=str(picture.height),
        class_=f"shown{tiny}",
    )
    return element("figure", image, element("figcaption", title), class_=side)


def _question(pair: str, question: str, text: str, *, required: bool) -> Markup:
    # A required group comes first; the others may be left open.
    choices = [
        element(
            "label",
            element("input", type="radio", name=f"{pair}-{question}", value=value),
            element("span", label),
            element("kbd", key),
        )
        for value, label, key in _CHOICES
    ]
    legend = element("legend", text if required else f"{text} (may stay open)")
    return element("fieldset", legend, choices, data_question=question)


def _end(words: PageWords) -> Markup:
    return element(
        "section",
        element("h2", "Your answers"),
        element("p", "", id="left-over", role="status"),
        element("label", "Anything you noticed, in your words", for_="comment"),
        element("textarea", "", id="comment", rows="4", maxlength="4000"),
        element(
            "nav",
            element("button", "Back", type="button", id="back-to-pairs"),
            element("button", "Save answers as a file", type="button", id="save", class_="main"),
        ),
        element(
            "div",
            element("p", "Saved. Give the file to whoever made this page, or run:"),
            element("pre", words.command, id="command"),
            element("details", element("summary", "If no file came, copy this text into one"),
                    element("textarea", "", id="answers", rows="8", readonly="")),
            id="saved",
            hidden="",
        ),
        id="end",
        hidden="",
        tabindex="-1",
    )  # fmt: skip
