"""Masks of a dataset that was built with ``--alpha mask``, in every layout that knows them."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from PIL import Image

from tests.support.export_builders import PROJECT, empty_studio, manifest_of, studio_with_dataset
from tests.support.workspace_builders import Answer, invoke, tree_digest

MARKER = "lora-export.json"
# Where the mask of an image stands, by layout.
BESIDE = {
    "kohya": "masks/10_nctyicon/{stem}.png",
    "imagefolder": "masks/{stem}.png",
    "ai-toolkit": "masks/{stem}.png",
    "onetrainer": "{stem}-masklabel.png",
    "csv": "masks/images/{stem}.png",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    studio = studio_with_dataset(folder / "studio", folder / "art")
    answer = invoke(["dataset", "build", "icons", "--alpha", "mask"], studio)
    assert answer.exit_code == 0, answer.stderr
    return studio


@pytest.fixture
def studio(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "studio"))


def export(studio: Path, to: Path, layout: str, *options: str) -> Answer:
    more = ["--repeats", "10"] if layout == "kohya" else []
    if "--originals" not in options:
        more.append("--normalised")
    return invoke(
        ["dataset", "export", "icons", "--format", layout, "--to", str(to), *more, *options,
         "--json"],
        studio,
    )  # fmt: skip


def exported(studio: Path, to: Path, layout: str, *options: str) -> dict[str, Any]:
    answer = export(studio, to, layout, *options)
    assert answer.exit_code == 0, answer.stdout
    data: dict[str, Any] = answer.document["data"]
    return data


def staged_masks(studio: Path) -> dict[str, bytes]:
    """Return what training gets, by the digits that an export takes for a name."""
    data = invoke(["dataset", "stage", "icons", "--json"], studio).document["data"]
    folder = studio / data["folder"] / "masks"
    return {path.name[:12]: path.read_bytes() for path in folder.iterdir()}


def size_of(image: Path) -> tuple[int, int]:
    with Image.open(image) as opened:
        return opened.size


@pytest.mark.parametrize("layout", BESIDE)
def test_every_image_has_the_mask_that_training_gets(
    layout: str, studio: Path, tmp_path: Path
) -> None:
    data = exported(studio, tmp_path / "out", layout)

    masks = staged_masks(studio)
    assert data["masks"] == len(masks) == data["images"]
    for stem, content in masks.items():
        assert (tmp_path / "out" / BESIDE[layout].format(stem=stem)).read_bytes() == content
        with Image.open(tmp_path / "out" / BESIDE[layout].format(stem=stem)) as mask:
            assert mask.getextrema() == (0, 255), "an icon stands on transparent ground"


def test_sd_scripts_finds_masks_by_the_configuration_beside_them(
    studio: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    exported(studio, out, "kohya", "--split", "all", "--words", 'sks "猫"')

    config = tomllib.loads((out / "dataset.toml").read_text("utf-8"))
    (subset,) = config["datasets"][0]["subsets"]
    images, masks = out / subset["image_dir"], out / subset["conditioning_data_dir"]
    assert subset["num_repeats"] == 10
    # It stops at an image without a mask, and at a mask without an image.
    assert {path.name for path in masks.iterdir()} == {path.name for path in images.glob("*.png")}
    assert len(list((out / "held_out").glob("*.png"))) == 2
    assert config["general"] == {"caption_extension": ".txt"}


@pytest.mark.parametrize("layout", ["imagefolder", "csv"])
def test_tables_name_the_mask_of_each_image(layout: str, studio: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported(studio, out, layout, "--split", "all")

    named = 0
    for table in (*out.rglob("metadata.jsonl"), *out.rglob("assets.csv")):
        lines = table.read_text("utf-8").splitlines()
        if table.suffix == ".csv":
            assert lines[0].startswith("file,mask,caption,")
            pairs = [line.split(",")[:2] for line in lines[1:]]
        else:
            rows = [json.loads(line) for line in lines]
            pairs = [[row["file_name"], row["mask_file_name"]] for row in rows]
        for image, mask in pairs:
            assert size_of(table.parent / image) == size_of(table.parent / mask)
            named += 1
    assert named == len(manifest_of(studio)["items"])


def test_ai_toolkit_trains_on_no_mask(studio: Path, tmp_path: Path) -> None:
    # It trains on every image below the folder, and looks a mask up by the image's name.
    exported(studio, tmp_path / "out", "ai-toolkit")

    assert {path.name for path in (tmp_path / "out").iterdir()} == {"images", "masks", MARKER}


def test_format_without_masks_says_what_will_be_learnt_instead(
    studio: Path, tmp_path: Path
) -> None:
    answer = export(studio, tmp_path / "out", "taggui")

    assert answer.exit_code == 0
    (warning,) = answer.document["warnings"]
    assert "taggui folders know no masks" in warning
    assert "#FFFFFF" in warning
    assert "--format onetrainer" in warning
    assert answer.document["data"]["masks"] == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == answer.document["data"]["images"]


def test_originals_hold_their_transparency_themselves(studio: Path, tmp_path: Path) -> None:
    answer = export(studio, tmp_path / "out", "onetrainer", "--originals")

    assert not list((tmp_path / "out").glob("*-masklabel.png"))
    assert answer.document["warnings"] == [
        "the images are originals, with their transparency: masks come with --normalised"
    ]


def test_exporting_again_writes_a_mask_that_went_and_nothing_else(
    studio: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    exported(studio, out, "onetrainer")
    before = tree_digest(out)
    assert exported(studio, out, "onetrainer")["made"] is False
    gone = min(out.glob("*-masklabel.png"))
    gone.unlink()

    data = exported(studio, out, "onetrainer")

    assert data["writtenFiles"] == [gone.name]
    assert tree_digest(out) == before


def test_masks_go_when_the_rule_asks_for_them_no_more(studio: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported(studio, out, "kohya")
    assert invoke(["dataset", "build", "icons", "--alpha", "background"], studio).exit_code == 0

    data = exported(studio, out, "kohya")

    assert {path.name for path in out.iterdir()} == {"10_nctyicon", MARKER}
    assert "dataset.toml" in data["removedFiles"]
    assert "dataset.toml" not in data["writtenFiles"]


def test_mask_that_somebody_painted_is_not_written_over(studio: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported(studio, out, "onetrainer")
    painted = min(out.glob("*-masklabel.png"))
    Image.new("L", (8, 8), 255).save(painted)
    before = tree_digest(out)

    answer = export(studio, out, "onetrainer")

    assert (answer.exit_code, answer.error["code"]) == (1, "export_changed")
    assert painted.name in answer.error["message"]
    assert tree_digest(out) == before


@pytest.mark.parametrize("layout", BESIDE)
def test_masks_of_an_export_are_no_art(layout: str, studio: Path, tmp_path: Path) -> None:
    data = exported(studio, tmp_path / "out", layout)
    other = empty_studio(tmp_path / "other")

    answer = invoke(
        ["asset", "import", str(tmp_path / "out"), "--asset-type", "ui_icon", "--json"], other
    )

    assert answer.exit_code == 0, answer.stdout
    brought = answer.document["data"]
    assert brought["imported"] == data["images"]
    masks = {
        BESIDE[layout].format(stem=PurePosixPath(one["file"]).stem) for one in brought["assets"]
    }
    assert {one["file"] for one in brought["leftAside"]} == masks
    assert not [one for one in answer.document["warnings"] if "no image" in one or "mask" in one]
    assert len(list((other / f"data/projects/{PROJECT}/assets").iterdir())) == data["images"]


def test_masks_of_onetrainer_are_no_art_without_an_export_of_ours(tmp_path: Path) -> None:
    art = tmp_path / "art"
    art.mkdir()
    for name, colour in (("cat.png", "red"), ("cat-masklabel.png", "white"),
                         ("dog-masklabel.png", "blue")):  # fmt: skip
        Image.new("RGB", (64, 64), colour).save(art / name)
    other = empty_studio(tmp_path / "other")

    answer = invoke(["asset", "import", str(art), "--asset-type", "ui_icon"], other)

    assert answer.exit_code == 0, answer.stderr
    assert "2 images imported" in answer.stdout  # no dog.png is there: it may be anything
    assert "left aside cat-masklabel.png: a mask" in " ".join(answer.stdout.split())
