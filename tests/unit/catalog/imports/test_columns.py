from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.imports.columns import Columns, read_mapping
from lora_pipeline.catalog.imports.facts import FileFacts
from lora_pipeline.catalog.imports.metadata import Metadata, read_metadata
from lora_pipeline.foundation.errors import ArgumentInvalidError, ImportSourceError

# What an asset library gives away: headings of its own, semicolons, quotes over two lines.
DAM = (
    "Asset ID;Filename;Display Name;Keywords;Subject;Rating;Rights Holder;Usage\r\n"
    '1;icons/crown.png;"Crown; gold";"style:flat, color:red";shape:star;4;Ana;'
    '"line\r\nbreak"\r\n'
    "2;icons/shield.png;Shield;;;;;\r\n"
)
PAIRS = ("file=Filename,title=Display Name", "tags=Keywords,tags=Subject,author=Rights Holder")


def read(folder: Path, data: bytes, *pairs: str, encoding: str = "") -> tuple[Metadata, Columns]:
    path, columns = folder / "dam.csv", read_mapping(pairs)
    path.write_bytes(data)
    metadata = read_metadata(path, columns=columns, encoding=encoding)
    columns.require_met()
    return metadata, columns


def test_table_of_any_headings_is_read_by_a_mapping(tmp_path: Path) -> None:
    metadata, columns = read(tmp_path, DAM.encode(), *PAIRS)

    assert metadata.images["icons/crown.png"].facts == FileFacts(
        title="Crown; gold", tags=("style:flat", "color:red", "shape:star"), rating=4, author="Ana"
    )
    assert columns.unused == ["Asset ID", "Usage"]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (DAM.encode("utf-8-sig"), ""),
        (DAM.encode("utf-16"), ""),
        (b"\xfe\xff" + DAM.encode("utf-16-be"), ""),
        (DAM.encode("utf-32"), ""),
        (DAM.encode("cp1252"), "cp1252"),
        (DAM.encode("utf-16-le"), "utf-16-le"),
        (("sep=;\r\n" + DAM).encode(), ""),
        (DAM.replace("\r\n", "\r").encode(), ""),
    ],
)
def test_encoding_and_line_ends_do_not_matter(tmp_path: Path, data: bytes, encoding: str) -> None:
    metadata, _ = read(tmp_path, data, *PAIRS, encoding=encoding)

    assert metadata.images["icons/crown.png"].facts.title == "Crown; gold"
    assert len(metadata.images) == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_the_one_that_parts_the_first_line(tmp_path: Path, delimiter: str) -> None:
    rows = [["file", "title", "a, b; c|d"], ["x.png", "X", "y"]]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)

    metadata, columns = read(tmp_path, text.encode())

    assert metadata.images["x.png"].facts.title == "X"
    assert columns.unused == ["a, b; c|d"]


def test_mark_of_the_file_weighs_more_than_what_a_person_said(tmp_path: Path) -> None:
    metadata, _ = read(tmp_path, "file,title\nx.png,Åsa\n".encode("utf-16"), encoding="cp1252")

    assert metadata.images["x.png"].facts.title == "Åsa"


def test_text_of_another_encoding_names_the_byte_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ImportSourceError, match=r"dam\.csv is not UTF-8 at byte 17") as caught:
        read(tmp_path, b"file,title\nx.png,\xc5sa\n")

    assert "--encoding cp1252" in str(caught.value.hint)


def test_heading_that_the_mapping_misspells_is_an_error_with_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(ImportSourceError, match="names a column 'Display name'") as caught:
        read(tmp_path, DAM.encode(), "file=Filename", "title=Display name")

    assert caught.value.hint == "did you mean Display Name?"


@pytest.mark.parametrize(
    ("pair", "message", "hint"),
    [
        ("titel=Name", "no column 'titel' to fill", "did you mean title?"),
        ("colour=Name", "no column 'colour' to fill", "there are: file, title, tags"),
        ("title", "takes COLUMN=NAME, got 'title'", "--map title=Name,tags=Keywords"),
        ("title=A,title=B", "fills title twice", ""),
    ],
)
def test_mapping_that_cannot_be_used_says_why(pair: str, message: str, hint: str) -> None:
    with pytest.raises(ArgumentInvalidError, match=message) as caught:
        read_mapping([pair])

    assert (caught.value.hint or "").startswith(hint)


def test_comma_in_a_heading_is_no_end_of_a_pair() -> None:
    assert read_mapping(["title=Name, long,tags=Key words"]).asked == {
        "Name, long": ("title",),
        "Key words": ("tags",),
    }


def test_one_heading_may_fill_two_columns(tmp_path: Path) -> None:
    metadata, _ = read(
        tmp_path, DAM.encode(), "file=Filename,title=Display Name,prompt=Display Name"
    )

    facts = metadata.images["icons/shield.png"].facts
    assert (facts.title, facts.prompt) == ("Shield", "Shield")


def test_column_of_ours_that_the_mapping_fills_otherwise_is_not_used(tmp_path: Path) -> None:
    metadata, columns = read(tmp_path, b"file,title,Name\nx.png,internal-7,Crown\n", "title=Name")

    assert metadata.images["x.png"].facts.title == "Crown"
    assert columns.unused == ["title"]


def test_table_without_a_column_for_files_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(ImportSourceError, match="has no column file") as caught:
        read(tmp_path, b"Name;Keywords\na;b\n")

    assert caught.value.hint == "--map file=NAME says which of its columns it is: Name, Keywords"


@pytest.mark.parametrize("heading", ["File Name", "file-name", "FILENAME", "Path"])
def test_usual_headings_are_known(tmp_path: Path, heading: str) -> None:
    metadata, _ = read(tmp_path, f"{heading},Asset Type,Licence\nx.png,ui_icon,MIT\n".encode())

    facts = metadata.images["x.png"].facts
    assert (facts.asset_type, facts.license) == ("ui_icon", "MIT")


def test_apostrophe_before_a_formula_is_taken_off(tmp_path: Path) -> None:
    metadata, _ = read(tmp_path, b"file,title,notes\nx.png,'=SUM(1),'tis art\n")

    facts = metadata.images["x.png"].facts
    assert (facts.title, facts.notes) == ("=SUM(1)", "'tis art")


def test_row_of_a_bare_name_belongs_to_the_one_image_of_that_name(tmp_path: Path) -> None:
    metadata, _ = read(tmp_path, b"file,title\ncrown.png,Crown\nsun.png,Sun\n")

    matched = metadata.matched(["a/crown.png", "a/sun.png", "b/sun.png"])

    assert set(matched.images) == {"a/crown.png", "sun.png"}


@pytest.mark.parametrize(
    ("cell", "words"),
    [("6", "rating must be 0 to 5 stars"), ("high", "rating must be"), ("3.5", "rating must be")],
)
def test_rating_is_a_number_of_stars(tmp_path: Path, cell: str, words: str) -> None:
    with pytest.raises(ImportSourceError, match=words):
        read(tmp_path, f"file,rating\nx.png,{cell}\n".encode())
