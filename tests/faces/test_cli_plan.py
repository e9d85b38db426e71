"""``lora train --plan --output`` and ``--from-plan``: kept, reviewed, run, or refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import cast

import pytest

from lora_pipeline.foundation import strict_yaml
from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.registry import TRAINERS
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import FakeTrainer
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import Answer, invoke, tree_digest

TRAIN = ["train", "--lora", LORA, "--dataset", DATASET, "--trainer", "fake"]
FILE = "plans/icons-r1.yaml"
PRESET = "config/presets/house.yaml"
HOUSE = (
    "id: house\nsummary: Ours\narchitectures: [sd15]\n"
    "recipe: {steps: 200, rank: 4, resolution: 64}\n"
)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = training_studio(tmp_path_factory.mktemp("ready") / "studio").root
    (root / PRESET).parent.mkdir(parents=True)
    (root / PRESET).write_text(HOUSE)
    return root


@pytest.fixture
def studio(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "studio"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    trainer = FakeTrainer()
    monkeypatch.setitem(cast(MutableMapping[str, Trainer], TRAINERS), "fake", trainer)
    return trainer


@pytest.fixture
def kept(studio: Path, fake: FakeTrainer) -> Path:
    answer = invoke([*TRAIN, "--preset", "house", "--plan", "--output", FILE], studio)
    assert answer.exit_code == 0, answer.stderr
    return studio


def refused(studio: Path, *, code: int = 1) -> Answer:
    """Run the plan, which must not run, and leave everything as it was."""
    before = tree_digest(studio)
    answer = invoke(["train", "--from-plan", FILE, "--json"], studio)
    assert answer.exit_code == code, answer.stdout + answer.stderr
    assert tree_digest(studio) == before
    return answer


def test_a_plan_is_kept_as_text_that_people_read(kept: Path) -> None:
    text = (kept / FILE).read_text(encoding="utf-8")

    document = strict_yaml.loads(text.encode(), FILE)
    assert text.startswith("# A plan of lora train")
    assert document["loraId"] == LORA
    assert document["trainer"] == "fake"
    assert document["recipe"]["rank"] == 4
    assert document["recipeFrom"]["rank"] == "preset house"
    assert document["files"] == [{"path": "config.json", "content": '{"rank": 4}'}]
    assert {one["code"] for one in document["cautions"]} >= {"few_images"}


def test_no_place_of_this_machine_is_in_it(kept: Path) -> None:
    text = (kept / FILE).read_text(encoding="utf-8")

    assert str(kept) not in text
    assert str(kept.parent) not in text
    assert "{run}/out/icons-r1.safetensors" in text


def test_the_same_plan_elsewhere_is_the_same_file(kept: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(kept, tmp_path / "somewhere" / "else"))
    before = strict_yaml.loads((other / FILE).read_bytes(), FILE)
    (other / FILE).unlink()

    invoke([*TRAIN, "--preset", "house", "--plan", "--output", FILE], other)

    now = strict_yaml.loads((other / FILE).read_bytes(), FILE)
    assert now | {"createdAt": ""} == before | {"createdAt": ""}


def test_a_kept_plan_runs_and_brings_its_release(kept: Path) -> None:
    answer = invoke(["train", "--from-plan", FILE, "--json"], kept)

    assert answer.exit_code == 0, answer.stderr
    data = answer.document["data"]
    assert (data["releaseId"], data["trainer"], data["datasetId"]) == ("r1", "fake", DATASET)
    assert {one["name"]: one["value"] for one in data["recipe"]}["rank"] == 4


def test_a_plan_runs_once_because_its_release_is_there_then(kept: Path) -> None:
    invoke(["train", "--from-plan", FILE], kept)

    found = changes(refused(kept))

    assert ("release_changed", "release", "r1", "r2") in found


def changes(answer: Answer) -> list[tuple[str, str, str, str]]:
    assert answer.error["code"] == "plan_outdated"
    return [
        (one["code"], one["what"], one["planned"], one["now"])
        for one in answer.document["data"]["changes"]
    ]


def _another_preset(studio: Path) -> None:
    (studio / PRESET).write_text(HOUSE.replace("rank: 4", "rank: 8"))


def _another_trigger(studio: Path) -> None:
    path = studio / "data" / "projects" / PROJECT / "loras" / f"{LORA}.json"
    path.write_text(path.read_text().replace('"flt"', '"flx"'))


def _another_base(studio: Path) -> None:
    path = studio / "data" / "projects" / PROJECT / "checkpoints" / "tiny.json"
    text = path.read_text()
    digest = text[text.index('"sha256:') :][:72]
    path.write_text(text.replace(digest, '"sha256:' + "0" * 64))


def _other_images(studio: Path) -> None:
    answer = invoke(["dataset", "build", DATASET, "--trigger", "flt", "--held-out", "0.3"], studio)
    assert answer.exit_code == 0, answer.stderr


def _edited(studio: Path) -> None:
    path = studio / FILE
    path.write_text(path.read_text().replace("totalSteps: 5", "totalSteps: 6"))


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        (_another_preset, "recipe_changed", "recipe rank"),
        (_another_preset, "file_changed", "config.json line 1"),
        (_another_trigger, "trigger_changed", "trigger word"),
        (_another_base, "checkpoint_changed", "checkpoint digest"),
        (_other_images, "manifest_changed", "manifest"),
        (_other_images, "staging_changed", "staging"),
        (_edited, "plan_edited", "the plan file"),
    ],
)
def test_what_changed_since_is_named_and_nothing_runs(
    change: Callable[[Path], None], code: str, what: str, kept: Path
) -> None:
    change(kept)

    found = changes(refused(kept))

    assert (code, what) in [one[:2] for one in found], found


def test_another_trainer_version_is_named(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTrainer, "version", lambda *_: "2.0")

    assert changes(refused(kept)) == [("trainer_version_changed", "trainer version", "1.0", "2.0")]


def test_people_see_each_change_in_a_line(kept: Path) -> None:
    _another_preset(kept)

    answer = invoke(["train", "--from-plan", FILE], kept)

    assert answer.exit_code == 1
    assert "refused · since plans/icons-r1.yaml was made on 2026" in answer.stdout
    assert "recipe rank" in answer.stdout
    assert "4 (preset house)  →  8 (preset house)" in answer.stdout
    assert "--preset house --project neon_city --plan --output plans/icons-r1.yaml" in answer.stdout


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("- 1\n", "argument_invalid", "is no plan of training"),
        ("loraId: x\n", "record_invalid", "createdAt"),
        ("a: [\n", "record_invalid", "is not valid YAML"),
        ("schema: plan/v9\n", "schema_unknown", "plan/v9"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_reason(
    content: str, code: str, words: str, studio: Path, fake: FakeTrainer
) -> None:
    (studio / "plans").mkdir()
    (studio / FILE).write_text(content)

    answer = refused(studio, code=3)

    assert answer.error["code"] == code
    assert words in answer.stdout


def test_a_plan_that_is_not_there_is_an_error_with_the_way_to_one(
    studio: Path, fake: FakeTrainer
) -> None:
    answer = refused(studio, code=3)

    assert answer.error["code"] == "file_missing"
    assert "--plan --output" in answer.error["hint"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from-plan", FILE, "--rank", "3"], "--rank would change it"),
        (["--from-plan", FILE, "--lora", LORA], "--lora would change it"),
        (["--lora", LORA, "--output", FILE], "--output is for --plan"),
        ([], "Missing option '--lora'"),
    ],
)
def test_options_that_contradict_a_plan_are_usage_errors(
    arguments: list[str], words: str, kept: Path
) -> None:
    answer = invoke(["train", *arguments], kept)

    assert answer.exit_code == 2
    assert words in answer.stderr


@pytest.mark.parametrize("output", ["data/plan.yaml", "config/plan.yaml", "../plan.yaml"])
def test_a_plan_is_not_written_among_the_records_or_outside(
    output: str, studio: Path, fake: FakeTrainer
) -> None:
    before = tree_digest(studio.parent)

    answer = invoke([*TRAIN, "--plan", "--output", output, "--json"], studio)

    assert answer.error["code"] == "unsafe_path"
    assert tree_digest(studio.parent) == before


def test_a_file_that_is_no_plan_is_not_written_over(studio: Path, fake: FakeTrainer) -> None:
    (studio / "notes.yaml").write_text("mine: true\n")

    answer = invoke([*TRAIN, "--plan", "--output", "notes.yaml", "--json"], studio)

    assert answer.exit_code == 3
    assert (studio / "notes.yaml").read_text() == "mine: true\n"


def test_a_dry_run_writes_no_plan(studio: Path, fake: FakeTrainer) -> None:
    before = tree_digest(studio)

    answer = invoke([*TRAIN, "--plan", "--output", FILE, "--dry-run", "--json"], studio)

    assert answer.document["written"] == [FILE]
    assert tree_digest(studio) == before
