from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.diff import page as diff_page
from lora_pipeline.datasets.diff.markdown import difference_markdown
from lora_pipeline.datasets.diff.page import Pictures, difference_section, pictured_items
from lora_pipeline.datasets.diff.view import DiffView, Side, view_of
from lora_pipeline.datasets.records import CaptionRule, Item, Manifest
from lora_pipeline.datasets.thumbnails import Thumbnail
from tests.support.dataset_builders import item, manifest

EVIL = '"><script>alert(1)</script> @octocat `x` | <img src=x onerror=alert(1)> \u202etxt'


class Page(HTMLParser):
    """What a page holds: its tags, and its words with what came and went marked."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.words += {"ins": "{+", "del": "[-"}.get(tag, "")

    def handle_endtag(self, tag: str) -> None:
        self.words += {"ins": "+}", "del": "-]"}.get(tag, "")
        if tag in ("p", "td", "th", "li", "h2", "tr"):
            self.words += "\n"

    def handle_data(self, data: str) -> None:
        self.words += data


def view(before: Manifest | None, after: Manifest | None) -> DiffView:
    return view_of("icons", Side("main", before, "a" * 40), Side("work tree", after))


def page(before: Manifest | None, after: Manifest | None, *pictures: Item) -> Page:
    made = view(before, after)
    shown = Pictures({one.sha256: Thumbnail(b"picture") for one in pictures}, len(pictures))
    return Page(difference_section(made, shown))


def markdown(before: Manifest | None, after: Manifest | None) -> str:
    return "\n".join(difference_markdown(view(before, after), more="lora dataset diff icons"))


def changed(**fields: Any) -> tuple[Manifest, Manifest]:
    return manifest(item("A")), manifest(replace(item("A"), **fields))


def test_captions_are_told_word_by_word() -> None:
    sides = changed(caption="trgg, red, square")

    assert "{+trgg, +}red, [-circle-]{+square+}\n" in page(*sides).words
    assert "**`trgg,`** `red,` ~~`circle`~~ **`square`**" in markdown(*sides)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"license": "MIT"}, "licence [-none-] {+MIT+}"),
        ({"split": "held_out"}, "split [-to train on-] {+held out+}"),
        ({"repeats": 3}, "repeats [-1-] {+3+}"),
        ({"tags": ("color:red", "shape:square")}, "tags {+shape:square+} [-shape:circle-]"),
        ({"tags": ("shape:circle", "color:red")}, "tags in another order"),
        ({"sha256": "0" * 64, "width": 32}, "size [-64 × 64-] {+32 × 64+}"),  # noqa: RUF001
    ],
)
def test_every_other_change_is_told(fields: dict[str, Any], told: str) -> None:
    sides = changed(**fields)

    assert told in page(*sides).words


def test_the_rule_and_what_it_was_are_told() -> None:
    before = manifest(caption_rule=CaptionRule(suffix="icon"))
    after = manifest(caption_rule=CaptionRule(trigger_word="trgg"))

    words = page(before, after).words

    assert "trigger word\nnothing\n{+trgg+}\n" in words
    assert "suffix\n[-icon-]\nnothing\n" in words
    assert "- trigger word: `nothing` → `trgg`" in markdown(before, after)


def test_words_and_licences_are_counted_over_all_images() -> None:
    before = manifest(*(item(name, caption="red") for name in "ABC"))
    after = manifest(*(item(name, caption="trgg, red", license="MIT") for name in "ABC"))

    found = page(before, after).words

    assert "{+trgg+} 3\n" in found
    assert "licence\n[-none-]\n{+MIT+}\n3 images\n" in found
    assert view(before, after).words == (("+", "trgg", 3),)


def test_text_of_strangers_stays_text() -> None:
    before = manifest(item("A", caption="red"), item("B", caption=EVIL))
    after = manifest(
        item("A", caption=EVIL, license=EVIL, tags=(EVIL,)), item("C", caption=EVIL), id="icons"
    )
    found = page(before, after, *before.items, *after.items)

    assert not {"script", "iframe", "object", "style", "link", "a"} & set(found.tags)
    assert found.tags.count("img") == 3
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert all(value and value.startswith("data:image/webp;base64,") for value in sources(found))
    assert "\u202e" not in found.words
    assert "\\u202e" in found.words


def sources(found: Page) -> list[str | None]:
    return [value for name, value in found.attributes if name in ("src", "href")]


def test_markdown_of_strangers_stays_in_code_spans() -> None:
    before = manifest(item("A", caption="red"))
    text = markdown(before, manifest(item("A", caption=EVIL), item("B", caption=EVIL)))

    outside = "".join(part for part in text.split("``")[::2])
    assert "@octocat" not in outside
    assert "<script" not in outside
    assert "\u202e" not in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(line.replace("\\|", "").count("|") in (3, 5) for line in rows)


def test_a_replaced_image_is_shown_before_and_after() -> None:
    before, after = changed(sha256="0" * 64)
    items = pictured_items(view(before, after))

    assert [one.sha256 for one in items] == [before.items[0].sha256, "0" * 64]
    assert page(before, after, *items).tags.count("img") == 2


def test_a_missing_picture_says_why() -> None:
    before, after = changed(caption="x")
    digest = after.items[0].sha256
    shown = Pictures({digest: Thumbnail(missing="not fetched from Git LFS")}, 1)

    words = Page(difference_section(view(before, after), shown)).words

    assert "not fetched from Git LFS" in words


def test_an_image_without_a_digest_is_not_guessed() -> None:
    found = page(manifest(item("A"), content_hash=""), None)
    nameless = replace(manifest(item("A")), items=(replace(item("A"), sha256=""),))

    assert "picture left out" in found.words
    assert pictured_items(view(nameless, None)) == []
    assert "no digest in the manifest" in page(nameless, None).words


def test_many_images_are_folded_and_the_limits_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_page, "MOST_ROWS", 50)
    after = manifest(*(item(f"A{number:03}") for number in range(60)))
    made = view(manifest(item("Z")), after)
    items = pictured_items(made)
    shown = Pictures({one.sha256: Thumbnail(b"x") for one in items[:10]}, len(items))

    found = Page(difference_section(made, shown))

    assert "Pictures of 10 of 51 images; the others are listed without one." in found.words
    assert "10 images are not listed" in found.words
    assert "26 more" in found.words
    assert found.tags.count("article") == 50 + 1
    assert diff_page.rows_left_out(made) == 10


def test_a_limit_of_pictures_leaves_no_part_without_any() -> None:
    before = manifest(*(item(f"B{number}") for number in range(5)), item("C", caption="x"))
    after = manifest(*(item(f"A{number}") for number in range(5)), item("C", caption="y"))

    first = pictured_items(view(before, after))[:3]

    assert [one.asset_id for one in first] == ["A0", "B0", "C"]


def test_a_dataset_that_is_new_or_gone_is_said_so() -> None:
    new, gone = view(None, manifest()), view(manifest(), None)

    assert "new since main: 1 image" in Page(difference_section(new, Pictures())).words
    assert "no such dataset" in Page(difference_section(new, Pictures())).words
    assert "gone in work tree, it held 1 image" in Page(difference_section(gone, Pictures())).words
    assert "**new since main: 1 image**" in markdown(None, manifest())
    assert new.to_dict()["ruleChanges"] == []


def test_nothing_changed_is_one_line() -> None:
    assert "nothing changed" in page(manifest(), manifest()).words
    assert "**nothing changed**" in markdown(manifest(), manifest())


def test_markdown_fits_into_a_comment_however_long_captions_are() -> None:
    long = " ".join(f"word{number}" for number in range(400))
    before = manifest(*(item(f"A{number:03}", caption=long) for number in range(300)))
    after = manifest(*(item(f"A{number:03}", caption=f"x {long} y") for number in range(300)))

    text = markdown(before, after)

    assert len(text) < 65_536
    assert "more: `lora dataset diff icons`" in text


def test_a_comparison_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        view(None, None)
