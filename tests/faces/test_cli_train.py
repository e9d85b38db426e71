"""``lora train`` as a person and a script meet it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.fake_trainer import MODULE, SIZE, FakeTrainer
from tests.support.registered_trainer import register
from tests.support.training_builders import DATASET, LORA, training_studio, write_lora
from tests.support.workspace_builders import Answer, git, invoke, tree_digest

BASE = ["train", "--lora", LORA, "--dataset", DATASET]
TRAIN = [*BASE, "--trainer", "fake"]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_studio(tmp_path_factory.mktemp("ready") / "studio").root


@pytest.fixture
def studio(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "studio"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    return register(monkeypatch, FakeTrainer())


def failed(studio: Path, *arguments: str, code: int = 3) -> Answer:
    """Run a command that must fail and leave everything as it was."""
    before = tree_digest(studio)
    answer = invoke([*arguments], studio)
    assert answer.exit_code == code, answer.stdout + answer.stderr
    assert tree_digest(studio) == before
    return answer


def test_a_plan_shows_files_command_environment_and_output(studio: Path, fake: FakeTrainer) -> None:
    before = tree_digest(studio)

    answer = invoke([*TRAIN, "--rank", "4", "--plan"], studio)

    assert answer.exit_code == 0, answer.stderr
    assert tree_digest(studio) == before
    for words in (
        "icons r1 · fake would train it on flat_icons, 4 images",
        "demo-64, which fits the base model, but rank 4",
        "fake_trainer.py good",
        "FAKE=1",
        ".lora/runs/RUN_ID/out/icons-r1.safetensors",
        ".lora/runs/RUN_ID/config.json",
        '{"rank": 4}',
        "next  lora train --lora icons --dataset flat_icons --trainer fake --rank 4",
    ):
        assert words in answer.stdout


def test_training_says_what_came_out_and_what_comes_next(studio: Path, fake: FakeTrainer) -> None:
    answer = invoke(TRAIN, studio)

    assert answer.exit_code == 0, answer.stderr
    assert "icons r1 · a candidate, trained on flat_icons with 4 images" in answer.stdout
    assert "loss 0.2000" in answer.stdout
    assert "next  lora eval grid icons r1" in answer.stdout


def test_json_is_one_document(studio: Path, fake: FakeTrainer) -> None:
    document = invoke([*TRAIN, "--json"], studio).document

    assert document["success"]
    assert document["data"]["releaseId"] == "r1"
    assert document["data"]["weights"]["modules"] == 1
    assert len(document["written"]) == 2


def test_commit_commits_run_and_lora_and_nothing_of_the_weights(
    studio: Path, fake: FakeTrainer
) -> None:
    answer = invoke([*TRAIN, "--commit", "--as", "ana@studio.example"], studio)

    assert answer.exit_code == 0, answer.stderr
    assert git(studio, "log", "-1", "--format=%s").strip() == (
        "Trained r1 of icons from flat_icons with fake"
    )
    assert git(studio, "status", "--porcelain").strip() == ""
    assert "safetensors" not in git(studio, "ls-files")


def test_a_bad_number_names_the_flag_and_the_preset(studio: Path, fake: FakeTrainer) -> None:
    answer = failed(studio, *TRAIN, "--preset", "icons-sd15", "--rank", "0")

    assert "error  rank must be at least 1, got 0  [recipe_invalid]" in answer.stderr
    assert "from   --rank on the command line (preset icons-sd15 says 16)" in answer.stderr
    assert "next   leave --rank out, or lora preset show icons-sd15" in answer.stderr


def test_config_json_and_file_are_layers(studio: Path, tmp_path: Path, fake: FakeTrainer) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("rank: 5\nlr: 1e-3\n")

    answer = invoke(
        [*TRAIN, "--config-file", str(recipe), "--config", '{"lr": 0.5}', "--plan", "--json"],
        studio,
    )

    found = {one["name"]: one for one in answer.document["data"]["recipe"]}
    assert found["rank"]["from"] == "file r.yaml"
    assert found["learningRate"] == {
        "name": "learningRate", "value": 0.5, "from": "--config on the command line",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "{"], "--config on the command line is not JSON"),
        (["--config", '{"rnk": 3}'], "no setting 'rnk'"),
        (["--config-file", "none.yaml"], "cannot read none.yaml"),
        (["--preset", "icon-sd15"], "no preset 'icon-sd15'"),
        (["--trainer", "fakke"], "no trainer 'fakke'"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
    ],
)
def test_bad_wishes_are_one_clear_error(
    arguments: list[str], words: str, studio: Path, fake: FakeTrainer
) -> None:
    answer = failed(studio, *TRAIN, *arguments)

    assert words in answer.stderr
    assert answer.stderr.count("error  ") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--dataset", DATASET], "Missing option '--lora'"),
        ([*TRAIN, "--plan", "--run"], "--plan and --run exclude each other"),
        ([*TRAIN, "--trainer-args", "--lowram"], "takes a JSON list of texts"),
        ([*TRAIN, "--trainer-args", "[1]"], "takes a JSON list of texts"),
        ([*TRAIN, "--rnk", "3"], "No such option"),
        ([*TRAIN, "--rank", "many"], "not a valid integer"),
    ],
)
def test_usage_is_explained(
    arguments: list[str], words: str, studio: Path, fake: FakeTrainer
) -> None:
    assert words in failed(studio, *arguments, code=2).stderr


def test_set_active_is_refused_with_the_reason(studio: Path, fake: FakeTrainer) -> None:
    answer = failed(studio, *TRAIN, "--set-active", "--json", code=1)

    assert answer.error["code"] == "gate_refused"
    assert "lora promote" in answer.error["hint"]


def test_a_failed_training_says_why_and_where_to_look(studio: Path, fake: FakeTrainer) -> None:
    fake.mode = "nan"

    answer = invoke(TRAIN, studio)

    assert answer.exit_code == 3
    assert "holds 16 NaN or infinite values" in answer.stderr
    assert "[training_failed]" in answer.stderr
    assert "lora run log " in answer.stderr


def test_a_trainer_that_is_not_installed_names_its_set_up(studio: Path) -> None:
    answer = failed(studio, *BASE, "--trainer", "kohya_ss", "--json")

    assert answer.error["code"] == "trainer_unavailable"
    assert "lora setup kohya_ss" in answer.error["hint"]


def test_manual_registers_weights_made_elsewhere(studio: Path, tmp_path: Path) -> None:
    made = write_lora(tmp_path / "made.safetensors", modules={MODULE: (SIZE, SIZE)})

    answer = invoke([*BASE, "--trainer", "manual", "--weights", str(made)], studio)

    assert answer.exit_code == 0, answer.stderr
    assert "icons r1 · is a candidate" in answer.stdout
    assert "rank 4, 1 module verified" in answer.stdout


def test_a_dry_run_says_what_it_would_write(studio: Path, fake: FakeTrainer) -> None:
    before = tree_digest(studio)

    answer = invoke([*TRAIN, "--dry-run"], studio)

    assert answer.exit_code == 0
    assert "would write  data/projects/neon_city/runs/RUN_ID.json" in answer.stdout
    assert tree_digest(studio) == before


def test_extra_arguments_reach_the_plan_of_a_trainer_that_takes_them(studio: Path) -> None:
    answer = invoke(
        [*BASE, "--trainer", "kohya_ss", "--preset", "icons-sd15", "--plan", "--json",
         "--trainer-args", json.dumps(["--lowram"])],
        studio,
    )  # fmt: skip

    assert answer.exit_code == 0, answer.stdout
    assert "--lowram" in answer.document["data"]["plan"]["argv"]


# ---- elsewhere


def elsewhere(studio: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name a server that nobody runs; returns the command that would train there."""
    pytest.importorskip("httpx2")
    monkeypatch.setenv("AI_TOOLKIT_AUTH", "a-token-of-ours")
    server = {"baseUrl": "http://127.0.0.1:9", "modelsRoot": "/models"}
    (studio / "config" / "local.json").write_text(
        json.dumps({"trainers": {"ai_toolkit_server": server, "pollSeconds": 0.01}})
    )
    return [*BASE, "--trainer", "ai_toolkit_server"]


def test_a_plan_for_elsewhere_says_where_to_and_what_leaves(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = invoke([*elsewhere(studio, monkeypatch), "--plan"], studio)

    assert answer.exit_code == 0, answer.stderr
    assert "http://127.0.0.1:9" in answer.stdout
    assert "8 files" in answer.stdout
    assert "AI_TOOLKIT_AUTH" in answer.stdout
    assert "a-token-of-ours" not in answer.stdout


def test_without_a_yes_nothing_leaves(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = elsewhere(studio, monkeypatch)

    answer = failed(studio, *command, code=1)

    assert "4 images and 4 captions" in answer.stdout
    assert "--yes-upload" in answer.stdout


def test_a_service_that_is_not_there_leaves_no_run(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = elsewhere(studio, monkeypatch)
    before = tree_digest(studio / "data")

    answer = invoke([*command, "--yes-upload", "--json"], studio)

    assert answer.exit_code == 3
    assert answer.error["code"] == "service_unreachable"
    assert "does not answer" in answer.error["message"]
    assert tree_digest(studio / "data") == before
