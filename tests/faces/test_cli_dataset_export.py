from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.export_builders import (
    PROJECT,
    RULE,
    empty_studio,
    manifest_of,
    studio_with_dataset,
    withdraw_first,
)
from tests.support.workspace_builders import ACTOR, Answer, invoke, reopen, tree_digest

LAYOUTS = ("kohya", "imagefolder", "taggui", "ai-toolkit", "csv")
MARKER = "lora-export.json"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    return studio_with_dataset(folder / "studio", folder / "art")


@pytest.fixture
def studio(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "studio"))


def export(studio: Path, to: Path, layout: str, *options: str) -> Answer:
    return invoke(
        ["dataset", "export", "icons", "--format", layout, "--to", str(to), *options, "--json"],
        studio,
    )


def exported(studio: Path, to: Path, layout: str, *options: str) -> dict[str, Any]:
    answer = export(studio, to, layout, *options)
    assert answer.exit_code == 0, answer.stdout
    data: dict[str, Any] = answer.document["data"]
    return data


def refused(studio: Path, to: Path, *options: str, code: str, layout: str = "taggui") -> Answer:
    before = tree_digest(to) if to.is_dir() else None
    answer = export(studio, to, layout, "--originals", *options)
    assert (answer.exit_code, answer.error["code"]) == (1, code)
    assert (tree_digest(to) if to.is_dir() else None) == before
    return answer


def sides(studio: Path) -> tuple[set[str], set[str]]:
    """Return the digests that are trained on, and those held out."""
    items = manifest_of(studio)["items"]
    assert {item["split"] for item in items} == {"train", "held_out"}
    return (
        {item["sha256"] for item in items if item["split"] == "train"},
        {item["sha256"] for item in items if item["split"] == "held_out"},
    )


def digests(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}


def test_kohya_folder_is_named_by_repeats_and_trigger_word(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "kohya", "--repeats", "10", "--originals")

    folder = tmp_path / "out/10_nctyicon"
    captions = {item["sha256"][:12]: item["caption"] for item in manifest_of(studio)["items"]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {folder.name, MARKER}
    assert digests(folder) == sides(studio)[0]
    for image in folder.glob("*.png"):
        assert image.with_suffix(".txt").read_text("utf-8") == captions[image.stem]


def test_class_words_of_kohyas_folder_may_be_given(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "kohya", "--words", "sks icon/flat", "--originals")

    assert (tmp_path / "out/1_sks icon flat").is_dir()


def test_imagefolder_has_a_line_for_every_image(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "imagefolder", "--originals")

    lines = [json.loads(one) for one in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
    items = {item["sha256"][:12]: item for item in manifest_of(studio)["items"]}
    assert {line["file_name"] for line in lines} == {
        path.name for path in (tmp_path / "out").glob("*.png")
    }
    assert len({tuple(line) for line in lines}) == 1, "the library takes types by column"
    for line in lines:
        item = items[Path(line["file_name"]).stem]
        assert line["text"] == item["caption"]
        said = [line["tags"], line["specTags"]]  # text: an empty list has no type
        assert [tag for text in said for tag in text.split(";") if tag] == item["tags"]


def test_held_out_images_are_left_out_unless_they_are_asked_for(
    studio: Path, tmp_path: Path
) -> None:
    train, held_out = sides(studio)
    for layout in LAYOUTS:
        exported(studio, tmp_path / layout, layout, "--originals")
        assert digests(tmp_path / layout) == train
        exported(studio, tmp_path / f"{layout}-test", layout, "--originals", "--split", "held-out")
        assert digests(tmp_path / f"{layout}-test") == held_out


@pytest.mark.parametrize(
    ("layout", "train_folder", "apart"),
    [
        ("kohya", "1_nctyicon", "held_out"),
        ("imagefolder", "train", "test"),
        ("csv", "images", "held_out"),
    ],
)
def test_both_sides_stand_apart(
    studio: Path, tmp_path: Path, layout: str, train_folder: str, apart: str
) -> None:
    data = exported(studio, tmp_path / "out", layout, "--originals", "--split", "all")

    train, held_out = sides(studio)
    assert digests(tmp_path / "out" / train_folder) == train
    assert digests(tmp_path / "out" / apart) == held_out
    assert data["heldOut"] == len(held_out)


@pytest.mark.parametrize("layout", ["taggui", "ai-toolkit"])
def test_tools_that_read_every_folder_get_one_side_only(
    studio: Path, tmp_path: Path, layout: str
) -> None:
    answer = export(studio, tmp_path / "out", layout, "--split", "all")

    assert (answer.exit_code, answer.error["code"]) == (3, "argument_invalid")
    assert "--split held-out" in answer.error["hint"]
    assert not (tmp_path / "out").exists()


def test_normalised_images_are_what_staging_makes(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "ai-toolkit")
    staged = invoke(["dataset", "stage", "icons", "--json"], studio).document["data"]["folder"]

    assert digests(tmp_path / "out") == digests(studio / staged)
    with Image.open(next((tmp_path / "out").glob("*.png"))) as image:
        assert image.mode == "RGB"


def test_table_of_a_csv_export_holds_no_formula(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "csv", "--split", "all")

    with (tmp_path / "out/assets.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert "'=Icon, 0" in {row["title"] for row in rows}
    assert not [cell for row in rows for cell in row.values() if cell.startswith("=")]


@pytest.mark.parametrize(
    ("layout", "form"), [*((one, "--originals") for one in LAYOUTS), ("kohya", "--normalised")]
)
def test_exporting_again_writes_nothing(
    studio: Path, tmp_path: Path, layout: str, form: str
) -> None:
    exported(studio, tmp_path / "out", layout, form)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    data = exported(studio, tmp_path / "out", layout, form)

    assert data["made"] is False
    assert data["writtenFiles"] == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_import_of_an_export_gives_the_same_content_hash(
    studio: Path, tmp_path: Path, layout: str
) -> None:
    keeps_apart = layout in ("kohya", "imagefolder", "csv")
    parts = [("all", "all")] if keeps_apart else [("train", "a"), ("held-out", "b")]
    for side, name in parts:
        exported(studio, tmp_path / "out" / name, layout, "--originals", "--split", side)
    other = empty_studio(tmp_path / "other")

    for _, name in parts:
        argv = ["asset", "import", str(tmp_path / "out" / name), "--asset-type", "ui_icon"]
        answer = invoke([*argv, "--json"], other)
        assert answer.exit_code == 0, answer.stdout
        assert answer.document["data"]["unusedColumns"] == []
    assert invoke(["asset", "approve", "--all", "--as", ACTOR], other).exit_code == 0
    built = invoke(["dataset", "build", "icons", "--asset-type", "ui_icon", *RULE], other)

    assert built.exit_code == 0, built.stderr
    assert manifest_of(other)["contentHash"] == manifest_of(studio)["contentHash"]


def test_captions_that_were_edited_after_the_export_come_back(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "taggui", "--originals")
    edited = min((tmp_path / "out").glob("*.txt"))
    edited.write_text("blue, square, a bit odd")
    other = empty_studio(tmp_path / "other")

    answer = invoke(
        ["asset", "import", str(tmp_path / "out"), "--asset-type", "ui_icon", "--captions", "tags",
         "--tag-group", "look", "--json"], other,
    )  # fmt: skip

    tags = {one["file"]: one["tags"] for one in answer.document["data"]["assets"]}
    assert tags[edited.with_suffix(".png").name] == ["color:blue", "shape:square", "look:a_bit_odd"]
    assert sum("look:a_bit_odd" in one for one in tags.values()) == 1


def test_images_that_came_and_went_are_brought_up_to_date(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "csv", "--split", "all")
    (tmp_path / "out/notes.md").write_text("mine")
    before = digests(tmp_path / "out")
    invoke(["dataset", "build", "icons", "--tag", "style:flat", *RULE], studio)

    data = exported(studio, tmp_path / "out", "csv", "--split", "all")

    now = {item["sha256"] for item in manifest_of(studio)["items"]}
    assert digests(tmp_path / "out") == now < before
    assert len([one for one in data["removedFiles"] if one.endswith(".png")]) == len(before - now)
    assert [one for one in data["writtenFiles"] if one.endswith(".png")] == []
    assert (tmp_path / "out/notes.md").read_text() == "mine"


def test_folder_with_files_of_others_is_refused(studio: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/holiday.jpg").write_bytes(b"x")

    answer = refused(studio, tmp_path / "out", code="folder_taken")

    assert "holiday.jpg" in answer.error["message"]


def test_image_that_somebody_added_to_an_export_is_not_trained_on_unseen(
    studio: Path, tmp_path: Path
) -> None:
    exported(studio, tmp_path / "out", "taggui", "--originals")
    (tmp_path / "out/extra.png").write_bytes(b"x")
    (tmp_path / "out/latents.npz").write_bytes(b"x")

    answer = refused(studio, tmp_path / "out", code="folder_taken")

    assert answer.document["data"]["files"] == ["extra.png"]


def test_caption_that_somebody_edited_is_not_written_over(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "taggui", "--originals")
    edited = min((tmp_path / "out").glob("*.txt"))
    edited.write_text("hours of work")

    answer = refused(studio, tmp_path / "out", code="export_changed")

    assert answer.document["data"]["files"] == [edited.name]
    assert "lora asset import" in answer.error["hint"]


def test_file_that_went_is_put_back(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "taggui", "--originals")
    before = tree_digest(tmp_path / "out")
    min((tmp_path / "out").glob("*.png")).unlink()

    data = exported(studio, tmp_path / "out", "taggui", "--originals")

    assert len(data["writtenFiles"]) == 1
    assert tree_digest(tmp_path / "out") == before


def test_folder_of_another_export_is_refused(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "taggui", "--originals")

    refused(studio, tmp_path / "out", code="folder_taken", layout="kohya")


def test_folder_of_the_records_is_no_place_for_an_export(studio: Path) -> None:
    for folder in (studio / "data/projects/out", studio):
        before = tree_digest(studio)
        answer = export(studio, folder, "taggui")
        assert (answer.exit_code, answer.error["code"]) == (3, "argument_invalid")
        assert tree_digest(studio) == before


def test_link_in_the_folder_is_not_followed_out_of_it(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "out", "csv", "--split", "train")
    (tmp_path / "elsewhere").mkdir()
    for path in (tmp_path / "out/images").iterdir():
        path.unlink()
    (tmp_path / "out/images").rmdir()
    (tmp_path / "out/images").symlink_to(tmp_path / "elsewhere", target_is_directory=True)

    answer = export(studio, tmp_path / "out", "csv", "--split", "train")

    assert (answer.exit_code, answer.error["code"]) == (3, "unsafe_path")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_dry_run_says_what_would_be_written(studio: Path, tmp_path: Path) -> None:
    answer = export(studio, tmp_path / "out", "kohya", "--dry-run")

    assert answer.document["dryRun"] is True
    assert answer.document["data"]["images"] == len(sides(studio)[0])
    assert not (tmp_path / "out").exists()


def test_withdrawn_image_is_not_handed_on(studio: Path, tmp_path: Path) -> None:
    withdraw_first(reopen(studio))

    answer = (
        refused(studio, tmp_path / "out", "--split", "held-out", code="rights_forbid")
        if (_first_is_held_out(studio))
        else refused(studio, tmp_path / "out", code="rights_forbid")
    )

    assert "withdrawn on 2026-03-01: the artist asked" in answer.error["message"]
    assert not (tmp_path / "out").exists()


def _first_is_held_out(studio: Path) -> bool:
    return bool(manifest_of(studio)["items"][0]["split"] == "held_out")


def test_image_that_changed_since_the_build_is_refused(studio: Path, tmp_path: Path) -> None:
    item = next(one for one in manifest_of(studio)["items"] if one["split"] == "train")
    (studio / "data" / item["path"]).write_bytes(b"another one")

    answer = export(studio, tmp_path / "out", "taggui")

    assert (answer.exit_code, answer.error["code"]) == (3, "digest_mismatch")
    assert answer.error["hint"] == "lora dataset verify icons"
    assert not list((tmp_path / "out").glob("*.png"))


def test_manifest_that_was_edited_by_hand_is_refused(studio: Path, tmp_path: Path) -> None:
    path = studio / f"data/projects/{PROJECT}/datasets/icons.json"
    path.write_text(path.read_text("utf-8").replace("nctyicon", "nctyicom"), "utf-8")

    assert export(studio, tmp_path / "out", "taggui").error["code"] == "digest_mismatch"
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="other systems count links in another way")
def test_originals_may_be_linked_and_are_copied_otherwise(studio: Path, tmp_path: Path) -> None:
    exported(studio, tmp_path / "copies", "taggui", "--originals")
    exported(studio, tmp_path / "links", "taggui", "--originals", "--link")

    assert {path.stat().st_nlink for path in (tmp_path / "copies").glob("*.png")} == {1}
    assert {path.stat().st_nlink for path in (tmp_path / "links").glob("*.png")} == {2}
    assert export(studio, tmp_path / "x", "taggui", "--link").error["code"] == "argument_invalid"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--repeats", "0"), "repeats must be at least 1"),
        (("--repeats", "2"), "taggui folders cannot say repeats"),
        (("--words", "sks"), "taggui folders cannot say repeats"),
    ],
)
def test_options_that_the_layout_cannot_say_are_refused(
    studio: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    answer = export(studio, tmp_path / "out", "taggui", *options)

    assert (answer.exit_code, answer.error["code"]) == (3, "argument_invalid")
    assert words in answer.error["message"]


def test_repeats_that_a_layout_cannot_say_are_warned_about(studio: Path, tmp_path: Path) -> None:
    path = studio / f"data/projects/{PROJECT}/datasets/icons.json"
    document = json.loads(path.read_bytes())
    for item in document["items"]:
        item["repeats"] = 3
    _rewrite(path, document)

    exported(studio, tmp_path / "kohya", "kohya", "--originals")
    answer = export(studio, tmp_path / "out", "ai-toolkit", "--originals")
    warnings = answer.document["warnings"]

    assert (tmp_path / "kohya/3_nctyicon").is_dir()
    assert "repeated in the manifest, which ai-toolkit folders cannot say" in warnings[0]


def _rewrite(path: Path, document: dict[str, Any]) -> None:
    from lora_pipeline.datasets.manifest import hash_of_manifest
    from lora_pipeline.datasets.records import Manifest

    manifest = Manifest.from_dict(document)
    path.write_text(json.dumps(document | {"contentHash": hash_of_manifest(manifest)}))
