"""Import from where art lives: folders of other tools, with the files that they really write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.asset_commands import import_art
from tests.support.catalog_builders import add_catalogs, draw_icon, draw_icons
from tests.support.workspace_builders import invoke, make_workspace, reopen, tree_digest

PROJECT = "neon_city"
BASE = f"data/projects/{PROJECT}"


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    add_catalogs(make_workspace(tmp_path / "studio", project=PROJECT, git=False), PROJECT)
    return tmp_path / "studio"


@pytest.fixture
def art(tmp_path: Path) -> Path:
    return tmp_path / "art"


def brought(studio: Path, art: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Import and return what each file became: spec, asset, version, variant."""
    answer = import_art(studio, art, *options)
    assert answer.exit_code == 0, answer.stdout
    found = {}
    for path in (studio / BASE / "assets").glob("*.json"):
        asset = json.loads(path.read_bytes())
        version = asset["versions"][0]
        spec = json.loads((studio / BASE / "specs" / f"{asset['specId']}.json").read_bytes())
        found[version["generation"]["file"]] = {
            "spec": spec, "asset": asset, "version": version, "variant": version["variants"][0],
        }  # fmt: skip
    return found


def tags(one: dict[str, Any]) -> list[str]:
    found: list[str] = one["variant"].get("tags", [])
    return found


def test_folder_names_become_tags_when_they_are_told_to(studio: Path, art: Path) -> None:
    for seed, name in enumerate(("Red/flat/a.png", "Dark Blue/neon/b.png", "c.png")):
        draw_icon(art / name, seed=seed)

    plain = import_art(studio, art, "--dry-run").document["data"]["assets"]
    found = brought(studio, art, "--folder-tags", "color,style", "--add-tags")

    assert [one["tags"] for one in plain] == [[], [], []]
    assert tags(found["Red/flat/a.png"]) == ["color:red", "style:flat"]
    assert tags(found["Dark Blue/neon/b.png"]) == ["color:dark_blue", "style:neon"]
    assert tags(found["c.png"]) == []


def test_folder_name_of_which_no_tag_can_be_made_keeps_the_import_out(
    studio: Path, art: Path
) -> None:
    draw_icon(art / "猫/a.png")
    before = tree_digest(studio)

    answer = import_art(studio, art, "--folder-tags", "subject")

    assert (answer.exit_code, answer.error["code"]) == (1, "import_incomplete")
    reason = answer.document["data"]["refused"][0]["reason"]
    assert reason == "猫/a.png stands in the folder '猫', of which no tag of subject can be made"
    assert tree_digest(studio) == before


def test_kohya_folders_bring_repeats_words_and_captions(studio: Path, art: Path) -> None:
    for seed, name in enumerate(
        ("img/10_sks icon/a.png", "img/10_sks icon/b.png", "img/2_badge/c.png",
         "reg/1_icon/d.png", "e.png")
    ):  # fmt: skip
        draw_icon(art / name, seed=seed)
    (art / "img/10_sks icon/a.txt").write_text("a red crown\nsecond line")

    answer = import_art(studio, art, "--layout", "kohya", "--folder-tags", "concept", "--dry-run")
    found = brought(studio, art, "--layout", "kohya", "--folder-tags", "concept", "--add-tags")

    origin = found["img/10_sks icon/a.png"]["version"]["generation"]
    assert origin == {
        "source": "import", "file": "img/10_sks icon/a.png",
        "layout": "kohya", "repeats": 10, "folderWords": "sks icon",
    }  # fmt: skip
    assert tags(found["img/2_badge/c.png"]) == ["concept:badge"]
    prompts = {name: one["spec"]["prompt"]["positive"] for name, one in found.items()}
    assert prompts["img/10_sks icon/a.png"] == "a red crown second line"
    assert prompts["img/10_sks icon/b.png"] == "sks icon"
    assert [one["file"] for one in answer.document["data"]["leftAside"]] == [
        "e.png", "reg/1_icon/d.png",
    ]  # fmt: skip
    assert len(found) == 3


def test_kohya_folders_that_nobody_named_are_pointed_out(studio: Path, art: Path) -> None:
    draw_icon(art / "10_sks icon/a.png")

    answer = import_art(studio, art)

    assert any("--layout kohya" in warning for warning in answer.document["warnings"])


def test_folder_without_a_kohya_folder_is_an_error_that_says_so(studio: Path, art: Path) -> None:
    draw_icon(art / "a.png")

    answer = import_art(studio, art, "--layout", "kohya")

    assert (answer.exit_code, answer.error["code"]) == (3, "selection_empty")
    assert "is not of the form 10_words" in answer.error["message"]


def test_imagefolder_with_metadata_in_every_split_is_read(studio: Path, art: Path) -> None:
    draw_icon(art / "train/a.png", seed=1)
    draw_icon(art / "test/deep/b.png", seed=2)
    (art / "train/metadata.jsonl").write_text('{"file_name": "a.png", "text": "a crown"}\n')
    (art / "test/metadata.csv").write_text("file_name,text,objects\ndeep/b.png,a sun,7\n")

    answer = import_art(studio, art, "--dry-run")
    found = brought(studio, art)

    assert answer.document["data"]["metadata"] == "test/metadata.csv, train/metadata.jsonl"
    assert answer.document["data"]["unusedColumns"] == ["objects"]
    assert (
        "column objects means nothing here (--map title=NAME takes one)"
        in (answer.document["warnings"])
    )
    assert found["train/a.png"]["spec"]["prompt"]["positive"] == "a crown"
    assert found["test/deep/b.png"]["spec"]["prompt"]["positive"] == "a sun"


def test_two_metadata_files_of_one_folder_are_an_error(studio: Path, art: Path) -> None:
    draw_icon(art / "a.png")
    (art / "metadata.csv").write_text("file_name\na.png\n")
    (art / "metadata.jsonl").write_text('{"file_name": "a.png"}\n')

    answer = import_art(studio, art)

    assert (answer.exit_code, answer.error["code"]) == (3, "import_invalid")
    assert "metadata.csv and metadata.jsonl" in answer.error["message"]
    assert answer.error["hint"] == f"--metadata {art / 'metadata.csv'}"


def test_table_of_an_asset_library_is_read_by_a_mapping(
    studio: Path, art: Path, tmp_path: Path
) -> None:
    draw_icon(art / "2024/crown.png", seed=1)
    draw_icon(art / "2025/sun.png", seed=2)
    table = tmp_path / "Export DAM.csv"
    table.write_text(
        "ID;Filename;Name;Keywords;Stars\r\n1;crown.png;Crown;red|gold;5\r\n2;sun.png;Sun;;\r\n",
        encoding="utf-16",
    )
    options = ("--metadata", str(table), "--map", "file=Filename,title=Name,rating=Stars",
               "--map", "tags=Keywords", "--tag-group", "look", "--add-tags")  # fmt: skip

    warnings = import_art(studio, art, *options, "--dry-run").document["warnings"]
    found = brought(studio, art, *options)

    crown = found["2024/crown.png"]
    assert crown["spec"]["title"] == "Crown"
    assert tags(crown) == ["color:red", "look:gold"]
    assert crown["variant"]["rating"] == 5
    assert "column ID means nothing here (--map title=NAME takes one)" in warnings


def test_mapping_with_a_typing_error_is_an_error_with_the_near_heading(
    studio: Path, art: Path
) -> None:
    draw_icon(art / "a.png")
    (art / "assets.csv").write_text("file,Name\na.png,Crown\n")
    before = tree_digest(studio)

    heading = import_art(studio, art, "--map", "title=Nmae")
    column = import_art(studio, art, "--map", "titel=Name")

    assert (heading.exit_code, heading.error["code"]) == (3, "import_invalid")
    assert heading.error["hint"] == "did you mean Name?"
    assert (column.exit_code, column.error["code"]) == (3, "argument_invalid")
    assert column.error["hint"] == "did you mean title?"
    assert tree_digest(studio) == before


def test_encoding_that_is_none_is_an_error(studio: Path, art: Path) -> None:
    draw_icon(art / "a.png")

    answer = import_art(studio, art, "--encoding", "utf8mb4")

    assert (answer.exit_code, answer.error["code"]) == (3, "argument_invalid")


def test_captions_of_taggui_become_tags(studio: Path, art: Path) -> None:
    draw_icons(art, 2)
    (art / "icon-000.txt").write_text("red, Circle, soft glow")
    (art / "icon-001.txt").write_text("blue, 猫")

    document = import_art(
        studio, art, "--captions", "tags", "--tag-group", "look", "--dry-run"
    ).document
    found = brought(studio, art, "--captions", "tags", "--tag-group", "look", "--add-tags")

    assert tags(found["icon-000.png"]) == ["color:red", "shape:circle", "look:soft_glow"]
    assert found["icon-000.png"]["spec"]["prompt"]["positive"] == "red, Circle, soft glow"
    assert tags(found["icon-001.png"]) == ["color:blue"]
    assert document["data"]["unusedWords"] == {"猫": 1}
    assert any("no tag can be made of 猫 (1)" in warning for warning in document["warnings"])


def test_free_words_without_a_group_keep_the_import_out_and_name_the_option(
    studio: Path, art: Path
) -> None:
    draw_icons(art, 1)
    (art / "icon-000.txt").write_text("red, soft glow")

    answer = import_art(studio, art, "--captions", "tags")

    assert answer.exit_code == 1
    assert answer.document["data"]["refused"][0]["hint"] == (
        "did you mean color:red? --tag-group GROUP takes free words: GROUP:red"
    )


def test_digest_that_the_table_states_is_checked(studio: Path, art: Path) -> None:
    draw_icon(art / "a.png")
    (art / "assets.csv").write_text(f"file,sha256\na.png,{'0' * 64}\n")

    answer = import_art(studio, art)

    assert answer.exit_code == 1
    assert answer.document["data"]["refused"][0]["code"] == "digest_mismatch"


def test_folder_that_moved_adds_nothing(studio: Path, art: Path, tmp_path: Path) -> None:
    draw_icons(art, 3)
    brought(studio, art)
    art.rename(tmp_path / "moved")
    (tmp_path / "moved/icon-000.png").rename(tmp_path / "moved/renamed.png")
    before = tree_digest(studio)

    answer = import_art(studio, tmp_path / "moved")

    assert answer.document["data"]["imported"] == 0
    assert len(answer.document["data"]["alreadyThere"]) == 3
    assert tree_digest(studio) == before


@pytest.mark.parametrize(
    ("setting", "code", "words", "hint"),
    [
        (None, "settings_invalid", "assetsRoot is not set on this machine", "LORA_ASSETS_ROOT"),
        ("gone", "settings_invalid", "is not there", "if it moved, set assetsRoot"),
        ("other", "argument_invalid", "is not below assetsRoot", "leave --in-place out"),
    ],
)
def test_images_stay_in_place_only_below_an_assets_root_that_is_there(
    studio: Path, art: Path, tmp_path: Path, setting: str | None, code: str, words: str, hint: str
) -> None:
    draw_icon(art / "a.png")
    (tmp_path / "other").mkdir()
    if setting:
        settings = {"assetsRoot": str(tmp_path / setting)}
        (studio / "config/local.json").write_text(json.dumps(settings))
    before = tree_digest(studio)

    answer = import_art(studio, art, "--in-place")

    assert (answer.exit_code, answer.error["code"]) == (3, code)
    assert words in answer.error["message"]
    assert hint in answer.error["hint"]
    assert tree_digest(studio) == before


def test_assets_root_may_move_and_images_in_place_are_found_there(
    studio: Path, tmp_path: Path
) -> None:
    share, local = tmp_path / "share", studio / "config/local.json"
    draw_icons(share / "icons", 2)
    local.write_text(json.dumps({"assetsRoot": str(share)}))
    brought(studio, share / "icons", "--in-place")
    share.rename(tmp_path / "moved")

    approved = ["asset", "approve", "--all", "--as", "ana@studio.example"]
    assert invoke(approved, studio).exit_code == 0
    lost = invoke(["dataset", "build", "all", "--asset-type", "ui_icon", "--json"], studio)
    local.write_text(json.dumps({"assetsRoot": str(tmp_path / "moved")}))
    again = import_art(studio, tmp_path / "moved/icons", "--in-place")
    built = invoke(
        ["dataset", "build", "all", "--asset-type", "ui_icon", "--caption", "tags+spec+title"],
        studio,
    )

    assert lost.exit_code == 3
    assert again.document["data"]["imported"] == 0
    assert built.exit_code == 0, built.stderr


def test_imported_captions_train_word_for_word_when_a_template_says_them(
    studio: Path, art: Path
) -> None:
    draw_icons(art, 2)
    (art / "icon-000.txt").write_text("a red crown, seen from above")
    (art / "icon-001.txt").write_text("a blue shield")
    brought(studio, art)
    approved = ["asset", "approve", "--all", "--as", "ana@studio.example"]
    assert invoke(approved, studio).exit_code == 0

    built = invoke(
        ["dataset", "build", "icons", "--asset-type", "ui_icon", "--trigger", "nctyicon",
         "--template", "{trigger}, {prompt}"], studio,
    )  # fmt: skip

    assert built.exit_code == 0, built.stderr
    manifest = json.loads((studio / BASE / "datasets/icons.json").read_bytes())
    assert {item["caption"] for item in manifest["items"]} == {
        "nctyicon, a red crown, seen from above", "nctyicon, a blue shield",
    }  # fmt: skip


def test_reopened_workspace_reads_what_was_imported(studio: Path, art: Path) -> None:
    draw_icons(art, 2)
    brought(studio, art)

    findings = invoke(["validate", "--json"], studio).document["data"]["findings"]

    assert [one for one in findings if one["severity"] == "error"] == []
    assert reopen(studio).records.project_ids() == [PROJECT]
