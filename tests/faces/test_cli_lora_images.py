"""``lora add-images``: from a folder to the dataset of a LoRA."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.operations.registry import find_operation
from lora_pipeline.workspace.layout import Scope
from tests.support.dataset_builders import PROJECT
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import Answer, invoke, reopen, tree_digest

CAPTION = "a flat clipboard icon, orange and white, variant {}"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_studio(tmp_path_factory.mktemp("ready") / "studio").root


@pytest.fixture
def studio(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "studio"))


@pytest.fixture
def art(tmp_path: Path) -> Path:
    return pictures(tmp_path / "art", 3)


def pictures(folder: Path, count: int, *, first: int = 0, captions: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        image = Image.new("RGB", (64, 64), (40 * number % 255, 200 - number, 7 * number))
        image.paste((255, 255, 255), (number, number, number + 20, number + 30))
        image.save(folder / f"icon{number}.png")
        if captions:
            (folder / f"icon{number}.txt").write_text(CAPTION.format(number))
    return folder


def add(studio: Path, art: Path, *options: str) -> Answer:
    return invoke(["add-images", LORA, str(art), "--rights", "allowed", "--json", *options], studio)


def manifest(studio: Path, name: str = LORA) -> Manifest:
    return reopen(studio).records.read(Manifest, Scope(PROJECT), name).record


def test_without_approval_they_wait_and_are_not_trained_on(studio: Path, art: Path) -> None:
    answer = add(studio, art)

    data = answer.document["data"]
    assert answer.exit_code == 0
    assert (data["added"], len(data["waiting"]), data["manifestHash"]) == (3, 3, None)
    assert not reopen(studio).records.exists(Manifest, Scope(PROJECT), LORA)
    assert answer.document["suggestions"][1] == f"lora add-images {LORA} {art}"


def test_approved_they_are_the_dataset_of_the_lora_with_their_captions_word_for_word(
    studio: Path, art: Path
) -> None:
    answer = add(studio, art, "--approve", "--note", "hand-picked")

    data = answer.document["data"]
    assert answer.exit_code == 0, answer.stdout
    assert (data["added"], data["imageCount"], data["level"]) == (3, 3, "few")
    assert sorted(one.caption for one in manifest(studio).items) == [
        f"flt, {CAPTION.format(number)}" for number in range(3)
    ]
    assert data["manifestHash"] == manifest(studio).content_hash
    assert answer.document["reasoning"].startswith(f"Added 3 images to {LORA}: 3 images")


def test_approved_by_somebody_else_the_same_command_takes_them_in(studio: Path, art: Path) -> None:
    waiting = add(studio, art).document["data"]["waiting"]
    invoke(["asset", "approve", *waiting], studio)

    data = add(studio, art).document["data"]

    assert (data["added"], data["alreadyThere"], data["imageCount"]) == (0, 3, 3)


def test_more_images_join_those_that_are_there(studio: Path, art: Path, tmp_path: Path) -> None:
    add(studio, art, "--approve")
    before = {one.asset_id for one in manifest(studio).items}

    data = add(studio, pictures(tmp_path / "more", 2, first=7), "--approve").document["data"]

    assert data["imageCount"] == 5
    assert before < {one.asset_id for one in manifest(studio).items}


def test_the_same_again_changes_nothing(studio: Path, art: Path) -> None:
    add(studio, art, "--approve")
    before = tree_digest(studio / "data")

    answer = add(studio, art, "--approve")

    assert answer.document["written"] == []
    assert tree_digest(studio / "data") == before


def test_a_dataset_with_a_rule_keeps_it_and_says_what_it_leaves_out(
    studio: Path, art: Path
) -> None:
    invoke(["dataset", "build", "tagged", "--tag", "style:flat"], studio)

    answer = add(studio, art, "--approve", "--dataset", "tagged")

    assert answer.exit_code == 0, answer.stdout
    assert any("its rule leaves them out" in one for one in answer.document["warnings"])
    assert manifest(studio, "tagged").selection.tags == ("style:flat",)


def test_captions_come_from_a_metadata_file_too(studio: Path, tmp_path: Path) -> None:
    art = pictures(tmp_path / "art", 2, captions=False)
    described = [
        {"file": f"icon{number}.png", "caption": CAPTION.format(number)} for number in range(2)
    ]
    (tmp_path / "captions.json").write_text(json.dumps(described))

    add(studio, art, "--approve", "--metadata", str(tmp_path / "captions.json"))

    assert min(one.caption for one in manifest(studio).items) == f"flt, {CAPTION.format(0)}"


def test_train_takes_the_dataset_of_the_lora_when_none_is_named(studio: Path, art: Path) -> None:
    add(studio, art, "--approve")

    answer = invoke(["train", "--lora", LORA, "--plan", "--json"], studio)

    assert answer.document["data"]["datasetId"] == LORA


def test_captions_out_of_bounds_are_a_warning(studio: Path, tmp_path: Path) -> None:
    art = pictures(tmp_path / "art", 2)
    (art / "icon0.txt").write_text("icon")

    warnings = add(studio, art, "--approve").document["warnings"]

    assert any(one.startswith("1 descriptions have fewer than 10") for one in warnings)


def test_a_bad_file_keeps_all_of_them_out(studio: Path, art: Path) -> None:
    (art / "bad.png").write_bytes(b"no image")
    before = tree_digest(studio / "data")

    answer = add(studio, art, "--approve")

    assert answer.exit_code == 1
    assert answer.error["code"] == "import_incomplete"
    assert tree_digest(studio / "data") == before


def test_what_may_not_be_trained_on_is_refused_and_waits(studio: Path, art: Path) -> None:
    answer = invoke(
        ["add-images", LORA, str(art), "--rights", "denied", "--approve", "--json"], studio
    )

    assert answer.exit_code == 1
    assert answer.error["code"] == "rights_forbid"
    assert answer.error["message"].endswith("the images were imported and wait")
    assert not reopen(studio).records.exists(Manifest, Scope(PROJECT), LORA)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--asset-type", "banner"], "argument_invalid", f"{LORA} is for ui_icon, not for banner"),
        (["--dataset", "No Slug"], "argument_invalid", "No Slug"),
    ],
)
def test_bad_arguments_write_nothing(
    options: list[str], code: str, words: str, studio: Path, art: Path
) -> None:
    before = tree_digest(studio)

    answer = add(studio, art, *options)

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert words in answer.error["message"]
    assert tree_digest(studio) == before


def test_a_dry_run_writes_nothing(studio: Path, art: Path) -> None:
    before = tree_digest(studio / "data")

    answer = add(studio, art, "--approve", "--dry-run")

    assert answer.exit_code == 0
    assert answer.document["dryRun"]
    assert answer.document["data"]["imported"]["imported"] == 3
    assert tree_digest(studio / "data") == before


def test_people_read_what_was_added_and_what_is_recommended(studio: Path, art: Path) -> None:
    answer = invoke(["add-images", LORA, str(art), "--rights", "allowed", "--approve"], studio)

    assert f"{LORA} · 3 images added" in answer.stdout
    assert "20 to 80 are recommended" in answer.stdout
    assert "next  lora dataset check icons" in answer.stdout


def test_agents_add_and_people_approve() -> None:
    assert find_operation("lora.add-images").agents
    assert not find_operation("lora.add-approved-images").agents


def test_the_other_dataset_stays_as_it_is(studio: Path, art: Path) -> None:
    before = manifest(studio, DATASET)

    add(studio, art, "--approve")

    assert manifest(studio, DATASET) == before
