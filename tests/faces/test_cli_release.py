"""``lora release``: list, show, register, verify and deprecate."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.store import open_store
from tests.support.attacks import edited_suite, swapped_weights
from tests.support.release_builders import (
    ANA,
    LORA,
    SCOPE,
    TRAINER,
    Studio,
    active_studio,
    add_grid,
    add_review,
    copy_of,
)
from tests.support.training_builders import write_lora
from tests.support.workspace_builders import Answer, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 of icons active and r2 a candidate."""
    return copy_of(template, tmp_path / "studio")


def release(studio: Studio, *arguments: str) -> Answer:
    return invoke(["release", *arguments, "--json"], studio.root)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["r2", "r1"]),
        ([LORA], ["r2", "r1"]),
        (["--status", "candidate"], ["r2"]),
        (["--status", "deprecated"], []),
    ],
)
def test_list_shows_what_the_filters_leave(
    studio: Studio, options: list[str], expected: list[str]
) -> None:
    rows = release(studio, "list", *options).document["data"]["releases"]

    assert [row["releaseId"] for row in rows] == expected


def test_list_for_people_marks_the_active_one(studio: Studio) -> None:
    answer = invoke(["release", "list"], studio.root)

    assert "icons r1 *" in answer.stdout
    assert "* active" in answer.stdout


def test_show_tells_how_it_was_made_and_what_the_gate_says(studio: Studio) -> None:
    data = release(studio, "show", LORA, "r2").document["data"]

    assert data["release"]["createdBy"] == TRAINER
    assert data["active"] is False
    assert data["decision"]["passed"] is False
    assert data["policySource"].endswith("gates/standard.yaml")


def test_show_says_when_the_evidence_of_the_active_one_no_longer_holds(studio: Studio) -> None:
    assert release(studio, "show", LORA, "r1").document["data"]["decision"]["passed"] is True
    edited_suite(studio)
    assert release(studio, "show", LORA, "r1").document["data"]["decision"]["passed"] is False


def test_verify_reads_the_file_and_compares_both_digests(studio: Studio) -> None:
    answer = release(studio, "verify", LORA, "r1")
    checks = {check["title"]: check for check in answer.document["data"]["checks"]}

    assert answer.exit_code == 0
    assert set(checks) == {"whole file", "tensors", "values", "base model"}
    assert checks["values"]["reason"] == "1 modules of rank 4, all finite"


def test_verify_says_which_digest_differs(studio: Studio) -> None:
    swapped_weights(studio)
    answer = release(studio, "verify", LORA, "r1")

    assert answer.exit_code == 1
    assert answer.error["code"] == "release_differs"
    assert "whole file: sha256" in answer.error["message"]
    assert "tensors: sha256" in answer.error["message"]


def test_verify_does_not_pass_what_is_not_here(studio: Studio) -> None:
    weights = studio.lora().record.releases[0].weights
    assert weights is not None
    open_store(studio.workspace).path(weights.sha256).unlink()
    answer = release(studio, "verify", LORA, "r1")

    assert answer.exit_code == 1
    assert answer.document["data"]["checks"][0]["status"] == "not_proven"


def test_verify_says_that_the_base_model_was_not_compared(studio: Studio) -> None:
    (studio.root / ".lora" / "models" / "tiny.safetensors").unlink()
    answer = release(studio, "verify", LORA, "r1")

    assert answer.exit_code == 0
    assert answer.document["warnings"] == ["not compared with tiny: it is not on this machine"]


def test_the_active_release_is_not_deprecated(studio: Studio) -> None:
    before = tree_digest(studio.root / "data")
    answer = release(studio, "deprecate", LORA, "r1", "--reason", "x")

    assert answer.exit_code == 1
    assert answer.error["code"] == "release_active"
    assert tree_digest(studio.root / "data") == before


def test_the_active_release_is_deprecated_when_nothing_may_be_active(studio: Studio) -> None:
    answer = release(
        studio, "deprecate", LORA, "r1", "--reason", "recalled", "--deactivate", "--as", ANA
    )
    lora = studio.workspace.records.read(Lora, SCOPE, LORA).record

    assert answer.exit_code == 0
    assert lora.active_release_id == ""
    assert lora.releases[0].status == "deprecated"
    assert (lora.history[-1].event, lora.history[-1].reason) == ("deprecated", "recalled")
    assert invoke(["validate"], studio.root).exit_code == 0


def test_a_candidate_is_deprecated_with_its_reason(studio: Studio) -> None:
    answer = release(studio, "deprecate", LORA, "r2", "--reason", "wrong base", "--as", ANA)
    lora = studio.lora().record

    assert answer.exit_code == 0
    assert lora.releases[1].status == "deprecated"
    assert lora.active_release_id == "r1"
    assert release(studio, "deprecate", LORA, "r2", "--reason", "again").document["written"] == []


def test_deprecating_needs_a_reason(studio: Studio) -> None:
    assert invoke(["release", "deprecate", LORA, "r2"], studio.root).exit_code == 2


def test_an_unknown_release_is_named_with_those_that_there_are(studio: Studio) -> None:
    answer = release(studio, "show", LORA, "r9")

    assert answer.exit_code == 3
    assert answer.error["hint"] == "there are: r1, r2"


def test_weights_made_elsewhere_become_a_candidate(studio: Studio, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "out.safetensors", up=0.5)
    answer = release(
        studio, "register", LORA, str(file), "--dataset", "icons", "--config", '{"rank": 4}',
        "--as", ANA,
    )  # fmt: skip
    made = studio.lora().record.releases[-1]

    assert answer.exit_code == 0, answer.stdout
    assert (made.id, made.status, made.created_by) == ("r3", "candidate", ANA)
    assert made.training["trainer"] == "manual"
    assert invoke(["validate"], studio.root).exit_code == 0


def test_weights_made_elsewhere_pass_the_same_gate(studio: Studio, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "out.safetensors", up=0.5)
    release(studio, "register", LORA, str(file), "--dataset", "icons", "--as", TRAINER)
    add_review(studio, add_grid(studio, "r3"))
    answer = invoke(["promote", LORA, "r3", "--json", "--as", ANA], studio.root)

    assert answer.exit_code == 0, answer.stdout
    conditions = {one["id"]: one["reason"] for one in answer.document["data"]["conditions"]}
    assert conditions["training"] == f"registered by {TRAINER}, trained elsewhere"


def test_weights_of_unknown_data_never_pass_the_gate(studio: Studio, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "out.safetensors", up=0.5)
    registered = release(studio, "register", LORA, str(file), "--as", TRAINER)
    answer = invoke(["promote", LORA, "r3", "--json", "--as", ANA], studio.root)

    assert "no dataset is named" in registered.document["warnings"][0]
    assert answer.exit_code == 1
    assert "nobody recorded which manifest r3 was trained on" in answer.error["message"]


def test_a_file_that_is_no_lora_is_refused_and_nothing_is_written(
    studio: Studio, tmp_path: Path
) -> None:
    file = tmp_path / "out.safetensors"
    file.write_bytes(b"<html>not found</html>")
    before = tree_digest(studio.root)
    answer = release(studio, "register", LORA, str(file), "--dataset", "icons")

    assert answer.exit_code == 3
    assert answer.error["code"] == "weights_refused"
    assert tree_digest(studio.root) == before


def test_a_config_that_is_no_object_is_a_usage_error(studio: Studio) -> None:
    assert invoke(["release", "register", LORA, "x", "--config", "[1]"], studio.root).exit_code == 2


def test_a_release_is_handed_over_with_its_passport(studio: Studio, tmp_path: Path) -> None:
    target = tmp_path / "icons.safetensors"
    command = ["release", "export", LORA, "r1", "--output", str(target)]

    first = invoke(command, studio.root)
    again = invoke(command, studio.root)

    assert first.exit_code == again.exit_code == 0, first.stderr
    for words in ("trigger     stkr", "strength    0.9", "may be used commercially",
                  "licences    base model: Apache-2.0", "icons.passport.json"):  # fmt: skip
        assert words in first.stdout
    assert again.stdout.startswith("nothing to do, there is already")
    assert (tmp_path / "icons.passport.json").is_file()


def test_a_dry_run_of_an_export_writes_nothing(studio: Studio, tmp_path: Path) -> None:
    answer = invoke(
        ["release", "export", LORA, "r1", "--output", str(tmp_path / "x.safetensors"), "--dry-run"],
        studio.root,
    )

    assert answer.stdout.startswith("would write")
    assert not (tmp_path / "x.safetensors").exists()


def test_an_address_goes_to_the_operation_that_fetches(studio: Studio) -> None:
    answer = release(studio, "register", LORA, "http://models.example/x.safetensors")

    assert answer.exit_code == 3
    assert answer.error["code"] == "argument_invalid"
    assert answer.error["hint"] == "use https://"
