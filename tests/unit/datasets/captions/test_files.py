"""Caption files byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.datasets.captions.files import caption_text, folder_captions
from lora_pipeline.foundation.errors import FileMissingError
from tests.support.caption_builders import caption_folder


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        ("un caf\u00e9 rouge".encode("latin-1"), "caption_not_utf8", "byte 0xE9 at offset 6"),
        (b"red\xa0icon", "caption_not_utf8", "byte 0xA0 at offset 3 is not UTF-8, after 'red'"),
        ("red icon".encode("utf-16"), "caption_not_utf8", "UTF-16"),
        ("red icon".encode("utf-16-be"), "", ""),
        (b"\xed\xa0\x80 red", "caption_not_utf8", "byte 0xED at offset 0"),
        (b"\xef\xbb\xbfred icon", "caption_byte_order_mark", "byte order mark"),
        (b"red icon\r\n", "caption_carriage_return", "offset 8"),
        (b"red\ricon", "caption_carriage_return", "offset 3"),
    ],
)
def test_bytes_that_are_no_plain_utf8_are_told_with_their_offset(
    data: bytes, code: str, says: str
) -> None:
    _, wrong = caption_text(data)

    assert [one for one, _ in wrong] == ([code] if code else [])
    assert says in (wrong[0][1] if wrong else "")


@pytest.mark.parametrize(
    "data", [b"red icon", b"red icon\n", b"red icon\r\n", b"\xef\xbb\xbfred icon"]
)
def test_one_line_is_the_caption_whatever_ends_it(data: bytes) -> None:
    assert caption_text(data)[0] == "red icon"


def test_what_cannot_be_read_as_text_is_no_caption() -> None:
    assert caption_text(b"caf\xe9")[0] is None


def test_a_folder_is_read_with_its_folders_and_each_image_has_a_caption_or_none(
    tmp_path: Path,
) -> None:
    folder = caption_folder(tmp_path / "art", {"a": b"red icon", "b": None})
    caption_folder(folder / "more", {"c": b"blue icon\n"})
    caption_folder(folder / ".hidden", {"d": b"nothing"})
    (folder / "lonely.txt").write_bytes(b"of no image")
    (folder / "x.jpg").write_bytes((folder / "a.png").read_bytes())
    (folder / "x.caption").write_bytes(b"a jpg icon")

    found = folder_captions(folder)

    assert found.images == 4
    assert {one.where: one.text for one in found.subjects} == {
        "a.txt": "red icon",
        "b.png": None,
        "x.caption": "a jpg icon",
        "lonely.txt": "of no image",
        "more/c.txt": "blue icon",
    }
    assert [(one.code, one.where) for one in found.findings] == [("caption_orphan", "lonely.txt")]


def test_a_file_that_is_far_too_long_is_not_read(tmp_path: Path) -> None:
    folder = caption_folder(tmp_path / "art", {"a": b"x" * 300_000})

    found = folder_captions(folder)

    assert found.subjects == ()
    assert "more than 262,144 bytes" in found.findings[0].message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError):
        folder_captions(tmp_path / "gone")
