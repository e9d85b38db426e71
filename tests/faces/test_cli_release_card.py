"""``lora release card``: the same records, the same bytes; anything else is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from lora_pipeline.catalog.records import Asset, Checkpoint, CheckpointLicense, Rights
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.workspace.changes import Changes
from tests.support.release_builders import (
    DATASET,
    LORA,
    SCOPE,
    Studio,
    active_studio,
    copy_of,
    edit,
)
from tests.support.workspace_builders import Answer, commit_all, invoke, tree_digest

CARD = "cards/icons-r1.md"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 of icons active and r2 a candidate."""
    return copy_of(template, tmp_path / "studio")


def card(studio: Studio, *arguments: str) -> Answer:
    return invoke(["release", "card", *arguments, "--json"], studio.root)


def text_of(studio: Studio, release: str = "r1") -> str:
    text: str = card(studio, LORA, release).document["data"]["card"]
    return text


def front(text: str) -> dict[str, object]:
    matter: dict[str, object] = yaml.safe_load(text.split("---\n")[1])
    return matter


def change_checkpoint(studio: Studio, license_: CheckpointLicense) -> None:
    loaded = studio.workspace.records.read(Checkpoint, SCOPE, "tiny")
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, license=license_))
    changes.apply()


def test_the_card_tells_trigger_strength_manifest_licences_numbers_and_who_said_yes(
    studio: Studio,
) -> None:
    text = text_of(studio)
    manifest = studio.workspace.records.read(Manifest, SCOPE, DATASET).record

    assert front(text)["instance_prompt"] == "stkr"
    assert front(text)["tags"] == [
        "text-to-image", "diffusers", "lora", "template:sd-lora", "lora-pipeline",
    ]  # fmt: skip
    assert front(text)["widget"] == [{"text": "stkr, a red star"}]
    for words in (
        "| strength | 0.9, looked at with 0.5, 1 |",
        manifest.content_hash,
        "`CC0-1.0`: 3",
        "| mean effect at full strength, with the trigger word | 0.2353 |",
        "Promoted on 2026-03-01 by `ana@studio.example`, under the policy `standard`",
        "`approved` by `kim@studio.example`",
        "| status | **approved, active** |",
    ):
        assert words in text


def test_a_candidate_is_said_to_be_one_and_not_to_be_evaluated(studio: Studio) -> None:
    text = text_of(studio, "r2")

    assert "No promotion is recorded: it is a candidate." in text
    assert "It was not evaluated." in text


def test_the_same_records_in_another_folder_and_zone_give_the_same_bytes(
    studio: Studio, template: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(studio, LORA, "r1", "--output", CARD)
    written = (studio.root / CARD).read_bytes()
    elsewhere = copy_of(template, studio.root.parent / "elsewhere")
    monkeypatch.setenv("TZ", "Pacific/Auckland")

    card(elsewhere, LORA, "r1", "--output", CARD)

    assert (elsewhere.root / CARD).read_bytes() == written
    assert b"\r" not in written


def test_the_sheet_is_found_from_where_the_card_stands(studio: Studio) -> None:
    card(studio, LORA, "r1", "--output", CARD)

    line = next(
        line for line in (studio.root / CARD).read_text().splitlines() if line.startswith("![")
    )

    sheet = (studio.root / CARD).parent / line.partition("(")[2].removesuffix(")")
    assert sheet.resolve().is_file()


def test_one_licence_for_base_and_images_is_named_and_otherwise_nothing_is_guessed(
    studio: Studio,
) -> None:
    assert front(text_of(studio))["license"] == "other"

    change_checkpoint(studio, CheckpointLicense(id="CC0-1.0"))

    assert front(text_of(studio))["license"] == "cc0-1.0"


def test_the_base_model_is_named_where_a_record_tells_its_name_at_hugging_face(
    studio: Studio,
) -> None:
    assert "base_model" not in front(text_of(studio))
    license_ = CheckpointLicense(
        id="openrail", url="https://huggingface.co/studio/tiny-base/blob/main/LICENSE.md"
    )

    change_checkpoint(studio, license_)

    assert front(text_of(studio))["base_model"] == "studio/tiny-base"


def test_words_of_other_people_hold_no_markup_and_no_field(studio: Studio) -> None:
    loaded = studio.lora()
    changes = Changes(studio.workspace)
    nasty = "x`\n---\nlicense: mit\n<script>alert(1)</script> | [a](http://b)"
    changes.update(loaded, replace(loaded.record, description=nasty, name="# | `boss`"))
    changes.apply()

    text = text_of(studio)

    assert front(text)["license"] == "other"
    assert "\n<script>" not in text
    assert "# `` # | `boss` `` r1" in text


def test_a_withdrawn_image_is_a_limit_from_the_day_it_is_withdrawn(studio: Studio) -> None:
    loaded = next(studio.workspace.records.all(Asset, SCOPE))
    changes = Changes(studio.workspace)
    rights = Rights(withdrawn_at="2026-04-01T00:00:00Z", withdrawn_by="kim@studio.example")
    changes.update(loaded, replace(loaded.record, rights=rights))
    changes.apply()

    assert "**1 images were withdrawn after it was trained.**" in text_of(studio)


def test_check_passes_what_the_records_say_also_after_windows_line_ends(studio: Studio) -> None:
    card(studio, LORA, "r1", "--output", CARD)
    file = studio.root / CARD
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))

    answer = card(studio, "--check")

    assert answer.exit_code == 0
    assert answer.document["data"]["cards"] == [CARD]


def test_check_finds_an_edited_card_and_shows_the_line(studio: Studio) -> None:
    card(studio, LORA, "r1", "--output", CARD)
    commit_all(studio.root, "A card")
    edit(studio.root / CARD, "0.2353 |", "0.9353 |")
    before = tree_digest(studio.root)

    answer = card(studio, "--check")

    assert answer.exit_code == 1
    assert answer.error["code"] == "card_differs"
    assert CARD in answer.error["message"]
    assert any("0.9353" in line for line in answer.document["data"]["differences"])
    assert tree_digest(studio.root) == before


def test_check_finds_a_card_whose_records_went_on(studio: Studio) -> None:
    card(studio, LORA, "r1", "--output", CARD)
    loaded = studio.lora()
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, strength=0.4))
    changes.apply()

    assert card(studio, "--check").exit_code == 1
    assert card(studio, LORA, "r1", "--output", CARD, "--check").exit_code == 1
    card(studio, LORA, "r1", "--output", CARD)
    assert card(studio, "--check").exit_code == 0


def test_check_finds_the_card_of_a_release_that_is_not_there(studio: Studio) -> None:
    card(studio, LORA, "r1", "--output", CARD)
    edit(studio.root / CARD, "card icons r1;", "card icons r9;")

    answer = card(studio, "--check")

    assert answer.exit_code == 1
    assert "icons r9, which is not there" in answer.error["message"]


def test_a_card_that_is_not_there_does_not_pass(studio: Studio) -> None:
    answer = card(studio, LORA, "r1", "--output", CARD, "--check")

    assert (answer.exit_code, answer.error["code"]) == (1, "card_differs")


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("README.md", "state_forbids"),
        ("data/card.md", "unsafe_path"),
        ("../card.md", "unsafe_path"),
        ("card.txt", "argument_invalid"),
    ],
)
def test_nothing_else_is_written_over(studio: Studio, output: str, code: str) -> None:
    (studio.root / "README.md").write_text("# The studio\n", encoding="utf-8")
    before = tree_digest(studio.root)

    answer = card(studio, LORA, "r1", "--output", output)

    assert (answer.exit_code, answer.error["code"]) == (3, code)
    assert tree_digest(studio.root) == before


def test_a_dry_run_writes_nothing(studio: Studio) -> None:
    answer = card(studio, LORA, "r1", "--output", CARD, "--dry-run")

    assert answer.document["written"] == [CARD]
    assert not (studio.root / CARD).exists()


def test_names_without_check_and_half_of_the_names_are_a_mistake(studio: Studio) -> None:
    assert invoke(["release", "card"], studio.root).exit_code == 2
    assert invoke(["release", "card", LORA], studio.root).exit_code == 2


def test_a_manifest_that_is_lost_is_said_and_the_card_is_made(studio: Studio) -> None:
    shutil.rmtree(studio.root / ".git")
    studio.path("dataset", DATASET).unlink()

    assert "Not told: manifest icons is not there" in text_of(studio)
