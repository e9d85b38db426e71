"""A blind page answered as a browser would: from what stands on the page and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from lora_pipeline.evaluation.blind.order import kept_order
from lora_pipeline.evaluation.blind.records import BlindPair
from tests.support.release_builders import LORA, Studio
from tests.support.workspace_builders import Answer, invoke


class PageReader(HTMLParser):
    """What a blind page holds: its plan, its pairs, and the bytes of its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = self.content = ""
        self.pictures: dict[str, list[bytes]] = {}
        self._pair = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what is of interest of an element."""
        found = dict(attrs)
        if tag == "section" and "data-plan" in found:
            self.plan, self.content = str(found["data-plan"]), str(found["data-content"])
        if tag == "section" and "pair-page" in str(found.get("class")):
            self._pair = str(found["id"])
        if tag == "img":
            data = base64.b64decode(str(found["src"]).partition(",")[2])
            self.pictures.setdefault(self._pair, []).append(data)


def read_page(path: Path) -> PageReader:
    """Return what a page holds."""
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def make_page(studio: Studio, release: str = "r2", *options: str) -> tuple[Answer, Path]:
    """Make a page by the command line."""
    answer = invoke(
        ["eval", "review", LORA, release, "--blind", "--json", "--as", "ana@studio.example",
         *options],
        studio.root,
    )  # fmt: skip
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    return answer, studio.root / answer.document["data"]["page"]


def saved_answers(page: Path, choose: Callable[[str], str]) -> dict[str, Any]:
    """Return what a browser saves when ``choose`` answers each pair by its id."""
    reader = read_page(page)
    return {
        "schema": "blind-answers/v1",
        "planId": reader.plan,
        "contentDigest": reader.content,
        "answers": [
            {"pair": pair, "said": {"better": choose(pair)}, "seenMs": 1500}
            for pair in reader.pictures
        ],
        "shown": {
            pair: [hashlib.sha256(one).hexdigest() for one in pictures]
            for pair, pictures in reader.pictures.items()
        },
    }


def order_of(studio: Studio, plan_id: str) -> dict[str, BlindPair]:
    """Return the hidden order, by pair: what no reviewer sees."""
    return {pair.id: pair for pair in kept_order(studio.workspace, plan_id).pairs}


def preferring(studio: Studio, plan_id: str, side: str = "candidate") -> Callable[[str], str]:
    """Return the answers of somebody who always sees it the same way, and sees equal as equal."""
    order = order_of(studio, plan_id)

    def choose(pair: str) -> str:
        if order[pair].control:
            return "tie"
        return "left" if order[pair].left == side else "right"

    return choose


def answer_page(
    studio: Studio,
    page: Path,
    reviewer: str,
    *,
    side: str = "candidate",
    release: str = "r2",
    change: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Answer:
    """Answer a page and record the answers by the command line."""
    document = saved_answers(page, preferring(studio, read_page(page).plan, side))
    change(document)
    file = studio.root / ".lora" / "answers.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return invoke(
        ["eval", "review", LORA, release, "--answers", str(file), "--as", reviewer, "--json"],
        studio.root,
    )


def compared(
    studio: Studio, reviewer: str, *, side: str = "candidate", release: str = "r2"
) -> None:
    """Make a page and have it answered."""
    _, page = make_page(studio, release)
    done = answer_page(studio, page, reviewer, side=side, release=release)
    assert done.exit_code == 0, done.stdout
