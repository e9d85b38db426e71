"""``lora advise``: what the active release's own rule chooses today."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import Asset, Rights
from lora_pipeline.datasets.records import Manifest, Selection
from lora_pipeline.operations.datasets.dataset import build_dataset
from lora_pipeline.workspace.changes import Changes
from tests.support.catalog_builders import add_asset, draw_icon
from tests.support.release_builders import (
    DATASET,
    LORA,
    PROJECT,
    SCOPE,
    Studio,
    add_lora,
    add_release,
    copy_of,
    make_active,
    make_studio,
)
from tests.support.workspace_builders import Answer, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio whose manifest is what its rule builds, with r1 trained on it and active."""
    made = make_studio(tmp_path_factory.mktemp("template") / "studio")
    build_dataset(made.workspace, DATASET)
    loaded = made.lora()
    changes = Changes(made.workspace)
    changes.update(loaded, replace(loaded.record, releases=()))
    changes.apply()
    add_release(made, "r1")
    make_active(made)
    return made


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def advise(studio: Studio, *arguments: str) -> Answer:
    return invoke(["advise", *arguments, "--json"], studio.root)


def advice_of(studio: Studio) -> dict[str, object]:
    facts: dict[str, object] = advise(studio, LORA).document["data"]["loras"][0]
    return facts


def add_image(studio: Studio, seed: int = 77) -> Asset:
    art = studio.root.parent / "more-art" / f"{seed}.png"
    return add_asset(studio.workspace, PROJECT, draw_icon(art, seed=seed, size=32))


def withdraw(studio: Studio, asset_id: str) -> None:
    loaded = studio.workspace.records.read(Asset, SCOPE, asset_id)
    rights = Rights(withdrawn_at="2026-02-01T00:00:00Z", withdrawn_by="kim@studio.example")
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, rights=rights))
    changes.apply()


def manifest_of(studio: Studio) -> Manifest:
    return studio.workspace.records.read(Manifest, SCOPE, DATASET).record


def test_a_release_that_knows_all_of_its_rule_is_up_to_date(studio: Studio) -> None:
    before = tree_digest(studio.root / "data")

    facts = advice_of(studio)

    assert (facts["advice"], facts["images"], facts["next"]) == ("current", 3, [])
    assert tree_digest(studio.root / "data") == before


def test_new_approved_images_of_the_rule_are_named_with_the_next_commands(studio: Studio) -> None:
    asset = add_image(studio)

    answer = advise(studio, LORA)

    facts = answer.document["data"]["loras"][0]
    assert answer.exit_code == 0
    assert facts["advice"] == "retrain"
    assert [one["assetId"] for one in facts["came"]] == [asset.id]
    assert "33% of what it knows" in facts["reason"]
    assert answer.document["suggestions"] == [
        "lora dataset build icons",
        "lora train --lora icons --dataset icons",
    ]


def test_images_that_the_rule_does_not_choose_are_no_reason(studio: Studio) -> None:
    art = draw_icon(studio.root.parent / "more-art" / "c.png", seed=5, size=32)
    add_asset(studio.workspace, PROJECT, art, status="draft")

    assert advice_of(studio)["advice"] == "current"


def test_the_rule_is_the_one_trained_on_also_when_the_manifest_has_another_by_now(
    studio: Studio,
) -> None:
    loaded = studio.workspace.records.read(Manifest, SCOPE, DATASET)
    other = replace(loaded.record, selection=Selection(asset_types=("ui_icon",), tags=("x:y",)))
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(other, items=other.items[:1], content_hash="sha256:" + "0" * 64))
    changes.apply()
    asset = add_image(studio)

    facts = advice_of(studio)

    assert [one["assetId"] for one in facts["came"]] == [asset.id]  # type: ignore[attr-defined]
    assert facts["rules"] == ["selection.tags"]


def test_a_withdrawn_image_comes_first(studio: Studio) -> None:
    gone = manifest_of(studio).items[0].asset_id
    withdraw(studio, gone)
    add_image(studio)

    answer = advise(studio, LORA)

    facts = answer.document["data"]["loras"][0]
    assert facts["advice"] == "withdrawn"
    assert [one["assetId"] for one in facts["withdrawn"]] == [gone]
    assert "withdrawn" in facts["went"][0]["reason"]
    assert answer.document["suggestions"][0] == "lora dataset impact --withdrawn"


def test_when_everything_is_gone_it_is_still_an_answer(studio: Studio) -> None:
    for item in manifest_of(studio).items:
        withdraw(studio, item.asset_id)

    facts = advice_of(studio)

    assert facts["advice"] == "withdrawn"
    assert len(facts["went"]) == 3  # type: ignore[arg-type]


def test_a_candidate_that_was_trained_on_it_is_to_be_evaluated_instead(studio: Studio) -> None:
    add_image(studio)
    build_dataset(studio.workspace, DATASET)
    add_release(studio, "r2")

    answer = advise(studio, LORA)

    assert answer.document["data"]["loras"][0]["advice"] == "evaluate"
    assert answer.document["suggestions"] == ["lora eval grid icons r2"]


def test_a_manifest_that_nobody_finds_is_not_proven_and_no_other_lora_suffers(
    studio: Studio,
) -> None:
    loaded = studio.lora()
    release = loaded.record.releases[0]
    lost = replace(release, training=release.training | {"manifestHash": "sha256:" + "9" * 64})
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, releases=(lost,)))
    changes.apply()
    add_lora(studio.workspace, "other", trigger_word="othr")

    found = advise(studio).document["data"]["loras"]

    assert {one["loraId"]: one["advice"] for one in found} == {
        "icons": "not_proven",
        "other": "untrained",
    }


def test_people_read_what_came_and_what_to_type(studio: Studio) -> None:
    asset = add_image(studio)

    text = invoke(["advise", LORA], studio.root).stdout
    table = invoke(["advise"], studio.root).stdout

    assert text.startswith("train anew · icons r1, active: +1  ")
    assert asset.id in text
    assert "next  lora dataset build icons  ·  lora train --lora icons --dataset icons" in text
    assert "train anew" in table


def test_a_lora_that_is_not_there_is_an_error(studio: Studio) -> None:
    answer = advise(studio, "icnos")

    assert (answer.exit_code, answer.error["code"]) == (3, "record_not_found")
    assert "icons" in answer.error["hint"]
