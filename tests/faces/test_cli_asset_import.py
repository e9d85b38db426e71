from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import hostile_images as hostile
from tests.support.asset_commands import import_art
from tests.support.catalog_builders import draw_icon, draw_icons
from tests.support.workspace_builders import Answer, invoke, make_workspace, tree_digest

BASE = "data/projects/neon_city"


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    make_workspace(tmp_path / "studio", git=False)
    assert invoke(["project", "create", "neon_city"], tmp_path / "studio").exit_code == 0
    return tmp_path / "studio"


@pytest.fixture
def art(tmp_path: Path) -> Path:
    draw_icons(tmp_path / "art", 3)
    return tmp_path / "art"


def records(studio: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((studio / BASE / kind).glob("*.json"))]


def without_cache(studio: Path) -> dict[str, bytes]:
    """Return every file; what decoding said is kept for the next time, and is no data."""
    return {k: v for k, v in tree_digest(studio).items() if not k.startswith(".lora/cache/")}


def refused(
    studio: Path, art: Path, *arguments: str, exit_code: int = 1, code: str = "import_incomplete"
) -> Answer:
    before = without_cache(studio)
    answer = import_art(studio, art, *arguments)
    assert (answer.exit_code, answer.error["code"]) == (exit_code, code)
    assert without_cache(studio) == before
    return answer


def reasons(answer: Answer) -> list[str]:
    return [bad["reason"] for bad in answer.document["data"]["refused"]]


def test_each_image_becomes_a_spec_and_an_asset_that_waits_for_review(
    studio: Path, art: Path
) -> None:
    answer = import_art(
        studio, art, "--tag", "style:flat", "--author", "Ana", "--license", "CC0-1.0"
    )

    specs, assets = records(studio, "specs"), records(studio, "assets")
    assert answer.exit_code == 0
    assert answer.document["data"]["imported"] == len(specs) == len(assets) == 3
    assert {asset["specId"] for asset in assets} == {spec["id"] for spec in specs}
    assert {asset["versions"][0]["status"] for asset in assets} == {"review"}
    assert assets[0]["provenance"] == {"author": "Ana", "license": "CC0-1.0"}
    assert assets[0]["versions"][0]["variants"][0]["tags"] == ["style:flat"]


def test_copies_are_the_very_bytes_and_records_name_their_digest(studio: Path, art: Path) -> None:
    import_art(studio, art)

    originals = {hashlib.sha256(path.read_bytes()).hexdigest() for path in art.iterdir()}
    for asset in records(studio, "assets"):
        variant = asset["versions"][0]["variants"][0]
        copy = studio / "data" / variant["originalPath"]
        sha256 = hashlib.sha256(copy.read_bytes()).hexdigest()
        assert sha256 == variant["original"]["sha256"]
        assert copy.stem == sha256[:12]
        assert variant["alphaPath"] == variant["originalPath"]
        originals.remove(sha256)
    assert not originals


def test_picture_without_transparency_has_no_alpha_image(studio: Path, tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    (tmp_path / "art/photo.jpg").write_bytes(hostile.noisy_jpeg())

    answer = import_art(studio, tmp_path / "art")

    variant = records(studio, "assets")[0]["versions"][0]["variants"][0]
    assert "alphaPath" not in variant
    assert variant["original"]["format"] == "JPEG"
    assert "no transparent background" in answer.document["warnings"][0]


def test_same_folder_twice_adds_nothing_and_says_so(studio: Path, art: Path) -> None:
    first = import_art(studio, art).document["data"]["assets"]
    before = tree_digest(studio)

    again = import_art(studio, art)

    assert again.exit_code == 0
    assert again.document["data"]["imported"] == 0
    assert {one["assetId"] for one in again.document["data"]["alreadyThere"]} == {
        one["id"] for one in first
    }
    assert tree_digest(studio) == before


def test_same_image_under_another_name_adds_nothing(studio: Path, art: Path) -> None:
    import_art(studio, art)
    (art / "icon-000.png").rename(art / "renamed.png")

    assert import_art(studio, art).document["data"]["imported"] == 0


def test_second_copy_in_one_folder_is_left_out_and_named(studio: Path, art: Path) -> None:
    shutil.copy(art / "icon-001.png", art / "copy.png")

    answer = import_art(studio, art)

    assert answer.document["data"]["imported"] == 3
    assert answer.document["data"]["duplicates"] == [{"file": "icon-001.png", "sameAs": "copy.png"}]


def test_metadata_file_brings_words_origin_and_rights(studio: Path, art: Path) -> None:
    (art / "assets.csv").write_text(
        "file,title,tags,style,scenario,prompt,author,trainingRights\n"
        'icon-000.png,Sun,shape:circle;color:red,neon,hud,"a red sun",Bo,denied\n'
        "icon-001.png,Moon,grey,,,,,\n"
        "icon-002.png,Sea,,,,,,allowed\n"
    )

    answer = import_art(studio, art, "--author", "Ana", "--tag", "style:flat")

    by_title = {spec["title"]: spec for spec in records(studio, "specs")}
    assets = {asset["specId"]: asset for asset in records(studio, "assets")}
    sun, moon = assets[by_title["Sun"]["id"]], assets[by_title["Moon"]["id"]]
    assert answer.document["data"]["metadata"] == "assets.csv"
    assert (by_title["Sun"]["style"], by_title["Sun"]["scenario"]) == ("neon", "hud")
    assert by_title["Sun"]["prompt"]["positive"] == "a red sun"
    assert sun["provenance"]["author"] == "Bo"
    assert sun["rights"]["training"] == "denied"
    assert moon["provenance"]["author"] == "Ana"
    assert moon["versions"][0]["variants"][0]["tags"] == ["style:flat", "color:gray"]
    assert by_title["Moon"]["style"] == "flat"


def test_side_car_files_bring_tags_and_descriptions(studio: Path, art: Path) -> None:
    (art / "icon-000.txt").write_text("shape:circle, color:red")
    (art / "icon-001.txt").write_text("a blue square\nwith dots")
    (art / "icon-002.json").write_text('{"title": "Kite", "tags": ["shape:diamond"]}')

    import_art(studio, art)

    specs = {spec["title"]: spec for spec in records(studio, "specs")}
    assert set(specs) == {"Icon 000", "Icon 001", "Kite"}
    assert specs["Icon 001"]["prompt"]["positive"] == "a blue square with dots"
    tags = {
        tuple(a["versions"][0]["variants"][0].get("tags", ())) for a in records(studio, "assets")
    }
    assert tags == {("shape:circle", "color:red"), (), ("shape:diamond",)}


def test_image_that_the_metadata_file_does_not_describe_is_named(studio: Path, art: Path) -> None:
    (art / "assets.csv").write_text("file,title\nicon-000.png,Sun\nicon-001.png,Moon\n")

    warnings = import_art(studio, art).document["warnings"]

    assert warnings == ["icon-002.png: not described in assets.csv"]


def test_line_about_an_image_that_is_not_there_keeps_the_import_out(
    studio: Path, art: Path
) -> None:
    (art / "assets.csv").write_text("file,title\nicon-000.png,Sun\nicon-999.png,Moon\n")

    answer = refused(studio, art)

    assert reasons(answer) == ["assets.csv line 3 names icon-999.png, which is not in the folder"]


def test_unknown_column_is_an_error_before_any_image_is_looked_at(studio: Path, art: Path) -> None:
    (art / "assets.csv").write_text("file,titel\nicon-000.png,Sun\n")

    answer = refused(studio, art, exit_code=3, code="import_invalid")

    assert answer.error["hint"] == "did you mean title? --map title='titel' takes it as it is"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("bad.png", b"", "bad.png is empty (0 bytes)"),
        ("bad.png", b"hello", "bad.png is a text file"),
        ("bad.png", hostile.LFS_POINTER, "bad.png is a Git LFS pointer"),
        ("bad.png", hostile.noisy_jpeg(), "bad.png is a JPEG image, its name says PNG"),
        ("bad.jpg", hostile.noisy_jpeg()[:600], "bad.jpg is truncated"),
        ("bad.png", hostile.png_header(100_000, 100_000), "100,000 x 100,000 pixels"),
        ("bad.gif", b"GIF89a" + b"\x00" * 20, "bad.gif is a GIF image"),
        ("bad.tif", b"II*\x00", "bad.tif is a TIFF image"),
    ],
)
def test_one_bad_file_keeps_the_import_out_and_is_named(
    studio: Path, art: Path, name: str, data: bytes, words: str
) -> None:
    (art / name).write_bytes(data)

    answer = refused(studio, art)

    assert len(reasons(answer)) == 1
    assert words in reasons(answer)[0]
    assert answer.error["message"] == ("1 of 4 files cannot be imported; nothing was written")


def test_animated_image_keeps_the_import_out(studio: Path, art: Path) -> None:
    hostile.animated(art / "move.webp", "WEBP")

    assert "is animated (2 frames)" in reasons(refused(studio, art))[0]


def test_good_files_are_imported_when_bad_ones_may_be_skipped(studio: Path, art: Path) -> None:
    (art / "bad.png").write_bytes(b"hello")

    answer = import_art(studio, art, "--skip-bad")

    assert answer.exit_code == 0
    assert answer.document["data"]["imported"] == len(records(studio, "assets")) == 3
    assert answer.document["warnings"] == ["bad.png is a text file; PNG, JPEG and WebP are read"]


def test_every_bad_file_is_shown_with_its_reason(studio: Path, art: Path) -> None:
    (art / "a.png").write_bytes(b"")
    (art / "b.png").write_bytes(b"{}")

    answer = invoke(["asset", "import", str(art), "--asset-type", "ui_icon"], studio)

    assert "refused · 2 of 5 files cannot be imported; nothing was written" in answer.stdout
    assert "fail       a.png is empty (0 bytes)" in answer.stdout
    assert "fail       b.png is a JSON file" in answer.stdout
    assert "--skip-bad" in answer.stdout


def test_words_of_no_catalog_are_a_warning_and_come_into_it_when_asked(
    studio: Path, art: Path
) -> None:
    tags = studio / BASE / "catalogs/tags.json"
    before = tags.read_bytes()

    warned = import_art(studio, art, "--tag", "shape:strar,mood:calm", "--style", "oil")
    shutil.rmtree(studio / BASE / "assets")
    added = import_art(studio, art, "--tag", "mood:calm", "--style", "oil", "--add-tags")

    (warning,) = warned.document["warnings"]
    assert warning.startswith("shape:strar (did you mean shape:star?), mood:calm, style oil are")
    assert warning.endswith("--add-tags puts new words there")
    assert added.document["data"]["addedWords"] == {
        "tags": ["mood:calm"], "styles": ["oil"], "scenarios": [],
    }  # fmt: skip
    assert tags.read_bytes() != before


def test_tags_that_exclude_each_other_keep_the_import_out(studio: Path, art: Path) -> None:
    (art / "assets.csv").write_text("file,tags\nicon-000.png,style:neon\n")

    answer = refused(studio, art, "--tag", "style:flat")

    assert "style:flat and style:neon exclude each other" in reasons(answer)[0]


def test_unknown_asset_type_is_an_error_with_the_near_one(studio: Path, art: Path) -> None:
    before = tree_digest(studio)

    answer = invoke(["asset", "import", str(art), "--asset-type", "ui_icn", "--json"], studio)

    assert (answer.exit_code, answer.error["code"]) == (3, "record_not_found")
    assert answer.error["hint"] == "did you mean ui_icon?"
    assert tree_digest(studio) == before


def test_folder_without_images_is_an_error_that_says_what_it_holds(
    studio: Path, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/readme.md").write_text("x")

    answer = refused(studio, tmp_path / "docs", exit_code=3, code="selection_empty")

    assert "it holds readme.md" in answer.error["message"]


def test_folder_that_is_not_there_is_missing(studio: Path, tmp_path: Path) -> None:
    refused(studio, tmp_path / "nothing", exit_code=3, code="file_missing")


def test_dry_run_looks_at_everything_and_writes_nothing(studio: Path, art: Path) -> None:
    before = tree_digest(studio)

    answer = import_art(studio, art, "--dry-run", "--tag", "mood:calm", "--add-tags")

    assert answer.document["dryRun"] is True
    assert answer.document["data"]["imported"] == 3
    assert len(answer.document["written"]) == 1 + 3 * 3
    assert tree_digest(studio) == before


def test_images_may_stay_where_they_are(studio: Path, art: Path) -> None:
    (studio / "config/local.json").write_text(json.dumps({"assetsRoot": str(art.parent)}))

    import_art(studio, art, "--in-place")

    paths = {a["versions"][0]["variants"][0]["originalPath"] for a in records(studio, "assets")}
    assert paths == {f"assetsRoot:art/icon-00{number}.png" for number in range(3)}
    assert not (studio / BASE / "files").exists()


def test_images_outside_the_assets_root_cannot_stay_where_they_are(
    studio: Path, art: Path, tmp_path: Path
) -> None:
    (studio / "config/local.json").write_text(json.dumps({"assetsRoot": str(tmp_path / "other")}))
    (tmp_path / "other").mkdir()

    refused(studio, art, "--in-place", exit_code=3, code="argument_invalid")


def test_link_that_leads_out_of_the_folder_keeps_the_import_out(
    studio: Path, art: Path, tmp_path: Path
) -> None:
    (art / "link.png").symlink_to(draw_icon(tmp_path / "secret.png", seed=9))

    assert reasons(refused(studio, art)) == ["link.png is a link that leads out of the folder"]


def test_location_in_a_photo_is_warned_about(studio: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    (tmp_path / "art").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "art/trip.jpg", exif=exif)

    warnings = import_art(studio, tmp_path / "art", "--asset-type", "product").document["warnings"]

    assert warnings == ["trip.jpg: EXIF data says where it was taken, and the copy keeps that"]


def test_one_picture_saved_twice_in_other_bytes_is_warned_about(studio: Path, art: Path) -> None:
    with Image.open(art / "icon-001.png") as image:
        image.save(art / "again.png", compress_level=0)

    answer = import_art(studio, art)

    assert answer.document["data"]["imported"] == 4
    assert answer.document["warnings"] == [
        "again.png and icon-001.png: one picture in different bytes"
    ]


def test_names_of_any_kind_are_imported(studio: Path, tmp_path: Path) -> None:
    names = ["猫.png", "犬.png", "-rf $(x);.png", 'a "b".png']
    for seed, name in enumerate(names):
        draw_icon(tmp_path / "art" / name, seed=seed)

    import_art(studio, tmp_path / "art")

    assert {spec["title"] for spec in records(studio, "specs")} == {
        "猫", "犬", "Rf $(x);", 'A "b"',
    }  # fmt: skip


def test_more_images_than_one_batch_are_all_imported(studio: Path, tmp_path: Path) -> None:
    draw_icons(tmp_path / "many", 70, size=16)

    answer = import_art(studio, tmp_path / "many")

    assert answer.document["data"]["imported"] == len(records(studio, "assets")) == 70
    assert len(list((studio / BASE / "files/images").glob("*/original/*.png"))) == 70
