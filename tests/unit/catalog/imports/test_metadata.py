from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.imports.facts import FileFacts, split_tags
from lora_pipeline.catalog.imports.metadata import Metadata, read_metadata
from lora_pipeline.foundation.errors import FileMissingError, ImportSourceError

HEADER = (
    "file,title,tags,assetType,style,scenario,prompt,source,author,license,url,notes,"
    "trainingRights\n"
)


def read(folder: Path, name: str, text: str | bytes) -> Metadata:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return read_metadata(path)


def refused(folder: Path, name: str, text: str | bytes) -> ImportSourceError:
    with pytest.raises(ImportSourceError) as caught:
        read(folder, name, text)
    return caught.value


def test_csv_with_every_column_is_read(tmp_path: Path) -> None:
    row = (
        'a/x.png,Crown,style:flat;color:red,ui_icon,flat,hud,"a crown, red",us,Ana,CC0-1.0,u,n,'
        "denied\n"
    )

    facts = read(tmp_path, "assets.csv", HEADER + row).images["a/x.png"].facts

    assert facts == FileFacts(
        title="Crown", tags=("style:flat", "color:red"), asset_type="ui_icon", style="flat",
        scenario="hud", prompt="a crown, red", source="us", author="Ana", license="CC0-1.0",
        url="u", notes="n", training_rights="denied",
    )  # fmt: skip


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_of_other_countries_is_read(tmp_path: Path, separator: str) -> None:
    text = f"file{separator}title{separator}license\r\nx.png{separator}Krone{separator}CC0-1.0\r\n"

    facts = read(tmp_path, "assets.csv", "\ufeff" + text).images["x.png"].facts

    assert (facts.title, facts.license) == ("Krone", "CC0-1.0")


def test_json_list_json_object_and_jsonl_say_the_same(tmp_path: Path) -> None:
    entry = '{"file_name": "x.png", "text": "a crown", "tags": ["style:flat"]}'

    every = [
        read(tmp_path, "one.json", f"[{entry}]"),
        read(tmp_path, "two.json", f'{{"assets": [{entry}]}}'),
        read(tmp_path, "metadata.jsonl", f"{entry}\n\n"),
    ]

    expected = FileFacts(caption="a crown", tags=("style:flat",))
    assert [one.images["x.png"].facts for one in every] == [expected] * 3


def test_place_of_a_row_is_kept_for_messages(tmp_path: Path) -> None:
    metadata = read(tmp_path, "assets.csv", "file,title\nx.png,A\ny.png,B\n")

    assert metadata.images["y.png"].where == "assets.csv line 3"


def test_unknown_column_is_an_error_that_names_the_one_that_was_meant(tmp_path: Path) -> None:
    error = refused(tmp_path, "assets.csv", "file,titel\nx.png,A\n")

    assert error.message == "assets.csv: unknown column 'titel'"
    assert error.hint == "did you mean title? --map title='titel' takes it as it is"


def test_unknown_key_of_json_is_an_error_too(tmp_path: Path) -> None:
    error = refused(tmp_path, "assets.json", '[{"file": "x.png", "licnse": "CC0-1.0"}]')

    assert error.message == "assets.json entry 1: unknown column 'licnse'"
    assert error.hint == "did you mean license? --map license='licnse' takes it as it is"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("assets.csv", "title\nA\n", "has no column file"),
        ("assets.csv", "file,file\nx,y\n", "has the column file twice"),
        ("assets.csv", "file,title\nx.png,a,b\n", "line 2 has 3 cells, the first line 2"),
        ("assets.csv", "file,title\n,A\n", "line 2 names no file"),
        ("assets.csv", "file\nx.png\nx.png\n", "line 3: x.png is described already"),
        ("assets.csv", "file\n../x.png\n", "must not hold"),
        ("assets.csv", "file\n/etc/x.png\n", "must be relative"),
        ("assets.csv", "file\na\\x.png\n", "forbid"),
        ("assets.csv", 'file,title\nx.png,"open\n', "line 2"),
        ("assets.csv", "file,trainingRights\nx.png,allow\n", "not one of allowed, denied"),
        ("assets.csv", "file,title\nx.png,\x1b[31mred\n", "control characters"),
        ("assets.csv", b"file,title\nx.png,\xfcber\n", "not UTF-8 at byte 17"),
        ("assets.csv", "file\n".encode("utf-16-le"), "NUL"),
        ("assets.csv", b"file\nx.png\x00\n", "NUL"),
        ("assets.json", '{"file": "x.png"}', "must hold a list of images"),
        ("assets.json", '["x.png"]', "entry 1 must be an object"),
        ("assets.json", '[{"file": "x.png", "file": "y.png"}]', "stands twice"),
        ("assets.json", '[{"file": "x.png", "caption": "a", "text": "b"}]', "gives caption twice"),
        ("assets.json", '[{"file": "x.png", "title": 7}]', "title must be text"),
        ("assets.json", '[{"file": "x.png", "tags": [1]}]', "tags must be text or a list"),
        ("assets.jsonl", '{"file": "x.png"}\n{"file"', "line 2 is not JSON"),
        ("assets.xlsx", b"PK", "is no metadata file"),
    ],
)
def test_metadata_that_cannot_be_used_says_where_and_why(
    tmp_path: Path, name: str, text: str | bytes, words: str
) -> None:
    assert words in refused(tmp_path, name, text).message


def test_metadata_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError):
        read_metadata(tmp_path / "assets.csv")


def test_stronger_facts_replace_weaker_ones_and_tags_add_up() -> None:
    weak = FileFacts(title="Weak", author="Ana", tags=("a:b", "c:d"))
    strong = FileFacts(title="Strong", tags=("c:d", "e:f"))

    assert strong.over(weak) == FileFacts(title="Strong", author="Ana", tags=("a:b", "c:d", "e:f"))


def test_tags_of_a_cell_are_separated_in_any_usual_way() -> None:
    assert split_tags(" a:b; c:d,e:f|g:h \n i:j;") == ("a:b", "c:d", "e:f", "g:h", "i:j")
