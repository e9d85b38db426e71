from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.catalog_builders import add_asset, draw_icon
from tests.support.workspace_builders import (
    Answer,
    git,
    invoke,
    make_workspace,
    reopen,
    tree_digest,
)

NOON = "2026-03-01T12:00:00Z"


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """A workspace with a project that has the starter catalogs, and nothing else."""
    make_workspace(tmp_path / "studio", git=False)
    assert invoke(["project", "create", "neon_city"], tmp_path / "studio").exit_code == 0
    return tmp_path / "studio"


def assets(studio: Path) -> list[dict[str, Any]]:
    folder = studio / "data/projects/neon_city/assets"
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


def give(studio: Path, seed: int, title: str, **more: Any) -> str:
    icon = draw_icon(studio.parent / "made" / f"{seed}.png", seed=seed)
    return add_asset(
        reopen(studio), "neon_city", icon, title=title, **{"status": "review", **more}
    ).id


def run(studio: Path, *arguments: str, by: str = "kim@studio.example") -> Answer:
    return invoke(["asset", *arguments, "--as", by, "--json"], studio)


def changed(answer: Answer) -> list[str]:
    return [one["title"] for one in answer.document["data"]["changed"]]


def refused(studio: Path, code: str, *arguments: str, exit_code: int = 1) -> dict[str, Any]:
    before = tree_digest(studio)
    answer = run(studio, *arguments)
    assert (answer.exit_code, answer.error["code"]) == (exit_code, code)
    assert tree_digest(studio) == before
    return answer.error


class TestList:
    def test_of_an_empty_project_names_the_way_to_art(self, studio: Path) -> None:
        answer = invoke(["asset", "list"], studio)

        assert answer.exit_code == 0
        assert "neon_city has no assets yet" in answer.stdout
        assert "lora asset import DIR" in answer.stdout

    def test_shows_titles_in_order_with_tags_and_status(self, studio: Path) -> None:
        give(studio, 1, "Star", tags=("shape:star",))
        give(studio, 2, "Crown", status="approved", training="denied")

        rows = run(studio, "list").document["data"]["assets"]

        assert [(row["title"], row["status"], row["barredBy"]) for row in rows] == [
            ("Crown", "approved", "training rights denied"),
            ("Star", "review", ""),
        ]

    def test_json_holds_all_and_text_as_many_as_were_asked_for(self, studio: Path) -> None:
        for seed in range(3):
            give(studio, seed, f"Icon {seed}")

        text = invoke(["asset", "list", "--limit", "2"], studio).stdout

        assert len(run(studio, "list", "--limit", "2").document["data"]["assets"]) == 3
        assert "… and 1 more" in text
        assert "Icon 2" not in text

    def test_filter_that_leaves_nothing_is_named_with_what_was_meant(self, studio: Path) -> None:
        give(studio, 1, "Star", tags=("shape:star",))

        error = refused(studio, "selection_empty", "list", "--tag", "shape:sart", exit_code=3)

        assert error["message"] == "no asset is left: tag shape:sart kept 0 of 1"
        assert error["hint"] == "did you mean shape:star?"

    def test_control_characters_of_a_title_do_not_reach_the_terminal(self, studio: Path) -> None:
        give(studio, 1, "Star \u202eevil")

        assert "\u202e" not in invoke(["asset", "list"], studio).stdout


class TestShow:
    def test_tells_image_origin_rights_and_review(self, studio: Path) -> None:
        asset_id = give(studio, 1, "Star", status="approved", prompt="a star")

        answer = invoke(["asset", "show", asset_id[-8:]], studio)

        for words in (
            f"Star · asset {asset_id}",
            "status     approved by ana@studio.example at 2026-03-01T12:00:00Z",
            "training   may be trained on",
            "64 x 64 PNG · transparent",
            "prompt     a star",
        ):
            assert words in answer.stdout

    def test_unknown_id_is_an_error(self, studio: Path) -> None:
        give(studio, 1, "Star")

        refused(studio, "record_not_found", "show", "01JNMG7Z9S0000000000000000", exit_code=3)


class TestApprove:
    def test_keeps_who_approved_when_and_what_they_said(self, studio: Path) -> None:
        give(studio, 1, "Star")

        answer = run(studio, "approve", "--all", "--note", "matches the sheet")

        version = assets(studio)[0]["versions"][0]
        assert answer.exit_code == 0
        assert version["status"] == "approved"
        assert version["reviewedBy"] == "kim@studio.example"
        assert version["reviewNote"] == "matches the sheet"

    def test_all_means_what_waits_and_leaves_rejected_art_alone(self, studio: Path) -> None:
        give(studio, 1, "Star")
        give(studio, 2, "Broken", status="rejected")

        assert changed(run(studio, "approve", "--all")) == ["Star"]

    def test_rejected_art_is_approved_when_its_status_is_named(self, studio: Path) -> None:
        give(studio, 2, "Broken", status="rejected")

        assert changed(run(studio, "approve", "--status", "rejected")) == ["Broken"]

    @pytest.mark.parametrize(
        "bar", [{"training": "denied"}, {"withdrawn_at": NOON}], ids=["denied", "withdrawn"]
    )
    def test_art_that_is_barred_is_refused_by_id_and_left_out_by_filter(
        self, studio: Path, bar: dict[str, Any]
    ) -> None:
        barred = give(studio, 1, "Barred", **bar)
        give(studio, 2, "Star")

        error = refused(studio, "rights_forbid", "approve", barred)
        answer = run(studio, "approve", "--all")

        assert error["message"].startswith("Barred cannot be approved")
        assert changed(answer) == ["Star"]
        assert answer.document["warnings"][0].startswith("left out Barred")

    def test_when_all_that_is_meant_is_barred_the_answer_is_no(self, studio: Path) -> None:
        give(studio, 1, "Barred", training="denied")

        refused(studio, "rights_forbid", "approve", "--all")

    def test_ids_may_come_from_a_file(self, studio: Path) -> None:
        one, _ = give(studio, 1, "Star"), give(studio, 2, "Crown")
        (studio.parent / "ids.txt").write_text(f"# chosen on Monday\n\n{one}  the star\n")

        answer = run(studio, "approve", "--from-file", str(studio.parent / "ids.txt"))

        assert changed(answer) == ["Star"]

    def test_file_without_ids_and_file_that_is_not_there_are_errors(self, studio: Path) -> None:
        (studio / "empty.txt").write_text("# nothing\n")

        refused(studio, "argument_invalid", "approve", "--from-file", "empty.txt", exit_code=3)
        refused(studio, "file_missing", "approve", "--from-file", "no.txt", exit_code=3)

    def test_without_saying_which_nothing_happens(self, studio: Path) -> None:
        give(studio, 1, "Star")

        error = refused(studio, "argument_invalid", "approve", exit_code=3)

        assert error["message"] == "which assets?"

    def test_again_says_that_nothing_waits(self, studio: Path) -> None:
        give(studio, 1, "Star")
        run(studio, "approve", "--all")

        error = refused(studio, "selection_empty", "approve", "--all", exit_code=3)

        assert "status draft or review kept 0 of 1" in error["message"]

    def test_dry_run_says_what_would_change_and_writes_nothing(self, studio: Path) -> None:
        give(studio, 1, "Star")
        before = tree_digest(studio)

        answer = run(studio, "approve", "--all", "--dry-run")

        assert changed(answer) == ["Star"]
        assert answer.document["dryRun"] is True
        assert tree_digest(studio) == before

    def test_nobody_who_acts_is_an_error(self, studio: Path) -> None:
        give(studio, 1, "Star")

        answer = invoke(["asset", "approve", "--all", "--json"], studio)

        assert (answer.exit_code, answer.error["code"]) == (3, "settings_invalid")


class TestRejectAndDeprecate:
    def test_rejected_art_is_kept_with_the_reason(self, studio: Path) -> None:
        give(studio, 1, "Star", tags=("issue:artefact",))

        run(studio, "reject", "--tag", "issue:artefact", "--note", "broken export")

        version = assets(studio)[0]["versions"][0]
        assert (version["status"], version["reviewNote"]) == ("rejected", "broken export")

    def test_deprecation_asks_why(self, studio: Path) -> None:
        asset_id = give(studio, 1, "Star", status="approved")

        assert run(studio, "deprecate", asset_id).exit_code == 2
        refused(studio, "argument_invalid", "deprecate", asset_id, "--note", " ", exit_code=3)
        assert changed(run(studio, "deprecate", asset_id, "--note", "new set")) == ["Star"]


class TestTag:
    def test_adds_and_removes(self, studio: Path) -> None:
        give(studio, 1, "Red heart", tags=("shape:circle",))

        answer = run(
            studio, "tag", "--title", "*heart*", "--add", "shape:heart,color:red",
            "--remove", "shape:circle",
        )  # fmt: skip

        tags = assets(studio)[0]["versions"][0]["variants"][0]["tags"]
        assert tags == ["shape:heart", "color:red"]
        assert answer.document["reasoning"].endswith("+shape:heart +color:red -shape:circle")

    def test_other_spelling_of_a_tag_is_understood(self, studio: Path) -> None:
        give(studio, 1, "Stone", tags=())

        run(studio, "tag", "--all", "--add", "grey")

        assert assets(studio)[0]["versions"][0]["variants"][0]["tags"] == ["color:gray"]

    def test_tag_of_no_catalog_is_refused_with_what_was_meant(self, studio: Path) -> None:
        give(studio, 1, "Star")

        error = refused(studio, "tag_unknown", "tag", "--all", "--add", "shape:strar")

        assert "shape:strar (did you mean shape:star?)" in error["message"]

    def test_tag_of_no_catalog_comes_into_it_when_that_is_asked_for(self, studio: Path) -> None:
        give(studio, 1, "Star")

        run(studio, "tag", "--all", "--add", "mood:calm", "--add-tags")

        catalog = json.loads((studio / "data/projects/neon_city/catalogs/tags.json").read_bytes())
        assert catalog["groups"][-1]["tags"][0]["id"] == "mood:calm"

    def test_second_tag_of_an_exclusive_group_is_refused_unless_the_first_goes(
        self, studio: Path
    ) -> None:
        give(studio, 1, "Star", tags=("style:flat",))

        error = refused(studio, "tags_exclusive", "tag", "--all", "--add", "style:neon")
        answer = run(studio, "tag", "--all", "--add", "style:neon", "--remove", "style:flat")

        assert error["hint"] == "add --remove style:flat"
        assert changed(answer) == ["Star"]

    def test_text_that_is_no_tag_is_an_error_with_the_nearest(self, studio: Path) -> None:
        give(studio, 1, "Star")

        error = refused(
            studio, "argument_invalid", "tag", "--all", "--add", "Shape Star", exit_code=3
        )

        assert "group:value" in error["message"]

    def test_without_tags_there_is_nothing_to_do(self, studio: Path) -> None:
        refused(studio, "argument_invalid", "tag", "--all", exit_code=3)


class TestRate:
    def test_stars_are_kept(self, studio: Path) -> None:
        give(studio, 1, "Star")

        run(studio, "rate", "--all", "--stars", "4")

        assert assets(studio)[0]["versions"][0]["variants"][0]["rating"] == 4

    @pytest.mark.parametrize("stars", ["6", "-1", "many"])
    def test_other_numbers_are_usage_errors(self, studio: Path, stars: str) -> None:
        assert run(studio, "rate", "--all", "--stars", stars).exit_code == 2


class TestRights:
    def test_withdrawal_is_kept_with_its_reason_and_stands(self, studio: Path) -> None:
        give(studio, 1, "Star", status="approved")

        run(studio, "withdraw", "--title", "star", "--reason", "asked for it back")
        again = run(studio, "withdraw", "--title", "star", "--reason", "other")

        rights = assets(studio)[0]["rights"]
        assert rights["reason"] == "asked for it back"
        assert rights["withdrawnAt"].endswith("Z")
        assert again.document["data"]["unchanged"]
        assert again.document["written"] == []

    def test_withdrawal_names_the_manifests_that_hold_the_image(self, studio: Path) -> None:
        for seed in range(3):
            give(studio, seed, f"Icon {seed}", status="approved")
        built = invoke(["dataset", "build", "icons", "--asset-type", "ui_icon", "--json"], studio)
        assert built.exit_code == 0, built.stdout

        answer = run(studio, "withdraw", "--title", "Icon 1", "--reason", "r")

        impact = answer.document["data"]["impact"]
        assert [(one["datasetId"], one["images"], one["of"]) for one in impact["manifests"]] == [
            ("icons", 1, 3)
        ]
        assert impact["releases"] == []
        assert answer.document["suggestions"] == ["lora dataset build icons"]

    def test_reason_is_asked_for(self, studio: Path) -> None:
        refused(studio, "argument_invalid", "withdraw", "--all", exit_code=3)
        refused(studio, "argument_invalid", "withdraw", "--all", "--reason", " ", exit_code=3)

    def test_rights_are_stated_with_consent(self, studio: Path) -> None:
        give(studio, 1, "Star", training="unknown")

        run(studio, "rights", "--all", "--set", "allowed", "--consent", "contract 17")

        assert assets(studio)[0]["rights"] == {"training": "allowed", "consent": "contract 17"}

    def test_withdrawn_art_keeps_its_rights(self, studio: Path) -> None:
        give(studio, 1, "Star", withdrawn_at=NOON)

        refused(studio, "rights_forbid", "rights", "--all", "--set", "allowed")


def test_decisions_are_committed_with_a_message_that_says_what_was_decided(
    tmp_path: Path,
) -> None:
    make_workspace(tmp_path / "studio")
    invoke(["project", "create", "neon_city", "--commit"], tmp_path / "studio")
    draw_icon(tmp_path / "art/a.png")
    studio = tmp_path / "studio"
    invoke(
        ["asset", "import", str(tmp_path / "art"), "--asset-type", "ui_icon", "--commit"], studio
    )

    invoke(["asset", "approve", "--all", "--commit"], studio)

    assert git(studio, "log", "-2", "--format=%s").splitlines() == [
        "Approved 1 asset of neon_city",
        "Imported 1 asset into neon_city for review",
    ]
    assert git(studio, "status", "--porcelain").strip() == ""


@pytest.mark.parametrize(
    "verb", ["list", "approve", "reject", "tag", "rate", "withdraw", "rights", "deprecate"]
)
def test_unknown_project_is_an_error_of_every_verb(studio: Path, verb: str) -> None:
    needs = {
        "tag": ["--add", "color:red"],
        "rate": ["--stars", "3"],
        "withdraw": ["--reason", "r"],
        "rights": ["--set", "allowed"],
        "deprecate": ["--note", "n"],
    }
    everything = [] if verb == "list" else ["--all"]

    answer = run(studio, verb, *everything, *needs.get(verb, []), "--project", "neon_cty")

    assert (answer.exit_code, answer.error["code"]) == (3, "record_not_found")
    assert answer.error["hint"] == "did you mean neon_city?"
