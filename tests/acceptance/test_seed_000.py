"""The commands of a LoRA's life: create, add images, train, list, activate, delete.

Each test carries the id of the feature that it proves; ``docs/seed-commands.md`` is the table.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.operations.registry import OPERATIONS, find_operation
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import MODULE, SIZE, FakeTrainer
from tests.support.registered_trainer import register
from tests.support.release_builders import LORA as ACTIVE
from tests.support.release_builders import active_studio
from tests.support.training_builders import fake_base, training_studio, write_lora
from tests.support.workspace_builders import Answer, invoke, reopen, run_lora, tree_digest

CREATE = ["create", "icons-fluent2-v1", "--checkpoint", "tiny", "--asset-type", "ui_icon"]
NEW = "icons-fluent2-v1"
CAPTION = (
    "A flat design clipboard icon with three checkmarks, orange and white color scheme, "
    "minimal vector style, variant {}"
)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_studio(tmp_path_factory.mktemp("ready") / "studio").root


@pytest.fixture
def studio(ready: Path, tmp_path: Path) -> Path:
    """A workspace with a base model and a LoRA ``icons`` that nobody trained."""
    return Path(shutil.copytree(ready, tmp_path / "studio"))


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return active_studio(tmp_path_factory.mktemp("used") / "studio").root


@pytest.fixture
def used(in_use: Path, tmp_path: Path) -> Path:
    """A workspace whose LoRA has an active release."""
    return Path(shutil.copytree(in_use, tmp_path / "used"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    return register(monkeypatch, FakeTrainer())


def lora(root: Path, *arguments: str) -> Answer:
    return invoke([*arguments, "--json"], root)


def call(root: Path, operation: str, **arguments: Any) -> Answer:
    return invoke(["call", operation, json.dumps(arguments)], root)


def done(answer: Answer) -> dict[str, Any]:
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    data: dict[str, Any] = answer.document["data"]
    return data


def refused(root: Path, *arguments: str, code: str, exit_code: int = 3) -> str:
    """Run a command that must write nothing, and return what it said."""
    before = tree_digest(root)
    answer = lora(root, *arguments)
    assert (answer.exit_code, answer.error["code"]) == (exit_code, code), answer.stdout
    assert tree_digest(root) == before
    return f"{answer.error['message']}; {answer.error['hint']}"


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGB", (64, 64), (19 * number % 255, 200 - number, 11 * number % 255))
        image.paste((250, 250, 250), (number % 30, 5, number % 30 + 20, 30 + number % 20))
        image.save(folder / f"icon-{number:03}.png")
        (folder / f"icon-{number:03}.txt").write_text(CAPTION.format(number))
    return folder


def test_000_01_every_command_of_a_lora_takes_json_and_answers_json(
    studio: Path, tmp_path: Path, fake: FakeTrainer
) -> None:
    made = done(
        call(studio, "lora.create", lora=NEW, checkpoint="tiny", assetTypes=["ui_icon"],
             description="Fluent 2 style icons for UI")
    )  # fmt: skip
    art = pictures(tmp_path / "art", 3)
    done(call(studio, "lora.add-approved-images", lora=NEW, folder=str(art), rights="allowed"))
    trained = done(call(studio, "train.run", lora=NEW, dataset=NEW, trainer="fake"))
    listed = done(call(studio, "lora.list"))
    deleted = done(call(studio, "lora.delete", lora=NEW))

    assert (made["status"], made["imageCount"]) == ("created", 0)
    assert trained["releaseId"] == "r1"
    assert NEW in [one["id"] for one in listed["loras"]]
    assert deleted["runs"] == 1


def test_000_01_the_program_itself_answers_one_json_document(studio: Path) -> None:
    answer = run_lora(["list", "--json"], studio)

    assert answer.exit_code == 0
    assert answer.document["success"] is True


def test_000_02_an_answer_has_its_reason_and_the_next_commands(studio: Path) -> None:
    answer = lora(studio, *CREATE).document

    assert answer["success"]
    assert answer["reasoning"] == f"Created LoRA {NEW}"
    assert answer["suggestions"][0] == f"lora add-images {NEW} DIR"
    assert answer["error"] is None


def test_000_02_a_failure_has_a_code_a_message_and_the_way_out(studio: Path) -> None:
    answer = lora(studio, "show", "icon")

    assert answer.document["success"] is False
    assert answer.error["code"] == "record_not_found"
    assert "did you mean icons?" in answer.error["hint"]


def test_000_03_every_command_line_verb_of_a_lora_is_an_operation_for_the_other_faces() -> None:
    names = {one.name for one in OPERATIONS}

    assert {
        "lora.create", "lora.add-images", "train.run", "run.show", "lora.list", "lora.activate",
        "lora.deactivate", "lora.delete",
    } <= names  # fmt: skip
    for name in ("lora.create", "lora.add-images", "lora.list"):
        assert find_operation(name).schema()["$ref"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--name", "x" * 101], "1 to 100 characters, got 101"),
        (["--description", "x" * 501], "at most 500 characters, got 501"),
        (["--trigger", "x"], "2 to 50 characters"),
        (["--trigger", "x" * 51], "2 to 50 characters"),
        (["--trigger", "two words"], "one word"),
        (["--strength", "0"], "above 0"),
        (["--strength", "2.1"], "at most 2"),
        (["--asset-type", "ikon"], "no asset type"),
    ],
)
def test_000_04_what_is_out_of_bounds_is_refused(
    options: list[str], words: str, studio: Path
) -> None:
    assert words in refused(studio, *CREATE, *options, code="argument_invalid")


def test_000_04_the_bounds_themselves_are_fine(studio: Path) -> None:
    options = ["--name", "x" * 100, "--description", "x" * 500, "--trigger", "y" * 50]

    done(lora(studio, *CREATE, *options, "--strength", "2"))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--steps", "99"], "steps_unusual"),
        (["--steps", "5001"], "steps_unusual"),
        (["--lr", "9e-7"], "learning_rate_unusual"),
        (["--lr", "0.011"], "learning_rate_unusual"),
    ],
)
def test_000_04_unusual_steps_and_rates_are_warnings(
    options: list[str], code: str, studio: Path
) -> None:
    plan = lora(studio, "train", "--lora", "icons", "--dataset", "flat_icons", "--plan", *options)

    assert code in {one["code"] for one in done(plan)["cautions"]}


@pytest.mark.parametrize("options", [["--steps", "0"], ["--lr", "0"], ["--epochs", "0"]])
def test_000_04_impossible_ones_are_refused(options: list[str], studio: Path) -> None:
    refused(
        studio, "train", "--lora", "icons", "--dataset", "flat_icons", *options,
        code="recipe_invalid",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trigger", "flt"], "the trigger word 'flt' is that of LoRA icons"),
        (["--trigger", "FLT"], "the trigger word 'FLT' is that of LoRA icons"),
        (["--name", "icons"], "the name 'icons' is that of LoRA icons"),
    ],
)
def test_000_05_names_and_trigger_words_are_unique(
    options: list[str], words: str, studio: Path
) -> None:
    assert words in refused(studio, *CREATE, *options, code="record_exists")


def test_000_05_an_id_is_unique(studio: Path) -> None:
    words = refused(studio, *[CREATE[0], "icons", *CREATE[2:]], code="record_exists")

    assert "LoRA icons exists already" in words


def test_000_06_a_lora_is_for_an_asset_type_and_a_second_one_for_it_is_a_warning(
    studio: Path,
) -> None:
    answer = lora(studio, *CREATE)

    assert done(answer)["lora"]["assetTypes"] == ["ui_icon"]
    assert any("icons in" in one and "is for ui_icon" in one for one in answer.document["warnings"])


def test_000_06_versions_are_releases_and_weights_are_named_after_them(
    studio: Path, fake: FakeTrainer
) -> None:
    train = ["train", "--lora", "icons", "--dataset", "flat_icons", "--trainer", "fake"]

    first = done(lora(studio, *train))
    plan = done(lora(studio, *train, "--plan"))

    assert (first["releaseId"], plan["releaseId"]) == ("r1", "r2")
    assert plan["plan"]["expectedOutput"].endswith("icons-r2.safetensors")


@pytest.mark.parametrize(
    ("asset_type", "low", "high"),
    [("ui_icon", 40, 60), ("product", 30, 50), ("logo", 25, 40), ("illustration", 50, 80)],
)
def test_000_07_recommended_counts_are_told_when_a_lora_is_created(
    asset_type: str, low: int, high: int, tmp_path: Path
) -> None:
    root, base = tmp_path / "ws", fake_base(tmp_path / "base")
    for command in (
        ["init", str(root)],
        ["project", "create", "brand"],
        ["checkpoint", "add", "base", "--path", str(base), "--architecture", "sdxl",
         "--asset-type", asset_type],
    ):  # fmt: skip
        answer = invoke(command, root if root.is_dir() else tmp_path)
        assert answer.exit_code == 0, answer.stderr

    answer = lora(root, "create", "one", "--checkpoint", "base", "--asset-type", asset_type)

    data = done(answer)
    assert (data["recommendedFrom"], data["recommendedTo"]) == (low, high)


@pytest.mark.parametrize(("count", "level"), [(3, "few"), (12, "minimum"), (21, "good")])
def test_000_07_how_far_the_images_go_is_told_when_they_are_added(
    count: int, level: str, studio: Path, tmp_path: Path
) -> None:
    art = pictures(tmp_path / "art", count)

    data = done(lora(studio, "add-images", "icons", str(art), "--approve", "--rights", "allowed"))

    assert (data["imageCount"], data["level"]) == (count, level)


def test_000_08_few_images_are_warned_about_everywhere(studio: Path, tmp_path: Path) -> None:
    art = pictures(tmp_path / "art", 3)
    added = lora(studio, "add-images", "icons", str(art), "--approve", "--rights", "allowed")
    plan = lora(studio, "train", "--lora", "icons", "--plan")

    assert "17 more images would make what is recommended" in added.document["warnings"]
    assert "few_images" in {one["code"] for one in done(plan)["cautions"]}


def test_000_08_no_images_at_all_is_an_error(studio: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    refused(studio, "add-images", "icons", str(tmp_path / "empty"), code="selection_empty")
    words = refused(studio, "train", "--lora", "icons", code="argument_invalid")
    assert "on which dataset? icons has none of its own" in words


def test_000_09_the_quality_checklist_is_checked(studio: Path, tmp_path: Path) -> None:
    art = pictures(tmp_path / "art", 12)
    done(lora(studio, "add-images", "icons", str(art), "--approve", "--rights", "allowed"))

    checked = lora(studio, "dataset", "check", "icons").document["data"]

    codes = {one["code"] for one in checked["findings"]}
    assert {"fewer_than_recommended", "near_duplicate"} & codes, codes


def test_000_10_captions_out_of_bounds_are_told(studio: Path, tmp_path: Path) -> None:
    art = pictures(tmp_path / "art", 2)
    (art / "icon-000.txt").write_text("icon")

    added = lora(studio, "add-images", "icons", str(art), "--approve", "--rights", "allowed")

    assert any("fewer than 10 or more than 500" in one for one in added.document["warnings"])


def test_000_11_images_come_with_captions_beside_them_or_in_captions_json(
    studio: Path, tmp_path: Path
) -> None:
    art = pictures(tmp_path / "art", 2)
    (art / "icon-001.txt").unlink()
    named = [{"file": "icon-001.png", "caption": CAPTION.format("from the file")}]
    (tmp_path / "captions.json").write_text(json.dumps(named))

    done(
        lora(studio, "add-images", "icons", str(art), "--approve", "--rights", "allowed",
             "--metadata", str(tmp_path / "captions.json"))
    )  # fmt: skip

    items = reopen(studio).records.read(Manifest, Scope(PROJECT), "icons").record.items
    assert sorted(one.caption for one in items) == sorted(
        f"flt, {CAPTION.format(one)}" for one in (0, "from the file")
    )


def test_000_12_what_training_will_take_is_told_before_it_starts(
    studio: Path, fake: FakeTrainer
) -> None:
    train = ["train", "--lora", "icons", "--dataset", "flat_icons", "--trainer", "fake"]
    unknown = done(lora(studio, *train, "--plan"))["minutes"]
    done(lora(studio, *train))
    known = done(lora(studio, *train, "--plan", "--rank", "2"))

    assert (unknown["low"], unknown["basis"][:6]) == (None, "no run")
    assert known["minutes"]["basis"] == "1 earlier run on this machine"
    assert known["sizes"]["weightsBytes"] > 0


def test_000_13_a_run_tells_where_it_stands_and_what_to_do_next(
    studio: Path, fake: FakeTrainer
) -> None:
    run = done(
        lora(studio, "train", "--lora", "icons", "--dataset", "flat_icons", "--trainer", "fake")
    )["runId"]

    answer = lora(studio, "run", "show", run)

    assert done(answer)["state"] == "ready"
    assert answer.document["suggestions"][0] == "lora eval grid icons r1"


def test_000_13_a_lora_tells_where_it_stands_and_what_to_do_next(
    studio: Path, fake: FakeTrainer
) -> None:
    before = lora(studio, "status", "icons")
    done(lora(studio, "train", "--lora", "icons", "--dataset", "flat_icons", "--trainer", "fake"))
    after = lora(studio, "status", "icons")

    assert "lora train --lora icons" in before.document["suggestions"][0]
    assert after.document["suggestions"][0] == "lora eval grid icons r1"


@pytest.mark.parametrize(
    ("options", "there"),
    [
        (["--status", "created"], True),
        (["--status", "ready"], False),
        (["--status", "training"], False),
        (["--checkpoint", "tiny"], True),
        (["--checkpoint", "other"], False),
        (["--active"], False),
        (["--no-active"], True),
        (["--asset-type", "ui_icon"], True),
    ],
)
def test_000_14_the_list_is_filtered(options: list[str], there: bool, studio: Path) -> None:
    listed = done(lora(studio, "list", *options))["loras"]

    assert [one["id"] for one in listed] == (["icons"] if there else [])


def test_000_14_the_status_follows_the_runs(studio: Path, fake: FakeTrainer) -> None:
    train = ["train", "--lora", "icons", "--dataset", "flat_icons", "--trainer", "fake"]
    fake.mode = "no_output"
    assert lora(studio, *train).exit_code == 3
    failed = done(lora(studio, "list"))["loras"][0]["status"]
    fake.mode = "good"
    done(lora(studio, *train))

    assert failed == "failed"
    assert done(lora(studio, "list"))["loras"][0]["status"] == "ready"


def test_000_15_a_lora_is_switched_on_with_a_strength_and_off(used: Path) -> None:
    on = done(lora(used, "activate", ACTIVE, "--strength", "0.85"))
    off = done(lora(used, "deactivate", ACTIVE))

    assert (on["enabled"], on["strength"]) == (True, 0.85)
    assert off["enabled"] is False


def test_000_15_one_that_was_never_promoted_cannot_be_switched_on(studio: Path) -> None:
    words = refused(studio, "activate", "icons", code="lora_not_ready", exit_code=1)

    assert "has no active release" in words


@pytest.mark.parametrize("strength", ["0", "-1", "2.5", "nan"])
def test_000_15_a_strength_out_of_bounds_is_refused(strength: str, used: Path) -> None:
    refused(used, "activate", ACTIVE, "--strength", strength, code="argument_invalid")


def test_000_16_what_nothing_uses_is_deleted(studio: Path) -> None:
    done(lora(studio, "delete", "icons", "--yes"))

    assert not reopen(studio).records.exists(Lora, Scope(PROJECT), "icons")


def test_000_16_an_active_one_is_not_deleted_unless_forced(used: Path) -> None:
    words = refused(used, "delete", ACTIVE, "--yes", code="lora_in_use", exit_code=1)
    done(lora(used, "delete", ACTIVE, "--yes", "--force"))

    assert "is active" in words
    assert not reopen(used).records.exists(Lora, Scope(PROJECT), ACTIVE)


@pytest.mark.parametrize("state", ["queued", "training"])
def test_000_16_one_that_is_being_trained_is_not_deleted(
    state: str, studio: Path, fake: FakeTrainer
) -> None:
    done(lora(studio, "train", "--lora", "icons", "--dataset", "flat_icons", "--trainer", "fake"))
    _set_state(studio, state)

    words = refused(studio, "delete", "icons", "--yes", code="lora_in_use", exit_code=1)

    assert f"is {state}" in words


def _set_state(studio: Path, state: str) -> None:
    workspace = reopen(studio)
    [loaded] = workspace.records.all(Run, Scope(PROJECT))
    document = loaded.record.to_dict() | {"state": state}
    changes = Changes(workspace)
    changes.update(loaded, Run.from_dict(document))
    changes.apply()


def test_000_20_the_licence_of_the_base_model_is_told_from_the_first_day(
    studio: Path,
) -> None:
    path = studio / "data" / "projects" / PROJECT / "checkpoints" / "tiny.json"
    path.write_text(path.read_text().replace('"commercialLoras": "yes"', '"commercialLoras": "no"'))

    created = lora(studio, *CREATE).document["warnings"]
    plan = done(lora(studio, "train", "--lora", "icons", "--dataset", "flat_icons", "--plan"))

    assert "LoRAs of tiny may not be used commercially (CC0-1.0)" in created
    assert "license_noncommercial" in {one["code"] for one in plan["cautions"]}


def test_weights_that_were_made_elsewhere_are_a_candidate_too(studio: Path, tmp_path: Path) -> None:
    made = write_lora(tmp_path / "made.safetensors", modules={MODULE: (SIZE, SIZE)}, rank=2)

    data = done(
        lora(studio, "train", "--lora", "icons", "--dataset", "flat_icons", "--trainer", "manual",
             "--weights", str(made))
    )  # fmt: skip

    assert data["releaseId"] == "r1"
