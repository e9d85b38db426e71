"""Ways round a withdrawal, on real records: each is refused, and the file is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation import strict_json
from lora_pipeline.operations.releases.release_answer import answer_withdrawal
from lora_pipeline.releases.answers import sealed
from lora_pipeline.releases.records import AnsweredImage, WithdrawalAnswer
from lora_pipeline.workspace.layout import Scope
from tests.support.release_builders import (
    DATASET,
    KIM,
    LORA,
    PROJECT,
    TRAINER,
    Studio,
    active_studio,
    copy_of,
    edit,
)
from tests.support.rights_builders import allow, give_back, state, withdraw
from tests.support.workspace_builders import Answer, add_project, commit_all, invoke

SINCE = "2020-02-20T12:00:00Z"  # long ago, whatever the clock of a machine says


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Studio, str]:
    """Return a studio whose active release holds a withdrawn image, kept by KIM."""
    studio = active_studio(tmp_path_factory.mktemp("template") / "studio")
    allow(studio, "keep")
    asset_id = withdraw(studio, at=SINCE)
    answer_withdrawal(studio.as_(KIM), LORA, "r1", "keep", reason="contract 17")
    commit_all(studio.root, "Kept it")
    return studio, asset_id


@pytest.fixture
def studio(template: tuple[Studio, str], tmp_path: Path) -> Studio:
    return copy_of(template[0], tmp_path / "studio")


@pytest.fixture
def withdrawn(template: tuple[Studio, str]) -> str:
    return template[1]


def validate(studio: Studio) -> Answer:
    return invoke(["validate", "--json"], studio.root)


def errors(studio: Studio) -> dict[str, str]:
    found = validate(studio).document["data"]["findings"]
    return {one["code"]: one["message"] for one in found if one["severity"] == "error"}


def the_answer(studio: Studio) -> Path:
    [path] = studio.path("withdrawal-answer", "x").parent.glob("*.json")
    return path


def write_answer(studio: Studio, **values: Any) -> None:
    """Write the answer anew by hand, sealed, as somebody would who knows the format."""
    path = the_answer(studio)
    record = WithdrawalAnswer.from_dict(json.loads(path.read_text()))
    path.write_bytes(strict_json.dumps(sealed(replace(record, **values)).to_dict()))


def test_the_answered_studio_is_in_order(studio: Studio) -> None:
    answer = validate(studio)

    assert answer.exit_code == 0, answer.stdout
    assert errors(studio) == {}
    assert invoke(["resolve", LORA], studio.root).exit_code == 0


def test_the_withdrawal_is_taken_out_of_the_record(studio: Studio, withdrawn: str) -> None:
    give_back(studio, withdrawn)

    assert "it was withdrawn once, as Git remembers" in errors(studio)["withdrawal_undone"]
    commit_all(studio.root, "Tidied up")
    assert "withdrawal_undone" in errors(studio)


def test_the_record_of_the_asset_is_removed(studio: Studio, withdrawn: str) -> None:
    studio.path("asset", withdrawn).unlink()

    assert "not in the catalog" in errors(studio)["active_release_unproven"]


def test_the_day_of_the_withdrawal_is_changed(studio: Studio, withdrawn: str) -> None:
    state(studio, withdrawn, withdrawn_at="2026-02-28T12:00:00Z")

    assert "not answered for" in errors(studio)["withdrawal_unanswered"]


def test_the_image_is_taken_out_of_the_manifest(studio: Studio, withdrawn: str) -> None:
    path = studio.path("dataset", DATASET)
    document = json.loads(path.read_text())
    document["items"] = [one for one in document["items"] if one["assetId"] != withdrawn]
    path.write_bytes(strict_json.dumps(document, one_line_each=("items",)))
    the_answer(studio).unlink()

    found = errors(studio)
    assert "withdrawal_unanswered" in found  # the real manifest is looked for in Git
    assert "content_differs" in found


def test_the_answer_is_removed(studio: Studio) -> None:
    the_answer(studio).unlink()

    assert "withdrawal_unanswered" in errors(studio)
    refused = invoke(["resolve", LORA, "--json"], studio.root)
    assert refused.exit_code == 1
    assert "not answered for" in refused.error["message"]


def test_the_answer_is_edited(studio: Studio) -> None:
    edit(the_answer(studio), "contract 17", "contract 18")

    found = errors(studio)
    assert f"the answer of {KIM} was edited" in found["answer_edited"]
    assert "was edited" in found["withdrawal_unanswered"]


REWRITTEN: list[tuple[str, dict[str, Any], str]] = [
    ("another reason", {"reason": "whatever"}, "was edited"),
    ("another person", {"answered_by": TRAINER}, "was edited"),
    ("a bot", {"answered_by": "ci[bot]@studio"}, "is no person"),
    ("more images", {"images": (AnsweredImage(asset_id="B", since=SINCE),)}, "not answered for"),
]


@pytest.mark.parametrize(
    ("values", "words"), [one[1:] for one in REWRITTEN], ids=[one[0] for one in REWRITTEN]
)
def test_the_answer_is_written_anew_and_sealed(
    studio: Studio, values: dict[str, Any], words: str
) -> None:
    write_answer(studio, **values)

    found = errors(studio)
    assert "the Git history holds another content" in found["answer_rewritten"]
    assert words in found["withdrawal_unanswered"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"answered_by": TRAINER}, f"{TRAINER} trained r1 and cannot answer for it"),
        ({"release_id": "r2"}, "not answered for"),
        ({"weights_sha256": "9" * 64}, "is about other weights"),
        ({"answer": "retrain", "until": "2099-01-01T00:00:00Z"}, "ended on 2020-03-21"),
    ],
    ids=["by who trained it", "of another release", "for other weights", "without end"],
)
def test_a_made_up_answer_where_no_history_remembers(
    studio: Studio, values: dict[str, Any], words: str
) -> None:
    shutil.rmtree(studio.root / ".git")
    write_answer(studio, **values)

    assert words in errors(studio)["withdrawal_unanswered"]


def test_the_policy_is_relaxed_for_a_moment(studio: Studio) -> None:
    allow(studio, "stop")

    assert "the project's policy is to stop" in errors(studio)["withdrawal_unanswered"]


def test_the_asset_is_moved_to_a_project_with_a_milder_policy(
    studio: Studio, withdrawn: str
) -> None:
    allow(studio, "stop")
    add_project(studio.workspace, "lenient")
    allow(studio, "keep", scope=Scope("lenient"))
    path = studio.path("asset", withdrawn)
    target = path.parents[2] / "lenient" / "assets" / path.name
    target.parent.mkdir(parents=True)
    text = path.read_text().replace(f'"projectId": "{PROJECT}"', '"projectId": "lenient"')
    target.write_text(text)
    path.unlink()

    assert "the project's policy is to stop" in errors(studio)["withdrawal_unanswered"]


def test_a_withdrawal_that_is_undone_where_nothing_uses_it_is_a_warning(
    studio: Studio, withdrawn: str
) -> None:
    answer_withdrawal(studio.workspace, LORA, "r1", "stop", reason="it stops")
    give_back(studio, withdrawn)

    found = validate(studio).document["data"]["findings"]
    [undone] = [one for one in found if one["code"] == "withdrawal_undone"]
    assert undone["severity"] == "warning"
    assert f"lora asset withdraw {withdrawn}" in undone["fix"]
