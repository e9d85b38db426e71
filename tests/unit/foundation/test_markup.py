from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation.markdown import code, details, table
from lora_pipeline.foundation.markup import data_uri, element, joined, page, text, visible

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "&lt;b&gt;",
    "</style><script>",
    "javascript:alert(1)",
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def parsed(document: str) -> Tags:
    parser = Tags()
    parser.feed(document)
    parser.close()
    return parser


@pytest.mark.parametrize("words", ATTACKS)
def test_text_stays_text_in_elements_and_in_attributes(words: str) -> None:
    found = parsed(element("p", words, title=words))

    assert found.tags == [("p", {"title": words})]
    assert found.words == words


@given(st.text())
def test_any_text_is_one_text_again(words: str) -> None:
    found = parsed(element("p", words, title=words))

    assert found.tags == [("p", {"title": visible(words) or None})]
    assert found.words == visible(words)


def test_markup_that_was_made_here_is_not_escaped_again() -> None:
    inner = element("b", "a & b")

    assert element("p", inner, [inner, inner]) == f"<p>{inner}{inner}{inner}</p>"
    assert joined([inner, text("<")], " & ") == f"{inner} &amp; &lt;"


def test_attributes_are_named_as_html_names_them() -> None:
    assert (
        element("img", src="x", class_="a", alt=None, hidden="") == '<img src="x" class="a" hidden>'
    )
    assert element("meta", http_equiv="x") == '<meta http-equiv="x">'


def test_letters_that_steer_are_seen() -> None:
    assert visible("a\u202eb\nc\x1b[31m") == "a\\u202eb\\u000ac\\u001b[31m"
    assert "\u202e" not in element("p", "evil \u202e txt", title="\u202e")


def test_a_page_allows_no_script_and_no_request() -> None:
    document = page("<b>", element("p", "hello"))
    policy = next(
        attrs["content"]
        for tag, attrs in parsed(document).tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search(r"<style>(.*?)</style>", document, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert document.startswith("<!doctype html>\n<html lang=")
    assert not {"script", "link", "iframe", "base"} & {tag for tag, _ in parsed(document).tags}
    assert "http" not in document.replace("http-equiv", "")
    assert "style=" not in document


def test_bytes_stand_in_their_address() -> None:
    assert data_uri("image/webp", b"abc") == "data:image/webp;base64,YWJj"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("flat, red", "`flat, red`"),
        ("@octocat <b> [x](y)", "`@octocat <b> [x](y)`"),
        ("a `tick` b", "``a `tick` b``"),
        ("`", "`` ` ``"),
        ("``x", "``` ``x ```"),
        (" a ", "`  a  `"),
        ("", "—"),
        ("  ", "—"),
        ("a\nb", "`a\\u000ab`"),
    ],
)
def test_text_in_markdown_stands_in_a_code_span(words: str, expected: str) -> None:
    assert code(words) == expected


def test_a_bar_does_not_end_a_cell() -> None:
    assert table(("a", "b"), [[code("x | y"), "z"]]) == [
        "| a | b |",
        "| --- | --- |",
        "| `x \\| y` | z |",
    ]


def test_details_fold_lines() -> None:
    assert details("More", ["a"]) == [
        "<details>", "<summary>More</summary>", "", "a", "", "</details>",
    ]  # fmt: skip
