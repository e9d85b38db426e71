"""Ways round the gate by Git, policies, clocks, waivers and emergencies; each by the command line.

``docs/gate-attacks.md`` lists them; ``tests/unit/releases/test_gate_table.py`` holds it to this.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.grid import result_digest
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.releases.history import extended
from lora_pipeline.releases.records import HistoryEntry, Lora
from lora_pipeline.workspace.root import utc_now
from lora_pipeline.workspace.setting_table import SETTINGS
from lora_pipeline.workspace.store import open_store
from tests.support import attacks, gate_walks
from tests.support.blind_builders import answer_page, compared, make_page
from tests.support.gate_walks import errors, promote, refusing, validate
from tests.support.release_builders import (
    ANA,
    KIM,
    LORA,
    SCOPE,
    TRAINER,
    Studio,
    active_studio,
    add_grid,
    add_release,
    add_review,
    copy_of,
    edit,
)
from tests.support.workspace_builders import Answer, commit_all, git, invoke


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio with r1 active, r2 rendered and approved by Kim, and everything committed."""
    studio = active_studio(tmp_path_factory.mktemp("walks") / "studio")
    add_review(studio, add_grid(studio, "r2", lift=70))
    commit_all(studio.root, "r2 was looked at")
    return studio


@pytest.fixture(scope="module")
def weak_template(template: Studio, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """As the template, with an r3 whose effect is far below what the policy asks for."""
    studio = copy_of(template, tmp_path_factory.mktemp("weak") / "studio")
    add_release(studio, "r30")
    add_review(studio, add_grid(studio, "r30", lift=2))
    commit_all(studio.root, "r30 was looked at")
    return studio


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


@pytest.fixture
def weak(weak_template: Studio, tmp_path: Path) -> Studio:
    return copy_of(weak_template, tmp_path / "studio")


def test_nothing_is_wrong_with_the_studio_itself(studio: Studio) -> None:
    assert validate(studio).exit_code == 0
    assert promote(studio, "r2", "--dry-run").exit_code == 0


# ---- every byte that is bound ---------------------------------------------------------------


def _release(change: Callable[[Lora], Lora]) -> Callable[[Studio], None]:
    return lambda studio: attacks.rewrite_lora(studio, change)


def _weights(field: str) -> Callable[[Studio], None]:
    def change(lora: Lora) -> Lora:
        first, second = lora.releases
        assert second.weights is not None
        digest = getattr(second.weights, field)
        other = ("0" if digest[0] != "0" else "1") + digest[1:]
        return replace(
            lora,
            releases=(first, replace(second, weights=replace(second.weights, **{field: other}))),
        )

    return _release(change)


def _training(field: str) -> Callable[[Studio], None]:
    def change(lora: Lora) -> Lora:
        first, second = lora.releases
        digest = str(second.training[field])
        other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        return replace(
            lora, releases=(first, replace(second, training=second.training | {field: other}))
        )

    return _release(change)


def _grid(change: Callable[[Evaluation], Evaluation]) -> Callable[[Studio], None]:
    def attack(studio: Studio) -> None:
        grid = gate_walks.r2_grid(studio)
        gate_walks.rewrite(studio.path("evaluation", grid.id), change(grid), "cells")

    return attack


def _resealed(grid: Evaluation) -> Evaluation:
    cells = (replace(grid.cells[0], steps=grid.cells[0].steps), *grid.cells[1:])
    metrics = grid.metrics
    assert metrics is not None
    made_up = replace(grid, cells=cells, metrics=replace(metrics, effect_mean=0.9))
    return replace(made_up, result_digest=result_digest(made_up))


def _image(studio: Studio) -> None:
    cell = gate_walks.r2_grid(studio).cells[-1]
    path = open_store(studio.workspace).path(cell.image_sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def _one_cell(field: str, value: object) -> Callable[[Studio], None]:
    return _grid(
        lambda grid: replace(
            grid, cells=(replace(grid.cells[0], **{field: value}), *grid.cells[1:])
        )
    )


BYTES: list[tuple[str, Callable[[Studio], None], str, str]] = [
    ("weights", _weights("sha256"), "approvals", f"{KIM} approved other weights"),
    ("tensors", _weights("tensor_sha256"), "approvals", f"{KIM} approved other weights"),
    ("manifest", _training("manifestHash"), "approvals", f"{KIM} approved another manifest"),
    ("base", _training("checkpointDigest"), "base_model", "it was trained on"),
    ("suite", attacks.edited_suite, "suite", "tiny was edited"),
    ("prompt", _one_cell("prompt", "a green star"), "result", "is not what its settings say"),
    ("seed", _one_cell("seed", 7), "result", "its cells are not those of its suite"),
    ("strength", _one_cell("strength", 0.9), "result", "not those of its suite"),
    ("effect", _grid(_resealed), "approvals", f"{KIM} approved another grid"),
    ("image", _image, "images", "1 of 12 have other bytes"),
]


@pytest.mark.parametrize(
    ("attack", "condition", "words"), [row[1:] for row in BYTES], ids=[row[0] for row in BYTES]
)
def test_each_bound_byte_voids_the_approval(
    studio: Studio, attack: Callable[[Studio], None], condition: str, words: str
) -> None:
    attack(studio)
    answer = promote(studio)

    assert answer.exit_code == 1
    assert words in refusing(answer)[condition]


def test_unseen_cells_do_not_approve(studio: Studio) -> None:
    add_grid(studio, "r2", lift=71, created_at="2026-03-01T13:00:00Z")
    invoke(["eval", "approve", LORA, "r2", "--cells-seen", "3", "--as", KIM], studio.root)

    assert f"{KIM} saw 3 of 12 cells" in refusing(promote(studio))["approvals"]


@pytest.mark.parametrize("who", ["ci[bot]@studio", "noreply@github.com", "deploy-bot@studio"])
def test_a_bot_does_not_approve(studio: Studio, who: str) -> None:
    add_grid(studio, "r2", lift=71, created_at="2026-03-01T13:00:00Z")
    invoke(["eval", "approve", LORA, "r2", "--as", who], studio.root)

    assert f"{who} is no person" in refusing(promote(studio))["approvals"]


def test_nothing_in_the_environment_turns_it_off(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    [setting] = [one for one in SETTINGS if one.key.startswith("gate")]
    for name in ("LORA_GATE", "LORA_GATE_POLICY", "LORA_SKIP_GATE", "LORA_FORCE", "CI"):
        monkeypatch.setenv(name, "solo")
    attacks.write_policy(studio, approvals=2)
    commit_all(studio.root, "Two people")

    assert setting.variable is None
    assert setting.shared_only
    assert promote(studio).exit_code == 1
    for option in ("--force", "--no-gate", "--skip-gate", "--yes"):
        assert invoke(["promote", LORA, "r2", option], studio.root).exit_code == 2


# ---- policies -------------------------------------------------------------------------------


def test_a_policy_relaxed_in_the_work_tree_is_not_used(weak: Studio) -> None:
    gate_walks.relaxed(weak)
    answer = promote(weak, "r30")

    assert answer.exit_code == 1
    assert "changed together with the promotion; by standard" in refusing(answer)["policy"]
    assert "effect: 0.008 mean difference to base" in refusing(answer)["policy"]


def _weak_promotion(weak: Studio) -> str:
    before = gate_walks.head(weak)
    gate_walks.relaxed(weak)
    commit_all(weak.root, "A policy of our own")
    assert promote(weak, "r30", "--commit").exit_code == 0
    return before


def test_policy_and_promotion_in_one_commit_are_found(weak: Studio) -> None:
    before = _weak_promotion(weak)
    assert validate(weak).exit_code == 0
    gate_walks.squash_since(weak, before, "Small things")

    assert "policy: changed together with the promotion" in errors(validate(weak))


@pytest.mark.slow
def test_policy_and_promotion_on_one_branch_are_found_after_the_merge(weak: Studio) -> None:
    git(weak.root, "checkout", "--quiet", "-b", "feature")
    _weak_promotion(weak)
    git(weak.root, "checkout", "--quiet", "main")
    git(weak.root, "merge", "--quiet", "--no-ff", "-m", "Merge feature", "feature")

    assert "policy: changed together with the promotion" in errors(validate(weak))
    assert invoke(["resolve", LORA], weak.root).exit_code == 1


def test_policy_and_promotion_on_one_branch_are_found_before_the_merge(weak: Studio) -> None:
    git(weak.root, "checkout", "--quiet", "-b", "feature")
    _weak_promotion(weak)

    assert "policy: changed together" in errors(validate(weak, "--base", "main"))


@pytest.mark.slow
def test_a_policy_that_was_relaxed_earlier_may_be_used(weak: Studio) -> None:
    gate_walks.relaxed(weak)
    commit_all(weak.root, "A policy of our own, on the main line")
    git(weak.root, "checkout", "--quiet", "-b", "feature")
    assert promote(weak, "r30", "--commit").exit_code == 0

    assert validate(weak, "--base", "main").exit_code == 0


@pytest.mark.slow
def test_another_policy_for_the_project_does_not_come_with_the_promotion(studio: Studio) -> None:
    attacks.write_policy(studio, approvals=2)
    (studio.root / "config" / "gates" / "standard.yaml").rename(
        studio.root / "config" / "gates" / "two.yaml"
    )
    edit(studio.root / "config" / "gates" / "two.yaml", '"standard"', '"two"')
    project = studio.path("project", "project")
    edit(project, '"id": "neon_city"', '"gate": {"ui_icon": "two"}, "id": "neon_city"')
    commit_all(studio.root, "Two people for icons")
    edit(project, '"ui_icon": "two"', '"ui_icon": "standard"')

    assert "approvals: 1 of 2" in refusing(promote(studio))["policy"]


def test_another_default_policy_does_not_come_with_the_promotion(studio: Studio) -> None:
    settings = studio.root / "config" / "pipeline.yaml"
    settings.write_text("gate:\n  policy: brand\n")
    commit_all(studio.root, "Everything is brand work")
    settings.write_text("gate:\n  policy: solo\n")

    assert "approvals: 0 of 2" in refusing(promote(studio))["policy"]


@pytest.mark.slow
def test_other_asset_types_do_not_come_with_the_promotion(studio: Studio) -> None:
    attacks.write_policy(studio, approvals=2)
    (studio.root / "config" / "gates" / "standard.yaml").rename(
        studio.root / "config" / "gates" / "two.yaml"
    )
    edit(studio.root / "config" / "gates" / "two.yaml", '"standard"', '"two"')
    project = studio.path("project", "project")
    edit(project, '"id": "neon_city"', '"gate": {"texture": "two"}, "id": "neon_city"')
    attacks.rewrite_lora(studio, lambda lora: replace(lora, asset_types=("texture", "ui_icon")))
    commit_all(studio.root, "Textures too")
    attacks.rewrite_lora(studio, lambda lora: replace(lora, asset_types=("ui_icon",)))

    assert "approvals: 1 of 2" in refusing(promote(studio))["policy"]


# ---- Git ------------------------------------------------------------------------------------


def test_a_branch_that_lacks_a_part_of_the_main_line_is_refused(studio: Studio) -> None:
    git(studio.root, "branch", "protected")
    git(studio.root, "checkout", "--quiet", "--orphan", "clean")
    attacks.removed_verdict_of(studio, "r2")
    commit_all(studio.root, "A fresh start")
    answer = validate(studio, "--base", "protected")

    assert answer.exit_code == 3
    assert "have no commit in common" in answer.error["message"]


def test_a_rewritten_branch_is_refused(studio: Studio) -> None:
    git(studio.root, "branch", "protected")
    attacks.removed_verdict_of(studio, "r2")
    git(studio.root, "add", "--all")
    git(studio.root, "commit", "--quiet", "--amend", "-m", "r2 was looked at")
    answer = validate(studio, "--base", "protected")

    assert answer.exit_code == 3
    assert "HEAD does not hold the history of protected" in answer.error["message"]


def test_replaced_objects_do_not_hide_a_verdict(studio: Studio) -> None:
    attacks.removed_verdict_of(studio, "r2")
    commit_all(studio.root, "Cleaning up")
    git(studio.root, "replace", "--graft", "HEAD", "HEAD~2")

    assert f"review_removed: the review of {KIM} (approved) was removed" in errors(validate(studio))


@pytest.mark.slow
def test_grafts_are_told_like_a_shallow_clone(studio: Studio) -> None:
    (studio.root / ".git" / "info" / "grafts").write_text(gate_walks.head(studio) + "\n")
    found = validate(studio).document["data"]["findings"]

    assert "history_shallow" in {one["code"] for one in found}


def test_moving_a_project_loses_no_verdict(studio: Studio) -> None:
    add_review(studio, gate_walks.r2_grid(studio), ANA, "rejected", comment="halo on dark")
    commit_all(studio.root, "Ana looked too")
    attacks.removed_verdict_of(studio, "r2", reviewer=ANA)
    (studio.root / "data/projects/neon_city").rename(studio.root / "data/projects/neon")
    for path in (studio.root / "data/projects/neon").rglob("*.json"):
        path.write_text(path.read_text().replace('"neon_city"', '"neon"'))
    commit_all(studio.root, "A shorter name")

    assert f"the review of {ANA} (rejected) was removed" in errors(validate(studio))


@pytest.mark.slow
def test_moving_a_lora_loses_no_history(studio: Studio) -> None:
    old, new = studio.path("lora", LORA), studio.path("lora", "badges")
    attacks.removed_history(studio)
    old.rename(new)
    edit(new, '"id": "icons"', '"id": "badges"')
    commit_all(studio.root, "Badges now")

    assert "Git holds a history of the same weights with 1 entries" in errors(validate(studio))


def test_an_address_that_was_taken_out_of_the_mailmap_is_still_the_same_person(
    studio: Studio,
) -> None:
    attacks.write_policy(studio, approvals=2)
    (studio.root / ".mailmap").write_text(f"Kim <{KIM}> <kim@home.example>\n")
    commit_all(studio.root, "Kim works at home")
    add_review(studio, gate_walks.r2_grid(studio), "kim@home.example")
    (studio.root / ".mailmap").unlink()
    commit_all(studio.root, "Tidy")

    assert refusing(promote(studio))["approvals"].startswith("1 of 2")


@pytest.mark.slow
def test_two_promotions_that_were_merged_by_hand_break_the_chain(studio: Studio) -> None:
    git(studio.root, "checkout", "--quiet", "-b", "other")
    promote(studio, "r2", "--commit")
    theirs = studio.lora().record
    git(studio.root, "checkout", "--quiet", "main")
    promote(studio, "r2", "--commit", "--reason", "on main")
    attacks.rewrite_lora(
        studio, lambda lora: replace(lora, history=(*lora.history, theirs.history[-1]))
    )
    commit_all(studio.root, "Merged by hand")

    assert "entry 3 does not follow the one before it" in errors(validate(studio))


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen")
def test_a_signature_can_be_asked_for(studio: Studio, tmp_path: Path) -> None:
    attacks.write_policy(studio, reviewsSigned=True)
    commit_all(studio.root, "Signed reviews only")
    keys = gate_walks.sign_with_ssh(studio, tmp_path / "keys", KIM, TRAINER)
    grid = add_grid(studio, "r2", lift=71, created_at="2026-03-01T13:00:00Z")
    commit_all(studio.root, "Another grid")

    unsigned = studio.path("review", add_review(studio, grid, KIM).id)
    gate_walks.commit_as(studio, KIM, unsigned)
    assert (
        f"the commit with the review of {KIM} is not signed"
        in refusing(promote(studio))["approvals"]
    )

    forged = studio.path("review", add_review(studio, grid, KIM).id)
    gate_walks.commit_as(studio, KIM, forged, key=keys[TRAINER])
    assert f"is signed by {TRAINER}" in refusing(promote(studio))["approvals"]

    signed = studio.path("review", add_review(studio, grid, KIM).id)
    gate_walks.commit_as(studio, KIM, signed, key=keys[KIM])
    assert promote(studio, "r2", "--dry-run").exit_code == 0

    git(studio.root, "config", "gpg.ssh.allowedSignersFile", str(tmp_path / "nobody"))
    assert promote(studio, "r2", "--dry-run").exit_code == 1


# ---- clocks ---------------------------------------------------------------------------------


def test_a_word_from_the_future_is_not_the_last_one(studio: Studio) -> None:
    path = gate_walks.only(studio, "review")
    gate_walks.reseal_review(path, created_at="2099-01-01T00:00:00Z")
    git(studio.root, "commit", "--quiet", "--amend", "--all", "-m", "r2 was looked at")

    assert "is dated 2099-01-01, in the future" in refusing(promote(studio))["reviews"]


@pytest.mark.parametrize(
    ("at", "words"),
    [("2020-01-01T00:00:00Z", "before the entry it follows"),
     ("2099-01-01T00:00:00Z", "in the future")],
)  # fmt: skip
def test_a_clock_that_was_set_shows_in_the_history(studio: Studio, at: str, words: str) -> None:
    entry = HistoryEntry(event="deactivated", at=at, by=ANA)
    gate_walks.grown_history(studio, entry)

    assert f"history_times: entry 2 (deactivated) of {LORA} is dated {at[:10]}" in errors(
        validate(studio)
    )
    assert words in errors(validate(studio))


def test_a_promotion_cannot_rest_on_a_later_review(studio: Studio) -> None:
    promote(studio, "r2")
    bound = gate_walks.reseal_review(
        gate_walks.only(studio, "review"), created_at="2026-03-01T18:00:00Z"
    )

    def earlier(lora: Lora) -> Lora:
        first, second = lora.history
        assert second.evidence is not None
        evidence = replace(second.evidence, review_digests=(bound,))
        entry = replace(second, at="2026-03-01T12:00:00Z", evidence=evidence)
        return replace(lora, history=extended((first,), entry))

    attacks.rewrite_lora(studio, earlier)

    assert f"on a review that {KIM} gave at 2026-03-01T18:00:00Z" in errors(validate(studio))


def test_a_grid_does_not_get_younger_by_an_edit(studio: Studio) -> None:
    attacks.write_policy(studio, maxAgeDays=3)
    commit_all(studio.root, "Fresh grids only")
    # Its id is of February 2025, and the verdict names that id.
    now = utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")
    old = "01JNAB0000000000000000000E"
    grid = add_grid(studio, "r2", lift=71, evaluation_id=old, created_at=now)
    add_review(studio, grid)

    assert "older than its record says" in refusing(promote(studio))["freshness"]


# ---- measured values and waivers ------------------------------------------------------------


@pytest.fixture
def lacking(studio: Studio) -> Studio:
    """A studio whose policy asks for a value that nobody measured, and lets it be waived."""
    attacks.write_policy(
        studio, metrics={"clipT": {"min": 0.2}}, maxCopySimilarity=0.75,
        waivable=["metrics", "copy"], maxWaiverDays=10,
    )  # fmt: skip
    commit_all(studio.root, "Measured values")
    return studio


def waive(studio: Studio, condition: str = "metric:clipT", *options: str, who: str = KIM) -> Answer:
    return invoke(
        ["eval", "waive", LORA, "r2", condition, "--reason", "no encoder", "--json", "--as", who,
         *options],
        studio.root,
    )  # fmt: skip


def test_what_was_not_measured_is_not_proven(lacking: Studio) -> None:
    answer = promote(lacking)
    found = {one["id"]: one["status"] for one in answer.document["data"]["conditions"]}

    assert answer.exit_code == 1
    assert (found["metric:clipT"], found["copy"]) == ("not_proven", "not_proven")


def test_a_waiver_is_a_loud_exception_with_an_end(lacking: Studio) -> None:
    assert waive(lacking).exit_code == 0
    assert waive(lacking, "copy", "--days", "2").exit_code == 0
    answer = promote(lacking)
    waived = [one for one in answer.document["data"]["conditions"] if one["status"] == "waived"]

    assert answer.exit_code == 0
    assert [one["id"] for one in waived] == ["copy", "metric:clipT"]
    assert f"waived by {KIM} until" in waived[0]["reason"]
    assert validate(lacking).exit_code == 0
    findings = validate(lacking).document["data"]["findings"]
    assert "condition_waived" in {one["code"] for one in findings}
    entry = lacking.lora().record.history[-1]
    assert entry.evidence is not None
    assert len(entry.evidence.waiver_digests) == 2


WAIVERS: list[tuple[str, dict[str, object], str]] = [
    ("ended", {}, f"the waiver of {KIM} ended on 2026-03-11"),
    ("from_the_future", {"created_at": "2099-01-01T00:00:00Z"}, "dated in the future"),
    ("own_work", {"waived_by": TRAINER}, f"{TRAINER} trained r2 and cannot waive it"),
    ("bot", {"waived_by": "ci[bot]@studio"}, "is no person"),
]


@pytest.mark.parametrize(
    ("values", "words"), [row[1:] for row in WAIVERS], ids=[row[0] for row in WAIVERS]
)
def test_a_waiver_that_nobody_may_give_does_not_count(
    lacking: Studio, values: dict[str, object], words: str
) -> None:
    now = utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")
    fresh = {} if not values or "created_at" in values else {"created_at": now}
    gate_walks.waived(lacking, **fresh, **values)

    assert words in refusing(promote(lacking))["metric:clipT"]


def test_a_waiver_of_another_release_does_not_count(lacking: Studio) -> None:
    waive(lacking)
    path = gate_walks.only(lacking, "waiver")
    edit(path, '"resultDigest": "sha256:', '"resultDigest": "sha256:0000')
    answer = promote(lacking)

    assert answer.exit_code in (1, 3)
    assert validate(lacking).exit_code == 1


def test_an_edited_waiver_does_not_count(lacking: Studio) -> None:
    waive(lacking)
    edit(gate_walks.only(lacking, "waiver"), "no encoder", "no decoder")

    assert f"the waiver of {KIM} was edited" in refusing(promote(lacking))["metric:clipT"]
    assert f"verdict_edited: the waiver of {KIM} was edited" in errors(validate(lacking))


@pytest.mark.parametrize(
    ("condition", "exit_code", "words"),
    [
        ("effect", 3, "effect passes"),
        ("approvals", 3, "approvals passes"),
        ("clipT", 3, "the gate asks for no 'clipT'"),
    ],
)
def test_what_passes_or_is_not_asked_is_not_waived(
    lacking: Studio, condition: str, exit_code: int, words: str
) -> None:
    answer = waive(lacking, condition)

    assert answer.exit_code == exit_code
    assert words in answer.error["message"]


def test_reviews_and_bytes_are_never_waived(studio: Studio) -> None:
    attacks.write_policy(studio, approvals=2)
    commit_all(studio.root, "Two people")
    answer = waive(studio, "approvals")

    assert answer.exit_code == 1
    assert answer.error["message"] == "policy standard does not let approvals be waived"
    attacks.write_policy(studio, waivable=["approvals"])
    assert promote(studio).exit_code == 3


def test_a_waiver_holds_no_longer_than_the_policy_lets_it(lacking: Studio) -> None:
    answer = waive(lacking, "copy", "--days", "11")

    assert answer.exit_code == 3
    assert "a waiver holds 1 to 10 days by policy standard, got 11" in answer.error["message"]


# ---- blind reviews --------------------------------------------------------------------------


@pytest.fixture
def blind(studio: Studio) -> Studio:
    """A studio whose policy asks for blind pairs; Kim preferred r1, and that was committed."""
    attacks.write_policy(studio, blind={"pairs": 4, "above": 0.2})
    compared(studio, KIM, side="opponent")
    commit_all(studio.root, "Kim compared")
    return studio


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (gate_walks.exchange_sides, "is not the one that was committed to"),
        (gate_walks.edit_answers, f"the blind review of {KIM} was edited"),
        (gate_walks.edit_plan, f"the plan of the blind review of {KIM} was edited"),
    ],
)
def test_blind_answers_are_not_turned_round_afterwards(
    blind: Studio, attack: Callable[[Studio], None], words: str
) -> None:
    attack(blind)

    assert words in refusing(promote(blind))["preference"]
    assert "verdict_edited" in errors(validate(blind))


def test_blind_answers_that_were_unwelcome_are_not_removed(blind: Studio) -> None:
    gate_walks.only(blind, "blind-review").unlink()
    commit_all(blind.root, "Cleaning up")
    compared(blind, KIM)

    assert f"the blind review of {KIM} was removed" in refusing(promote(blind))["reviews"]
    assert "review_removed" in errors(validate(blind))


def test_blind_answers_about_the_base_do_not_count_for_the_active_release(studio: Studio) -> None:
    attacks.write_policy(studio, blind={"pairs": 4, "above": 0.2})
    _, page = make_page(studio, "r2", "--against", "base")
    assert answer_page(studio, page, KIM).exit_code == 0

    assert (
        f"{KIM} compared it with the base, not with r1" in refusing(promote(studio))["preference"]
    )


# ---- emergencies ----------------------------------------------------------------------------


@pytest.fixture
def urgent(studio: Studio) -> Studio:
    """A studio with an r30 that nobody has looked at."""
    add_release(studio, "r30")
    commit_all(studio.root, "A candidate")
    return studio


def test_an_emergency_is_loud_until_the_gate_passes(urgent: Studio) -> None:
    attacks.write_policy(urgent, emergencyDays=3)
    commit_all(urgent.root, "Emergencies are possible")
    answer = promote(urgent, "r30", "--emergency", "--reason", gate_walks.REASON)

    assert answer.exit_code == 0, answer.stdout
    assert urgent.lora().record.active_release_id == "r30"
    assert urgent.lora().record.release("r30").status == "candidate"  # type: ignore[union-attr]
    assert "emergency_open: EMERGENCY: r30 is active without the gate" in errors(validate(urgent))
    resolved = invoke(["resolve", LORA, "--json"], urgent.root)
    assert resolved.exit_code == 0
    assert "EMERGENCY" in resolved.document["warnings"][0]

    add_review(urgent, add_grid(urgent, "r30", lift=75))
    assert promote(urgent, "r30").exit_code == 0
    assert validate(urgent).exit_code == 0
    assert invoke(["resolve", LORA, "--json"], urgent.root).document["warnings"] == []


def test_an_emergency_whose_term_is_over_is_not_used(urgent: Studio) -> None:
    gate_walks.emergency(urgent, "r30")

    assert "its term ended on 2026-03-04" in errors(validate(urgent))
    assert invoke(["resolve", LORA], urgent.root).exit_code == 1


def test_a_second_emergency_gains_no_time(urgent: Studio) -> None:
    gate_walks.emergency(urgent, "r30")
    answer = promote(urgent, "r2", "--emergency", "--reason", "and another")
    assert answer.exit_code == 3  # r2 passes: that is no emergency
    add_release(urgent, "r400")
    answer = promote(urgent, "r400", "--emergency", "--reason", "and another")

    assert answer.exit_code == 1
    assert "the emergency that is open ended on 2026-03-04" in answer.error["message"]


def test_an_emergency_written_by_hand_has_no_longer_term(urgent: Studio) -> None:
    release = urgent.lora().record.release("r30")
    assert release is not None
    assert release.weights is not None
    entry = HistoryEntry(
        event="emergency", at="2026-03-02T12:00:00Z", by=ANA, release_id="r30", reason="x",
        from_release_id="r1", weights_sha256=release.weights.sha256, skipped=("grid",),
        until="2099-01-01T00:00:00Z",
    )  # fmt: skip
    gate_walks.grown_history(urgent, entry, active_release_id="r30")

    assert "emergency_over" in errors(validate(urgent))
    assert "its term ended on 2026-03-05" in errors(validate(urgent))


def test_an_emergency_skips_no_rights_and_no_bytes(urgent: Studio) -> None:
    attacks.withdrawn_asset(urgent)
    answer = promote(urgent, "r30", "--emergency", "--reason", gate_walks.REASON)

    assert answer.exit_code == 1
    assert "1 of 3 withdrawn, not answered for" in refusing(answer)["withdrawals"]
    assert urgent.lora().record.active_release_id == "r1"


def test_an_emergency_is_not_possible_where_the_policy_says_so(urgent: Studio) -> None:
    attacks.write_policy(urgent, emergencyDays=0)
    answer = promote(urgent, "r30", "--emergency", "--reason", gate_walks.REASON)

    assert answer.exit_code == 1
    assert "allows no emergency" in answer.error["message"]


@pytest.mark.slow
def test_rollback_ends_an_emergency(urgent: Studio) -> None:
    gate_walks.emergency(urgent, "r30")
    back = invoke(["rollback", LORA, "--json", "--as", ANA], urgent.root)

    assert back.exit_code == 0, back.stdout
    assert urgent.lora().record.active_release_id == "r1"
    assert validate(urgent).exit_code == 0


# ---- what is said of it ---------------------------------------------------------------------


def test_recommended_is_only_what_passed(studio: Studio) -> None:
    assert promote(studio, "r2", "--recommended").exit_code == 0
    assert studio.lora().record.recommended
    assert validate(studio).exit_code == 0
    invoke(
        ["release", "deprecate", LORA, "r2", "--reason", "x", "--deactivate", "--as", ANA],
        studio.root,
    )
    assert not studio.lora().record.recommended
    attacks.rewrite_lora(studio, lambda lora: replace(lora, recommended=True))

    assert "recommended_unproven" in errors(validate(studio))


def test_history_shows_every_entry_and_a_broken_chain(studio: Studio) -> None:
    promote(studio, "r2", "--reason", "style sheet 12")
    shown = invoke(["release", "history", LORA], studio.root)
    assert shown.exit_code == 0
    assert "promoted r2, was r1" in shown.stdout
    assert "style sheet 12" in shown.stdout

    attacks.edited_history(studio)
    broken = invoke(["release", "history", LORA, "--json"], studio.root)
    assert broken.exit_code == 1
    assert broken.error["message"] == "entry 1 (promoted r1) was edited"


def test_each_condition_names_what_it_rests_on(studio: Studio) -> None:
    conditions = promote(studio, "r2", "--dry-run").document["data"]["conditions"]

    assert all(one["evidence"] for one in conditions if one["id"] != "withdrawals")
    assert SCOPE.project_id
