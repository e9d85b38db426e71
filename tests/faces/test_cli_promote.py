"""``lora promote`` and ``lora rollback``: the gate from the command line, and faults in between."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lora_pipeline.releases.history import broken_link
from lora_pipeline.workspace.root import utc_now
from lora_pipeline.workspace.store import open_store
from tests.support import attacks
from tests.support.release_builders import (
    ANA,
    KIM,
    LORA,
    TRAINER,
    Studio,
    active_studio,
    add_grid,
    add_review,
    copy_of,
    edit,
    make_active,
    make_studio,
)
from tests.support.workspace_builders import REPOSITORY, Answer, git, invoke, tree_digest


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return make_studio(tmp_path_factory.mktemp("candidate") / "studio")


@pytest.fixture(scope="module")
def active(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("active") / "studio")


@pytest.fixture
def studio(candidate: Studio, tmp_path: Path) -> Studio:
    """A studio whose r1 is a candidate that nobody has looked at."""
    return copy_of(candidate, tmp_path / "studio")


@pytest.fixture
def running(active: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 active and r2 a candidate."""
    return copy_of(active, tmp_path / "studio")


def promote(studio: Studio, release: str = "r1", *options: str, actor: str = ANA) -> Answer:
    return invoke(["promote", LORA, release, "--json", "--as", actor, *options], studio.root)


def refused(answer: Answer) -> dict[str, str]:
    assert answer.exit_code == 1, answer.stdout + answer.stderr
    assert answer.error["code"] == "gate_refused"
    conditions = answer.document["data"]["conditions"]
    return {one["id"]: one["reason"] for one in conditions if one["status"] != "pass"}


def test_promotion_without_a_grid_is_refused_and_writes_nothing(studio: Studio) -> None:
    before = tree_digest(studio.root / "data")
    answer = promote(studio)

    assert set(refused(answer)) == {"grid", "approvals"}
    assert answer.document["suggestions"] == ["lora eval grid icons r1"]
    assert tree_digest(studio.root / "data") == before


def test_promotion_without_a_review_is_refused_and_says_what_comes_next(studio: Studio) -> None:
    add_grid(studio)
    answer = promote(studio)

    assert refused(answer) == {"approvals": "0 of 1"}
    assert answer.error["hint"] == "lora eval show icons r1"


def test_ones_own_approval_does_not_count(studio: Studio) -> None:
    add_review(studio, add_grid(studio), TRAINER)

    assert refused(promote(studio)) == {
        "approvals": f"0 of 1: {TRAINER} trained r1 and cannot approve it"
    }


def test_the_same_person_twice_is_one_person(studio: Studio) -> None:
    attacks.write_policy(studio, approvals=2)
    grid = add_grid(studio)
    add_review(studio, grid, KIM)
    add_review(studio, grid, KIM.upper())

    assert refused(promote(studio))["approvals"].startswith("1 of 2")


def test_a_rejection_refuses_until_it_is_answered(studio: Studio) -> None:
    grid = add_grid(studio)
    add_review(studio, grid, KIM)
    add_review(studio, grid, ANA, "rejected", created_at="2026-03-01T13:00:00Z")
    assert refused(promote(studio)) == {"objections": f"{ANA} rejected it (halo on dark)"}

    add_review(studio, grid, ANA, created_at="2026-03-01T14:00:00Z")
    assert promote(studio).exit_code == 0


def test_a_review_of_another_grid_does_not_count(studio: Studio) -> None:
    add_review(studio, add_grid(studio))
    add_grid(studio, lift=61, created_at="2026-03-01T13:00:00Z")

    assert "approved another grid" in refused(promote(studio))["approvals"]


def test_an_earlier_grid_can_be_named(studio: Studio) -> None:
    first = add_grid(studio)
    add_review(studio, first)
    add_grid(studio, lift=61, created_at="2026-03-01T13:00:00Z")

    assert promote(studio, "r1", "--evaluation", first.id).exit_code == 0


def test_a_grid_that_does_not_exist_is_named(studio: Studio) -> None:
    answer = promote(studio, "r1", "--evaluation", "nope")

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_not_found"


def test_a_lora_without_effect_is_refused(studio: Studio) -> None:
    add_review(studio, add_grid(studio, lift=2))

    assert "needs 0.020" in refused(promote(studio))["effect"]


def test_a_lora_that_changes_nothing_is_refused(studio: Studio) -> None:
    add_review(studio, add_grid(studio, lift=0))
    found = refused(promote(studio))

    assert found["effect"] == "0.000 mean difference to base, needs 0.020"
    assert "the same as another" in found["cells"]


def test_weights_that_are_not_here_are_not_proven(studio: Studio) -> None:
    add_review(studio, add_grid(studio))
    weights = studio.lora().record.releases[0].weights
    assert weights is not None
    open_store(studio.workspace).path(weights.sha256).unlink()
    answer = promote(studio)

    assert "weights of r1 are not on this machine" in refused(answer)["weights"]
    statuses = {one["id"]: one["status"] for one in answer.document["data"]["conditions"]}
    assert statuses["weights"] == "not_proven"


def test_measured_values_are_measured_again_at_promotion(studio: Studio) -> None:
    """A whole grid was made up, with digests that agree, and approved unseen."""
    from msgspec.structs import replace

    from lora_pipeline.evaluation.effect import summarise
    from lora_pipeline.evaluation.grid import result_digest
    from lora_pipeline.foundation import strict_json

    grid = add_grid(studio, lift=4)
    cells = tuple(
        replace(cell, effect=0.4 * cell.strength if cell.strength else None) for cell in grid.cells
    )
    assert grid.suite is not None
    forged = replace(grid, cells=cells, metrics=summarise(grid.suite, cells, 0))
    forged = replace(forged, result_digest=result_digest(forged))
    path = studio.path("evaluation", grid.id)
    path.write_bytes(strict_json.dumps(forged.to_dict(), one_line_each=("cells",)))
    add_review(studio, forged)
    found = refused(promote(studio))

    assert set(found) == {"images"}
    assert "measure otherwise than recorded" in found["images"]


def test_a_dry_run_shows_the_decision_and_writes_nothing(studio: Studio) -> None:
    add_review(studio, add_grid(studio))
    before = tree_digest(studio.root / "data")
    answer = promote(studio, "r1", "--dry-run")

    assert answer.exit_code == 0
    assert answer.document["dryRun"] is True
    assert answer.document["data"]["passed"] is True
    assert answer.document["written"] == ["data/projects/neon_city/loras/icons.json"]
    assert tree_digest(studio.root / "data") == before


def test_promotion_makes_it_active_and_keeps_the_evidence(studio: Studio) -> None:
    grid = add_grid(studio)
    review = add_review(studio, grid)
    answer = promote(studio, "r1", "--reason", "style sheet 12")
    lora = studio.lora().record
    [entry] = lora.history

    assert answer.exit_code == 0
    assert lora.active_release_id == "r1"
    assert lora.releases[0].status == "approved"
    assert (entry.event, entry.by, entry.reason) == ("promoted", ANA, "style sheet 12")
    assert entry.evidence is not None
    assert entry.evidence.evaluation_id == grid.id
    assert entry.evidence.review_digests == (review.digest,)
    assert broken_link(lora.history) is None


def test_promoting_again_on_the_same_evidence_changes_nothing(running: Studio) -> None:
    before = tree_digest(running.root / "data")
    answer = promote(running)

    assert answer.exit_code == 0
    assert answer.document["written"] == []
    assert tree_digest(running.root / "data") == before


def test_promoting_again_after_another_review_renews_the_evidence(running: Studio) -> None:
    from lora_pipeline.evaluation.records import Evaluation

    path = attacks.only(running, "evaluation")
    add_review(running, Evaluation.from_dict(json.loads(path.read_text())), ANA)

    assert promote(running).exit_code == 0
    assert len(running.lora().record.history) == 2
    assert invoke(["validate"], running.root).exit_code == 0


def test_the_one_before_stays_approved(running: Studio) -> None:
    make_active(running, "r2")
    lora = running.lora().record

    assert lora.active_release_id == "r2"
    assert [release.status for release in lora.releases] == ["approved", "approved"]
    assert lora.history[-1].from_release_id == "r1"


def test_promotion_can_be_committed_with_its_reason(studio: Studio) -> None:
    add_review(studio, add_grid(studio))
    promote(studio, "r1", "--commit")

    assert git(studio.root, "log", "-1", "--format=%s").strip() == "Promoted r1 of icons"


def test_nobody_in_particular_cannot_promote(studio: Studio) -> None:
    add_review(studio, add_grid(studio))
    git(studio.root, "config", "--unset", "user.email")
    answer = invoke(["promote", LORA, "r1", "--json"], studio.root)

    assert answer.exit_code == 3
    assert answer.error["code"] == "settings_invalid"
    assert "nobody is known to act here" in answer.error["message"]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["icns", "r1"], "no LoRA 'icns' in project neon_city", "did you mean icons?"),
        (["icons", "r7"], "no release 'r7' of icons", "there are: r1"),
    ],
)
def test_what_does_not_exist_is_named_with_a_near_one(
    studio: Studio, arguments: list[str], message: str, hint: str
) -> None:
    answer = invoke(["promote", *arguments, "--json"], studio.root)

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_not_found"
    assert answer.error["message"] == message
    assert answer.error["hint"] == hint


def test_a_history_that_was_changed_by_hand_is_not_gone_on_from(running: Studio) -> None:
    attacks.edited_history(running)
    answer = promote(running, "r2")

    assert answer.exit_code == 3
    assert answer.error["code"] == "state_forbids"
    assert "entry 1 (promoted r1) was edited" in answer.error["message"]


def test_what_people_read_names_every_condition_and_the_next_command(studio: Studio) -> None:
    add_grid(studio)
    answer = invoke(["promote", LORA, "r1"], studio.root)
    lines = answer.stdout.splitlines()

    assert lines[0] == "refused · r1 stays a candidate"
    assert "  fail       approvals       0 of 1" in lines
    assert "  pass       grid complete   12 of 12 cells, one render session" in lines
    assert lines[-1].startswith("next  lora eval show icons r1")


def test_reviews_can_be_asked_to_be_committed_by_their_reviewers(studio: Studio) -> None:
    attacks.write_policy(studio, approvals=2, reviewsCommittedByReviewer=True, maxAgeDays=90)
    grid = add_grid(studio, created_at=utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"))
    reviews = [add_review(studio, grid, who) for who in (KIM, ANA)]
    assert "is not committed yet" in refused(promote(studio))["approvals"]

    for review in reviews:
        git(studio.root, "config", "user.email", review.reviewer)
        git(studio.root, "add", str(studio.path("review", review.id)))
        git(studio.root, "commit", "--quiet", "-m", f"Review of {review.reviewer}")
    assert promote(studio).exit_code == 0


def test_brand_policy_refuses_a_review_that_somebody_else_committed(studio: Studio) -> None:
    edit(
        studio.path("project", "project"),
        '"id": "neon_city"',
        '"gate": {"ui_icon": "brand"}, "id": "neon_city"',
    )
    grid = add_grid(studio)
    add_review(studio, grid, KIM)
    git(studio.root, "add", "--all")
    git(studio.root, "commit", "--quiet", "-m", "Kim said yes on the phone")

    assert f"the review of {KIM} was committed by {ANA}" in refused(promote(studio))["approvals"]


def test_a_policy_cannot_be_chosen_on_ones_own_machine(studio: Studio) -> None:
    (studio.root / "config" / "local.json").write_text('{"gate": {"policy": "solo"}}')
    answer = promote(studio)

    assert answer.exit_code == 3
    assert answer.error["message"] == "config/local.json: gate.policy holds for everybody"


# ---- rollback -------------------------------------------------------------------------------


def rollback(studio: Studio, *options: str) -> Answer:
    return invoke(["rollback", LORA, "--json", "--as", ANA, *options], studio.root)


def test_rollback_goes_back_to_the_one_before_and_is_recorded(running: Studio) -> None:
    make_active(running, "r2")
    answer = rollback(running, "--reason", "halo on dark")
    lora = running.lora().record

    assert answer.exit_code == 0
    assert lora.active_release_id == "r1"
    assert lora.history[-1].event == "rolled_back"
    assert lora.history[-1].from_release_id == "r2"
    assert lora.history[-1].reason == "halo on dark"
    assert invoke(["validate"], running.root).exit_code == 0


def test_rollback_is_refused_when_the_evidence_no_longer_holds(running: Studio) -> None:
    make_active(running, "r2")
    attacks.withdrawn_asset(running)
    answer = rollback(running)

    assert "1 of 3 withdrawn, not answered for" in refused(answer)["withdrawals"]
    assert running.lora().record.active_release_id == "r2"


def test_rollback_needs_something_to_go_back_to(running: Studio) -> None:
    answer = rollback(running)

    assert answer.exit_code == 3
    assert answer.error["code"] == "state_forbids"


def test_rollback_to_what_was_never_active_is_no_way_round_the_gate(running: Studio) -> None:
    answer = rollback(running, "--to", "r2")

    assert answer.exit_code == 3
    assert "r2 was never active" in answer.error["message"]


def test_rollback_to_a_deprecated_release_is_refused(running: Studio) -> None:
    make_active(running, "r2")
    invoke(["release", "deprecate", LORA, "r1", "--reason", "x"], running.root)

    assert "r1 is deprecated" in refused(rollback(running, "--to", "r1"))["release"]


def test_rollback_mends_a_forged_pointer(running: Studio) -> None:
    make_active(running, "r2")
    edit(running.path("lora", LORA), '"activeReleaseId": "r2"', '"activeReleaseId": "r9"')

    assert rollback(running, "--to", "r1").exit_code == 0
    assert running.lora().record.active_release_id == "r1"


# ---- interruption ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fail", "die"])
def test_a_fault_at_any_system_call_leaves_the_old_state_or_the_new_one(
    studio: Studio, mode: str
) -> None:
    add_review(studio, add_grid(studio))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.fault_points", mode, str(studio.root),
         "promote", LORA, "r1", "--as", ANA],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    points = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(points) > 8
    assert not points[-1]["hit"]
    assert [point for point in points if point["errors"] != 0] == []
    assert [point for point in points if (point["again"], point["after"]) != (0, 0)] == []
    assert {code for point in points for code in point["codes"]} <= {"left_over"}
