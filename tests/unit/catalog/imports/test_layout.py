from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.imports.folder import FoundImage
from lora_pipeline.catalog.imports.layout import (
    FolderWords,
    LayoutName,
    folder_words,
    looks_like_kohya,
    read_groups,
)
from lora_pipeline.foundation.errors import ArgumentInvalidError


def words(
    name: str, *groups: str, layout: LayoutName = "plain", imported: str = "art"
) -> FolderWords:
    return folder_words(FoundImage(name, Path("/x") / name), layout, groups, imported=imported)


def test_levels_below_the_folder_are_words_of_the_groups() -> None:
    assert words("red/flat/x.png", "color", "style").tags == (("color", "red"), ("style", "flat"))


def test_level_may_be_passed_over_and_missing_ones_say_nothing() -> None:
    assert words("2024/red/x.png", "-", "color").tags == (("color", "red"),)
    assert words("red/x.png", "color", "style").tags == (("color", "red"),)
    assert words("x.png", "color").tags == ()
    assert words("red/flat/deep/x.png", "color").tags == (("color", "red"),)


def test_without_groups_folders_say_nothing() -> None:
    assert words("red/flat/x.png") == FolderWords()


def test_kohya_folder_says_repeats_and_words() -> None:
    found = words("img/10_sks person/x.png", "concept", layout="kohya")

    assert found == FolderWords((("concept", "sks person"),), 10, "sks person")


def test_imported_folder_may_be_such_a_folder_itself() -> None:
    assert words("x.png", layout="kohya", imported="5_icon").repeats == 5


@pytest.mark.parametrize(
    "name", ["x.png", "img/x.png", "0_icon/x.png", "ten_icon/x.png", "10_icon/deep/x.png"]
)
def test_what_kohya_passes_over_is_left_aside_with_the_reason(name: str) -> None:
    assert "kohya passes it over" in words(name, layout="kohya").aside


def test_regularisation_images_are_no_art() -> None:
    assert "regularisation" in words("reg/1_person/x.png", layout="kohya").aside


def test_folders_that_look_like_kohyas_are_noticed() -> None:
    def images(*names: str) -> list[FoundImage]:
        return [FoundImage(name, Path(name)) for name in names]

    assert looks_like_kohya(images("10_a/x.png", "5_b/y.png"), "art")
    assert not looks_like_kohya(images("10_a/x.png", "y.png"), "art")
    assert not looks_like_kohya([], "10_a")


def test_group_that_is_none_is_an_error() -> None:
    assert read_groups(("color", "-", "style")) == ("color", "-", "style")
    with pytest.raises(ArgumentInvalidError, match="takes tag groups, got 'Colour:'"):
        read_groups(("Colour:",))
