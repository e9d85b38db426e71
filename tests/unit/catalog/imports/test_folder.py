from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from lora_pipeline.catalog.imports.folder import FolderContents, read_folder
from lora_pipeline.foundation.errors import FileMissingError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(contents: FolderContents) -> list[str]:
    return [image.name for image in contents.images]


def test_images_of_nested_folders_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path, "b.png", "a/z.JPG", "a/b/c.webp", "A.jpeg"))

    assert names(contents) == ["A.jpeg", "a/b/c.webp", "a/z.JPG", "b.png"]


def test_hidden_and_system_files_are_passed_over(tmp_path: Path) -> None:
    contents = read_folder(
        make(tmp_path, "a.png", ".hidden.png", ".git/x.png", "Thumbs.db", "__MACOSX/a.png")
    )

    assert names(contents) == ["a.png"]
    assert (contents.others, contents.bad) == ([], [])


def test_side_cars_and_metadata_are_no_strangers_and_the_rest_is_named(tmp_path: Path) -> None:
    contents = read_folder(
        make(tmp_path, "a.png", "a.txt", "a.json", "assets.csv", "notes.docx", "lonely.txt")
    )

    assert contents.others == ["lonely.txt", "notes.docx"]


def test_images_of_other_formats_are_looked_at_so_that_they_can_be_refused(tmp_path: Path) -> None:
    assert names(read_folder(make(tmp_path, "a.gif", "b.tiff"))) == ["a.gif", "b.tiff"]


def test_one_file_may_be_given_instead_of_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "b.png")

    contents = read_folder(tmp_path / "b.png")

    assert names(contents) == ["b.png"]
    assert contents.folder == tmp_path


def test_folder_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match="no folder"):
        read_folder(tmp_path / "art")


def test_link_inside_the_folder_is_followed_and_one_that_leads_out_is_not(tmp_path: Path) -> None:
    make(tmp_path, "secret.png", "art/a.png")
    (tmp_path / "art/inside.png").symlink_to(tmp_path / "art/a.png")
    (tmp_path / "art/outside.png").symlink_to(tmp_path / "secret.png")

    contents = read_folder(tmp_path / "art")

    assert names(contents) == ["a.png", "inside.png"]
    assert [bad.reason for bad in contents.bad] == [
        "outside.png is a link that leads out of the folder"
    ]


def test_links_to_folders_are_refused_so_that_no_loop_is_walked(tmp_path: Path) -> None:
    make(tmp_path, "a/a.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)

    contents = read_folder(tmp_path)

    assert names(contents) == ["a/a.png"]
    assert [bad.file for bad in contents.bad] == ["a/loop"]


def test_names_are_brought_to_one_unicode_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "für.png")

    assert names(read_folder(make(tmp_path, decomposed))) == ["für.png"]


def test_two_spellings_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    make(tmp_path, unicodedata.normalize("NFD", "für.png"), unicodedata.normalize("NFC", "für.png"))
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system has one spelling only")

    contents = read_folder(tmp_path)

    assert len(contents.images) == 1
    assert "stands twice" in contents.bad[0].reason


def test_name_that_is_not_utf8_is_refused_and_shown_escaped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"art\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")

    contents = read_folder(tmp_path)

    assert [bad.reason for bad in contents.bad] == ["art\\udcff.png has a name that is not UTF-8"]
