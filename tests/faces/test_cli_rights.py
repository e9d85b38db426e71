"""Rights on the command line: policy of a project, licences, ends, withdrawals, answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import Asset
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.release_builders import KIM, LORA, Studio, active_studio, copy_of
from tests.support.rights_builders import allow, withdraw
from tests.support.workspace_builders import Answer, git, invoke, make_workspace

PROJECT = "neon_city"
SCOPE = Scope(PROJECT)
LONG_AGO = "2020-01-31"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a workspace with three approved assets under CC0."""
    made = make_workspace(tmp_path / "studio", project=PROJECT)
    add_catalogs(made, PROJECT)
    for seed in range(3):
        add_asset(made, PROJECT, draw_icon(tmp_path / f"{seed}.png", seed=seed), title=f"I{seed}")
    return made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Return a studio whose active release holds a withdrawn image."""
    studio = active_studio(tmp_path_factory.mktemp("template") / "studio")
    withdraw(studio)
    return studio


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """Return a copy of it."""
    return copy_of(template, tmp_path / "studio")


def run(workspace: Workspace, *arguments: str) -> Answer:
    return invoke([*arguments, "--json"], workspace.root)


def policy(workspace: Workspace) -> dict[str, Any]:
    path = workspace.data_root / "projects" / PROJECT / "project.json"
    rights: dict[str, Any] = json.loads(path.read_text()).get("rights", {})
    return rights


def rights_of(workspace: Workspace) -> list[dict[str, Any]]:
    records = workspace.records.all(Asset, SCOPE)
    return [loaded.record.to_dict().get("rights", {}) for loaded in records]


def warnings(workspace: Workspace) -> dict[str, dict[str, str]]:
    found = run(workspace, "validate").document["data"]["findings"]
    return {one["code"]: one for one in found}


class TestProjectRights:
    def test_without_options_it_shows_and_writes_nothing(self, workspace: Workspace) -> None:
        answer = run(workspace, "project", "rights")

        assert answer.document["written"] == []
        assert answer.document["data"]["rights"]["onWithdrawal"] == "stop"
        assert answer.document["data"]["approved"] == {"mayTrain": 3, "barred": {}}

    def test_what_is_set_stands_in_the_record_and_the_rest_stays(
        self, workspace: Workspace
    ) -> None:
        run(workspace, "project", "rights", "--allow-license", "cc0-1.0,studio-owned")
        run(workspace, "project", "rights", "--on-withdrawal", "retrain", "--retrain-days", "14")

        assert policy(workspace) == {
            "allowedLicenses": ["CC0-1.0", "studio-owned"],
            "onWithdrawal": "retrain",
            "retrainWithinDays": 14,
        }

    def test_a_stricter_policy_says_what_it_takes_away(self, workspace: Workspace) -> None:
        answer = run(workspace, "project", "rights", "--require-consent", "--dry-run")

        assert answer.document["data"]["approved"]["mayTrain"] == 0
        assert (
            "3 of 3 approved assets may no longer be trained on" in answer.document["warnings"][0]
        )
        assert policy(workspace) == {}

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--allow-license", "CC-BY"], "'CC-BY' is no SPDX id"),
            (["--forbid-license", "MIT"], "licence 'MIT' is not in the list"),
            (["--retrain-days", "0"], "retrain-days must be 1 to 365"),
        ],
    )
    def test_bad_values_are_told_and_nothing_is_written(
        self, workspace: Workspace, options: list[str], words: str
    ) -> None:
        before = policy(workspace)

        answer = run(workspace, "project", "rights", *options)

        assert answer.exit_code == 3
        assert answer.error["code"] == "argument_invalid"
        assert words in answer.error["message"]
        assert policy(workspace) == before

    def test_the_last_licence_is_not_taken_off_by_accident(self, workspace: Workspace) -> None:
        run(workspace, "project", "rights", "--allow-license", "CC0-1.0")

        answer = run(workspace, "project", "rights", "--forbid-license", "CC0-1.0")

        assert answer.exit_code == 3
        assert "--any-license" in answer.error["hint"]
        assert run(workspace, "project", "rights", "--any-license").exit_code == 0
        assert policy(workspace) == {}

    def test_people_read_what_it_means(self, workspace: Workspace) -> None:
        invoke(["project", "rights", "--on-withdrawal", "keep"], workspace.root)

        answer = invoke(["project", "rights"], workspace.root)

        assert "3 of 3 approved assets may be trained on" in answer.stdout
        assert "is retrained within 30 days, or is kept for a reason" in answer.stdout

    def test_a_new_project_wants_spdx_ids_too(self, workspace: Workspace) -> None:
        answer = run(workspace, "project", "create", "other", "--allow-license", "CC BY 4.0")

        assert answer.exit_code == 3
        assert "did you mean CC-BY-4.0?" in answer.error["hint"]


class TestAssetRights:
    def test_licence_consent_and_last_day_are_stated(self, workspace: Workspace) -> None:
        answer = run(
            workspace, "asset", "rights", "--title", "I0", "--license", "cc-by-4.0",
            "--consent", "contract 17", "--expires", "2099-12-31",
        )  # fmt: skip

        assert answer.exit_code == 0, answer.stdout
        assert rights_of(workspace)[0] == {
            "training": "allowed", "license": "CC-BY-4.0", "consent": "contract 17",
            "expiresOn": "2099-12-31",
        }  # fmt: skip
        shown = invoke(["asset", "list", "--title", "I0", "--json"], workspace.root)
        asset_id = shown.document["data"]["assets"][0]["id"]
        assert "until 2099-12-31" in invoke(["asset", "show", asset_id], workspace.root).stdout

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ([], "what is to be stated?"),
            (["--license", "CC-BY-4"], "'CC-BY-4' is no SPDX id"),
            (["--expires", "31.12.2027"], "expires must be a day"),
            (["--expires", "2027-02-30"], "expires must be a day"),
        ],
    )
    def test_bad_values_are_told_and_nothing_is_written(
        self, workspace: Workspace, options: list[str], words: str
    ) -> None:
        before = rights_of(workspace)

        answer = run(workspace, "asset", "rights", "--all", *options)

        assert answer.exit_code == 3
        assert answer.error["code"] == "argument_invalid"
        assert words in answer.error["message"]
        assert rights_of(workspace) == before

    def test_licences_of_the_project_need_not_be_spdx(self, workspace: Workspace) -> None:
        run(workspace, "project", "rights", "--allow-license", "MIT-ish,CC0-1.0")

        run(workspace, "asset", "rights", "--all", "--license", "mit-ISH")

        assert {one["license"] for one in rights_of(workspace)} == {"MIT-ish"}


class TestEnds:
    def test_what_has_ended_is_withdrawn_with_one_command(self, workspace: Workspace) -> None:
        run(workspace, "asset", "rights", "--title", "I1", "--expires", LONG_AGO)

        answer = run(workspace, "asset", "withdraw", "--expired")

        assert [one["title"] for one in answer.document["data"]["changed"]] == ["I1"]
        [rights] = [one for one in rights_of(workspace) if "withdrawnAt" in one]
        assert rights["reason"] == f"its licence ended on {LONG_AGO}"
        assert "@" in rights["withdrawnBy"]

    def test_nothing_has_ended(self, workspace: Workspace) -> None:
        answer = run(workspace, "asset", "withdraw", "--expired")

        assert answer.exit_code == 3
        assert answer.error["code"] == "selection_empty"
        assert "no licence of neon_city has ended" in answer.error["message"]

    def test_a_manifest_that_holds_it_is_told(self, workspace: Workspace) -> None:
        run(workspace, "dataset", "build", "icons", "--asset-type", "ui_icon")
        run(workspace, "asset", "rights", "--title", "I1", "--expires", LONG_AGO)

        found = warnings(workspace)["withdrawn_in_manifest"]

        assert f"its licence ended on {LONG_AGO}" in found["message"]
        assert found["fix"] == "lora asset withdraw --expired, then lora dataset build icons"


class TestFindings:
    def test_a_manifest_takes_what_was_withdrawn_until_it_is_built_again(
        self, workspace: Workspace
    ) -> None:
        run(workspace, "dataset", "build", "icons", "--asset-type", "ui_icon")
        withdrawn = run(workspace, "asset", "withdraw", "--title", "I1", "--reason", "asked")
        assert withdrawn.document["suggestions"] == ["lora dataset build icons"]

        found = warnings(workspace)["withdrawn_in_manifest"]
        assert (found["severity"], found["fix"]) == ("warning", "lora dataset build icons")
        run(workspace, "dataset", "build", "icons")
        assert "withdrawn_in_manifest" not in warnings(workspace)

    def test_the_same_image_under_another_id_is_told(self, workspace: Workspace) -> None:
        loaded = next(iter(workspace.records.all(Asset, SCOPE)))
        twin = replace(loaded.record, id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
        changes = Changes(workspace)
        changes.create(twin, SCOPE, twin.id)
        changes.apply()
        run(workspace, "asset", "withdraw", loaded.record_id, "--reason", "asked")

        found = warnings(workspace)["withdrawn_twin"]

        assert f"{loaded.record_id}, which was withdrawn" in found["message"]
        assert found["fix"].startswith(f"lora asset withdraw {twin.id}")

    def test_a_misspelt_licence_is_told_once(self, workspace: Workspace) -> None:
        for path in (workspace.data_root / "projects" / PROJECT / "assets").glob("*.json"):
            path.write_text(path.read_text().replace("CC0-1.0", "CC0"))

        found = run(workspace, "validate").document["data"]["findings"]

        [one] = [one for one in found if one["code"] == "license_unknown"]
        assert one["message"] == "3 assets name the licence 'CC0', which is no SPDX id"
        assert "did you mean CC0-1.0?" in one["fix"]
        run(workspace, "project", "rights", "--allow-license", "CC0-1.0")
        assert "license_unknown" in warnings(workspace)


class TestAnswer:
    def test_people_read_what_was_decided(self, studio: Studio) -> None:
        allow(studio, "keep")
        words = ["release", "answer", LORA, "r1", "keep", "--reason", "contract 17", "--as", KIM]

        answer = invoke(words, studio.root)

        assert answer.exit_code == 0
        assert answer.stdout.startswith(f"Kept r1 of {LORA} with 1 withdrawn image")
        assert f"contract 17   ({KIM})" in answer.stdout
        assert "data/projects/neon_city/answers/" in answer.stdout

    def test_it_is_committed_with_a_message_that_says_it(self, studio: Studio) -> None:
        allow(studio, "keep")

        invoke(
            ["release", "answer", LORA, "r1", "keep", "--reason", "contract 17", "--commit"],
            studio.root,
        )

        assert git(studio.root, "log", "-1", "--format=%s").strip() == (
            f"Kept r1 of {LORA} with 1 withdrawn image"
        )
        assert git(studio.root, "status", "--porcelain").strip() == ""

    def test_a_refusal_names_the_rule_and_the_way_out(self, studio: Studio) -> None:
        answer = invoke(
            ["release", "answer", LORA, "r1", "retrain", "--reason", "soon"], studio.root
        )

        assert answer.exit_code == 1
        assert answer.stdout.startswith("refused · retrain does not count for r1")
        assert "the project's policy is to stop" in answer.stdout
        assert f"lora release answer {LORA} r1 stop --reason …" in answer.stdout

    def test_an_unknown_answer_is_a_usage_error(self, studio: Studio) -> None:
        words = ["release", "answer", LORA, "r1", "ignore", "--reason", "x"]

        assert invoke(words, studio.root).exit_code == 2

    def test_the_impact_is_a_picture_of_what_is_touched(self, studio: Studio) -> None:
        answer = invoke(["dataset", "impact", "--withdrawn"], studio.root)

        assert answer.exit_code == 0
        assert answer.stdout.startswith("1 asset in 1 manifest and 2 releases, 1 of them active")
        assert f"{LORA} r1 · 1 of 3 images of icons · not answered for" in answer.stdout

    def test_the_status_asks_for_it_first(self, studio: Studio) -> None:
        allow(studio, "keep")
        before = invoke(["status"], studio.root)
        invoke(["release", "answer", LORA, "r1", "keep", "--reason", "contract 17"], studio.root)
        after = invoke(["status"], studio.root)

        assert "active r1 · withdrawn images, not answered for" in before.stdout
        assert f"next  lora release answer {LORA} r1 stop|retrain|keep --reason …" in before.stdout
        assert "not answered for" not in after.stdout

    def test_deleting_the_lora_takes_its_answers_along(self, studio: Studio) -> None:
        allow(studio, "keep")
        invoke(["release", "answer", LORA, "r1", "keep", "--reason", "contract 17"], studio.root)

        invoke(["delete", LORA, "--force", "--yes"], studio.root)

        folder = studio.path("withdrawal-answer", "x").parent
        assert list(folder.glob("*.json")) == []
