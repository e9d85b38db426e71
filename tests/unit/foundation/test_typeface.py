from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from lora_pipeline.foundation.drawing import Pen, encode_page, encode_png, wrapped
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.typeface import Typeface, require_font

INK = (28, 28, 32)


def inked(words: str, typeface: Typeface) -> set[tuple[int, int]]:
    pen = Pen((300, 40), typeface)
    pen.text(5, 5, words, 20)
    image = pen.image.convert("L")
    return {(x, y) for x in range(300) for y in range(40) if image.getpixel((x, y)) < 128}  # type: ignore[operator]


@pytest.fixture(scope="module")
def other_font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A font file: the bundled one, which serves as well as any."""
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    data = font.font_bytes
    path = tmp_path_factory.mktemp("font") / "other.ttf"
    path.write_bytes(data)
    return path


def test_letters_of_ascii_need_no_other_font(other_font: Path) -> None:
    typeface = Typeface((other_font,))

    assert inked("flat, red 12", typeface)
    assert typeface.files_used == ()
    assert typeface.missing == ()


def test_a_letter_that_no_font_has_is_a_box_and_is_told() -> None:
    typeface = Typeface()

    assert inked("猫", typeface)
    assert typeface.missing == ("猫",)


def test_every_letter_is_seen_also_those_that_steer() -> None:
    for letter in ("\u202e", "\x07", "\u200b", "\ue000"):
        assert inked(letter, Typeface()), repr(letter)


def test_a_missing_letter_leaves_its_neighbours_as_they_are() -> None:
    typeface = Typeface()

    assert inked("a", typeface) < inked("a猫", typeface)
    assert typeface.width("a猫b", 20) > typeface.width("ab", 20)


def test_blanks_alone_have_a_width_and_no_ink() -> None:
    typeface = Typeface()

    assert typeface.width("  ", 20) > 0
    assert inked("  ", typeface) == set()
    assert typeface.width("", 20) == 0


def test_a_file_that_is_no_font_is_passed_over_and_refused_by_name(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ttf"
    wrong.write_bytes(b"no font")

    assert inked("é", Typeface((wrong,)))
    with pytest.raises(ArgumentInvalidError, match="no font that can be read"):
        require_font(wrong)
    with pytest.raises(ArgumentInvalidError):
        require_font(tmp_path / "missing.ttf")


def test_a_font_that_can_be_read_is_taken(other_font: Path) -> None:
    assert require_font(other_font) == other_font


def test_lines_are_never_wider_than_asked_for() -> None:
    typeface = Typeface()
    words = "flat, red circle " * 5 + "unbreakable" * 10 + " 猫" * 30

    lines = wrapped(typeface, words, 100, 15)

    assert all(typeface.width(line, 15) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")


def test_lines_that_are_left_out_are_marked_within_the_width() -> None:
    typeface = Typeface()
    words = "unbreakable" * 20

    lines = wrapped(typeface, words, 100, 15, most=3)

    assert len(lines) == 3
    assert lines[2].endswith(" …")
    assert all(typeface.width(line, 15) <= 100 for line in lines)
    assert wrapped(typeface, "a b", 100, 15, most=1) == ["a b"]


def test_files_hold_nothing_but_pixels() -> None:
    pen = Pen((40, 40), Typeface())
    pen.image.info["comment"] = "secret"

    for data in (encode_png(pen.image), encode_page(pen.image, lossless=True)):
        with Image.open(io.BytesIO(data)) as read:
            assert not {"exif", "icc_profile", "xmp", "comment"} & set(read.info)
            assert read.convert("RGB").getpixel((0, 0)) == (250, 250, 248)
