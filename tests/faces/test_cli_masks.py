"""Alpha as a mask, from the rule of a dataset to the plan of a trainer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import Answer, invoke, tree_digest

MANIFEST = f"data/projects/neon_city/datasets/{DATASET}.json"
PLAN = ["train", "--lora", LORA, "--dataset", DATASET, "--plan"]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_studio(tmp_path_factory.mktemp("ready") / "studio").root


@pytest.fixture
def studio(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "studio"))


def did(studio: Path, *arguments: str) -> Answer:
    answer = invoke([*arguments], studio)
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    return answer


def manifest_of(studio: Path) -> Any:
    return json.loads((studio / MANIFEST).read_text(encoding="utf-8"))


def test_the_rule_is_kept_and_is_part_of_the_content_hash(studio: Path) -> None:
    before = manifest_of(studio)
    told = did(studio, "dataset", "build", DATASET, "--alpha", "mask")
    masked = manifest_of(studio)
    again = did(studio, "dataset", "build", DATASET)

    assert "alpha: background → mask" in told.stdout
    assert "unchanged" in again.stdout
    assert masked["normalization"] == {**before["normalization"], "alpha": "mask"}
    assert masked["contentHash"] != before["contentHash"]
    assert "as a mask of the loss" in did(studio, "dataset", "show", DATASET).stdout

    did(studio, "dataset", "build", DATASET, "--alpha", "background")
    assert manifest_of(studio) == before | {"updatedAt": manifest_of(studio)["updatedAt"]}


def test_every_image_is_staged_with_its_mask(studio: Path) -> None:
    did(studio, "dataset", "build", DATASET, "--alpha", "mask")
    data = did(studio, "dataset", "stage", DATASET, "--json").document["data"]

    (folder,) = (studio / ".lora" / "staging").glob("[0-9a-f]*")
    images = sorted(path.name for path in folder.glob("*.png"))
    assert data["images"] == len(images) == 4
    assert sorted(path.name for path in (folder / "masks").iterdir()) == images


def test_the_plan_says_that_masks_weigh_the_loss(studio: Path) -> None:
    plain = did(studio, *PLAN, "--trainer", "kohya_ss")
    assert "weighed by" not in plain.stdout
    did(studio, "dataset", "build", DATASET, "--alpha", "mask")

    told = did(studio, *PLAN, "--trainer", "kohya_ss")
    data = did(studio, *PLAN, "--trainer", "diffusers", "--json").document["data"]

    assert "/masks: only what is opaque is learnt" in told.stdout
    assert "masked_loss = true" in told.stdout
    assert data["alpha"] == "mask"
    job = json.loads(data["plan"]["files"][0]["content"])
    assert {one["mask"] for one in job["images"]} == {
        f"masks/{one['name']}" for one in job["images"]
    }


@pytest.mark.parametrize("word", ["Mask", ""])
def test_another_word_for_alpha_is_a_question_of_usage(word: str, studio: Path) -> None:
    before = tree_digest(studio)

    assert invoke(["dataset", "build", DATASET, "--alpha", word], studio).exit_code == 2
    arguments = json.dumps({"datasetId": DATASET, "alpha": word, "project": "neon_city"})
    called = invoke(["call", "dataset.build", arguments], studio)

    assert called.exit_code == 3
    assert called.error["code"] == "argument_invalid"
    assert f"{word!r} - at `$.alpha`" in called.error["message"]
    assert tree_digest(studio) == before
