"""``lora create``, ``list``, ``show``, ``activate``, ``deactivate``, ``delete``, ``resolve``."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.layout import SHARED
from tests.support.release_builders import (
    ANA,
    KIM,
    LORA,
    SCOPE,
    Studio,
    active_studio,
    add_lora,
    add_release,
    copy_of,
    edit,
    make_active,
)
from tests.support.workspace_builders import Answer, add_project, commit_all, invoke, tree_digest

CREATE = ["--checkpoint", "tiny", "--asset-type", "ui_icon"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 of icons active and r2 a candidate."""
    return copy_of(template, tmp_path / "studio")


def lora(studio: Studio, *arguments: str) -> Answer:
    return invoke([*arguments, "--json"], studio.root)


def read(studio: Studio, lora_id: str) -> Lora:
    return studio.workspace.records.read(Lora, SCOPE, lora_id).record


# ---- create ---------------------------------------------------------------------------------


def test_create_writes_what_was_said_and_names_the_next_command(studio: Studio) -> None:
    answer = lora(
        studio, "create", "logos", *CREATE, "--trigger", "lgo", "--name", "Brand logos",
        "--description", "Flat logos", "--strength", "0.7", "--recommended",
    )  # fmt: skip
    record = read(studio, "logos")

    assert answer.exit_code == 0
    assert answer.document["suggestions"] == [
        "lora add-images logos DIR",
        "lora train --lora logos --dataset ID --plan",
    ]
    assert answer.document["written"] == ["data/projects/neon_city/loras/logos.json"]
    assert (record.name, record.trigger_word, record.strength) == ("Brand logos", "lgo", 0.7)
    assert (record.scope, record.recommended, record.enabled) == ("project", True, True)
    assert record.releases == ()


def test_create_makes_a_name_and_leaves_the_strength_to_the_scope(studio: Studio) -> None:
    lora(studio, "create", "style_sheet", *CREATE)
    record = read(studio, "style_sheet")

    assert record.name == "Style sheet"
    assert record.strength is None
    assert record.strength_in_use == 0.9


def test_a_shared_lora_is_for_every_project(studio: Studio) -> None:
    checkpoint = studio.path("checkpoint", "tiny")
    shared = studio.workspace.records.path("checkpoint", SHARED, "tiny")
    shared.parent.mkdir(parents=True)
    checkpoint.rename(shared)
    answer = lora(studio, "create", "mood", *CREATE, "--scope", "baseline")
    record = studio.workspace.records.read(Lora, SHARED, "mood").record

    assert answer.exit_code == 0
    assert (record.scope, record.strength_in_use) == ("baseline", 0.6)
    assert [one["id"] for one in lora(studio, "list").document["data"]["loras"]] == [
        "icons",
        "mood",
    ]


BAD = [
    (["Logo Set", *CREATE], "argument_invalid", "must be a slug", "try logo_set"),
    (["logos", *CREATE, "--name", "x" * 101], "argument_invalid", "1 to 100 characters", None),
    (["logos", *CREATE, "--description", "x" * 501], "argument_invalid", "at most 500", None),
    (["logos", *CREATE, "--trigger", "my logo"], "argument_invalid", "one word", "try mylogo"),
    (["logos", *CREATE, "--trigger", "x"], "argument_invalid", "2 to 50", None),
    (["logos", *CREATE, "--trigger", "x" * 51], "argument_invalid", "2 to 50", "try " + "x" * 50),
    (["logos", *CREATE, "--strength", "0"], "argument_invalid", "above 0", None),
    (["logos", *CREATE, "--strength", "2.5"], "argument_invalid", "at most 2", None),
    (["logos", *CREATE, "--trigger", "STKR"], "record_exists", "that of LoRA icons", None),
    (["logos", *CREATE, "--name", "icons"], "record_exists", "that of LoRA icons", None),
    (["icons", *CREATE], "record_exists", "LoRA icons exists already", "lora show icons"),
    (["logos", "--checkpoint", "tinny", "--asset-type", "ui_icon"],
     "record_not_found", "no checkpoint 'tinny'", "did you mean tiny?"),
    (["logos", "--checkpoint", "tiny", "--asset-type", "ui_icn"],
     "argument_invalid", "no asset type 'ui_icn'", "did you mean ui_icon?"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message", "hint"), BAD)
def test_what_a_new_lora_may_not_be_is_one_clear_error_and_nothing_is_written(
    studio: Studio, arguments: list[str], code: str, message: str, hint: str | None
) -> None:
    before = tree_digest(studio.root / "data")
    answer = lora(studio, "create", *arguments)

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert message in answer.error["message"]
    assert hint is None or answer.error["hint"] == hint
    assert tree_digest(studio.root / "data") == before


def test_a_dry_run_creates_nothing(studio: Studio) -> None:
    answer = lora(studio, "create", "logos", *CREATE, "--dry-run")

    assert answer.exit_code == 0
    assert answer.document["written"] == ["data/projects/neon_city/loras/logos.json"]
    assert not studio.path("lora", "logos").exists()


def test_a_trigger_word_of_another_project_is_free(studio: Studio) -> None:
    add_project(studio.workspace, "other")
    catalogs = studio.root / "data/projects/neon_city"
    for name in ("catalogs/asset-types.json", "checkpoints/tiny.json"):
        target = studio.root / "data/projects/other" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((catalogs / name).read_bytes())

    answer = lora(studio, "create", "icons", *CREATE, "--trigger", "stkr", "--project", "other")
    assert answer.exit_code == 0


def test_a_base_model_without_a_licence_for_commerce_is_a_warning(studio: Studio) -> None:
    edit(studio.path("checkpoint", "tiny"), '"commercialLoras": "yes"', '"commercialLoras": "no"')
    [warning, *_] = lora(studio, "create", "logos", *CREATE).document["warnings"]

    assert warning == "LoRAs of tiny may not be used commercially (Apache-2.0)"


def test_a_second_lora_for_the_same_is_a_warning(studio: Studio) -> None:
    warnings = lora(studio, "create", "logos", *CREATE, "--trigger", "x1").document["warnings"]

    assert warnings == [
        (
            "icons in project neon_city is for ui_icon on tiny too: a new release of it may be "
            "what is meant"
        )
    ]


# ---- list and show --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["icons", "logos"]),
        (["--active"], ["icons"]),
        (["--no-active"], ["logos"]),
        (["--status", "ready"], ["icons"]),
        (["--status", "created"], ["logos"]),
        (["--status", "failed"], []),
        (["--asset-type", "ui_icon"], ["icons", "logos"]),
        (["--asset-type", "banner"], []),
        (["--checkpoint", "other"], []),
        (["--scope", "baseline"], []),
    ],
)
def test_list_shows_what_the_filters_leave(
    studio: Studio, options: list[str], expected: list[str]
) -> None:
    add_lora(studio.workspace, "logos", trigger_word="lgo")
    answer = lora(studio, "list", *options)

    assert answer.exit_code == 0
    assert [one["id"] for one in answer.document["data"]["loras"]] == expected


def test_show_tells_releases_verdicts_history_and_what_comes_next(studio: Studio) -> None:
    answer = lora(studio, "show", LORA)
    data = answer.document["data"]

    assert [one["id"] for one in data["releases"]] == ["r1", "r2"]
    assert data["releases"][0]["reviews"] == [
        {"reviewer": KIM, "verdict": "approved", "comment": "hatching as it should be"}
    ]
    assert data["releases"][0]["evaluations"][0]["effect"] == pytest.approx(0.235, abs=0.001)
    assert answer.document["suggestions"] == ["lora eval grid icons r2"]


def test_show_for_people_is_a_page(studio: Studio) -> None:
    answer = invoke(["show", LORA], studio.root)

    assert answer.stdout.startswith("Icons · LoRA icons\n")
    assert "r1 *" in answer.stdout
    assert "promoted r1" in answer.stdout


def test_an_unknown_lora_is_named_with_a_near_one(studio: Studio) -> None:
    answer = lora(studio, "show", "icon")

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_not_found"
    assert answer.error["hint"] == "did you mean icons?"


# ---- activate and deactivate ----------------------------------------------------------------


def test_switching_on_and_off_is_recorded_and_moves_no_pointer(studio: Studio) -> None:
    lora(studio, "deactivate", LORA, "--as", KIM, "--reason", "new sheet")
    assert not read(studio, LORA).enabled

    lora(studio, "activate", LORA, "--strength", "0.8", "--as", ANA)
    record = read(studio, LORA)

    assert (record.enabled, record.strength, record.active_release_id) == (True, 0.8, "r1")
    assert [(one.event, one.by) for one in record.history[1:]] == [
        ("deactivated", KIM),
        ("activated", ANA),
    ]
    assert invoke(["validate"], studio.root).exit_code == 0


def test_what_is_on_already_is_not_written_again(studio: Studio) -> None:
    before = tree_digest(studio.root / "data")
    answer = lora(studio, "activate", LORA)

    assert answer.exit_code == 0
    assert answer.document["written"] == []
    assert tree_digest(studio.root / "data") == before


def test_a_lora_without_an_active_release_cannot_be_switched_on(studio: Studio) -> None:
    add_lora(studio.workspace, "logos", trigger_word="lgo")
    answer = lora(studio, "activate", "logos")

    assert answer.exit_code == 1
    assert answer.error["code"] == "lora_not_ready"


def test_a_strength_out_of_range_is_refused(studio: Studio) -> None:
    answer = lora(studio, "activate", LORA, "--strength", "-1")

    assert answer.exit_code == 3
    assert answer.error["message"] == "strength must be above 0 and at most 2, got -1"


# ---- delete ---------------------------------------------------------------------------------


def test_a_lora_in_use_is_not_deleted(studio: Studio) -> None:
    before = tree_digest(studio.root / "data")
    answer = lora(studio, "delete", LORA, "--yes")

    assert answer.exit_code == 1
    assert answer.error["code"] == "lora_in_use"
    assert "release r1 is active" in answer.error["message"]
    assert tree_digest(studio.root / "data") == before


def test_a_lora_that_is_trained_right_now_is_not_deleted(studio: Studio) -> None:
    add_lora(studio.workspace, "logos", trigger_word="lgo")
    add_release(studio, "r1", lora_id="logos")
    for path in studio.path("run", "x").parent.glob("*.json"):
        edit(path, '"state": "ready"', '"state": "training"')
    answer = lora(studio, "delete", "logos", "--yes")

    assert answer.exit_code == 1
    assert "is training" in answer.error["message"]


def test_what_is_deleted_takes_everything_about_it_along(studio: Studio) -> None:
    answer = lora(studio, "delete", LORA, "--yes", "--force")

    assert answer.exit_code == 0
    for kind in ("lora", "run", "evaluation", "review"):
        folder = studio.path(kind, "x").parent
        assert not list(folder.glob("*"))
    commit_all(studio.root, "Deleted")
    assert invoke(["validate"], studio.root).exit_code == 0


def test_a_lora_of_the_same_id_may_be_made_again_after_it_was_deleted(studio: Studio) -> None:
    lora(studio, "delete", LORA, "--yes", "--force")
    commit_all(studio.root, "Deleted")
    lora(studio, "create", LORA, *CREATE, "--trigger", "stkr")
    add_release(studio, "r5")
    make_active(studio, "r5")

    assert read(studio, LORA).active_release_id == "r5"


def test_what_an_interrupted_deletion_left_is_named_with_the_command_that_completes_it(
    studio: Studio,
) -> None:
    studio.path("lora", LORA).unlink()
    answer = lora(studio, "validate")
    fixes = {one["fix"] for one in answer.document["data"]["findings"]}
    assert answer.exit_code == 1
    assert "restore it from Git, or lora delete icons to remove what is left of it" in fixes

    assert lora(studio, "delete", LORA, "--yes").exit_code == 0
    assert lora(studio, "validate").exit_code == 0
    assert lora(studio, "delete", LORA, "--yes").exit_code == 3


def test_deleting_asks_first(studio: Studio) -> None:
    answer = invoke(["delete", LORA, "--force"], studio.root)

    assert answer.exit_code == 2
    assert studio.path("lora", LORA).exists()
