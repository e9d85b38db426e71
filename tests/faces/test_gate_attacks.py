"""Every way round the gate, through real records: ``validate`` and ``resolve`` refuse each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.grid import result_digest
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.foundation import strict_json
from lora_pipeline.releases.history import entry_digest
from lora_pipeline.releases.records import Lora
from tests.support import attacks
from tests.support.release_builders import (
    ANA,
    KIM,
    LORA,
    SCOPE,
    TRAINER,
    Studio,
    active_studio,
    add_grid,
    add_review,
    copy_of,
)
from tests.support.workspace_builders import Answer, commit_all, git, invoke


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def validate(studio: Studio, *options: str) -> Answer:
    return invoke(["validate", "--json", *options], studio.root)


def findings(answer: Answer, severity: str = "error") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.document["data"]["findings"]
    return [one for one in found if one["severity"] == severity]


def messages(answer: Answer, severity: str = "error") -> str:
    return "\n".join(f"{one['code']}: {one['message']}" for one in findings(answer, severity))


ATTACKS: list[tuple[Callable[[Studio], None], str, str]] = [
    (attacks.forged_pointer, "active_release_forged", "r2 is active, the history says r1"),
    (
        attacks.forged_status,
        "status_unproven",
        "r2 is called approved, its history makes it a candidate",
    ),
    (
        attacks.forged_promotion,
        "active_release_unproven",
        "grid complete: it is a grid of icons r1",
    ),
    (attacks.edited_verdict, "review_edited", f"the review of {KIM} was edited"),
    (attacks.edited_and_resealed_verdict, "review_rewritten", "Git history holds another content"),
    (attacks.removed_verdict, "review_removed", f"the review of {KIM} (approved) was removed"),
    (attacks.swapped_weights, "active_release_unproven", "weights: the file is sha256"),
    (attacks.exchanged_weights, "active_release_unproven", "did not bring these weights"),
    (attacks.edited_caption, "content_differs", "the manifest was changed by hand"),
    (attacks.rebuilt_manifest_without_git, "active_release_unproven", "manifest: icons is sha256:"),
    (attacks.edited_suite, "active_release_unproven", "suite: tiny was edited"),
    (attacks.removed_suite, "active_release_unproven", "there is no suite 'tiny' any more"),
    (attacks.edited_grid, "grid_edited", "its result digest is not that of its cells"),
    (attacks.altered_image, "active_release_unproven", "images: 1 of 12 have other bytes"),
    (attacks.copied_review, "review_edited", f"the review of {KIM} was edited"),
    (attacks.stricter_policy, "active_release_unproven", f"approvals: 1 of 2: {KIM} approved"),
    (attacks.edited_history, "history_broken", "entry 1 (promoted r1) was edited"),
    (attacks.rewritten_history, "history_rewritten", "Git holds a history of icons with 1 entries"),
    (attacks.removed_history, "active_release_forged", "no promotion is on record"),
    (attacks.deprecated_but_active, "active_release_deprecated", "r1 is active and deprecated"),
    (
        attacks.withdrawn_asset,
        "withdrawal_unanswered",
        "withdrawn on 2026-03-02: the artist asked",
    ),
    (
        attacks.self_approval,
        "active_release_unproven",
        f"{TRAINER} trained r1 and cannot approve it",
    ),
    (attacks.later_rejection, "active_release_unproven", f"{ANA} rejected it (halo on dark)"),
    (attacks.edited_run, "active_release_unproven", "is cancelled"),
    (attacks.removed_run, "active_release_unproven", "has no record"),
    (attacks.other_base, "active_release_unproven", "base model: tiny is sha256:bbbbbbbbbbbb now"),
    (attacks.other_trigger, "active_release_unproven", "and this trigger word"),
]


@pytest.mark.parametrize(
    ("attack", "code", "words"), ATTACKS, ids=[attack.__name__ for attack, _, _ in ATTACKS]
)
def test_a_way_round_the_gate_is_an_error_that_names_it(
    studio: Studio, attack: Callable[[Studio], None], code: str, words: str
) -> None:
    attack(studio)
    answer = validate(studio)

    assert answer.exit_code == 1
    assert answer.error["code"] == "validation_failed"
    matching = [one for one in findings(answer) if one["code"] == code]
    assert words in "\n".join(one["message"] for one in matching), messages(answer)


@pytest.mark.parametrize(
    "attack",
    [
        attacks.forged_pointer,
        attacks.forged_promotion,
        attacks.swapped_weights,
        attacks.edited_suite,
        attacks.deprecated_but_active,
        attacks.withdrawn_asset,
        attacks.stricter_policy,
        attacks.removed_history,
    ],
)
def test_what_validate_refuses_is_not_resolved_either(
    studio: Studio, attack: Callable[[Studio], None]
) -> None:
    attack(studio)
    answer = invoke(["resolve", LORA, "--json"], studio.root)

    assert answer.exit_code == 1
    assert answer.error["code"] == "active_release_unproven"


def test_an_attack_that_is_committed_is_found_as_well(studio: Studio) -> None:
    attacks.edited_and_resealed_verdict(studio)
    commit_all(studio.root, "Nothing to see here")

    assert "review_rewritten" in messages(validate(studio))


def test_a_review_that_was_removed_and_committed_is_found(studio: Studio) -> None:
    attacks.removed_verdict(studio)
    commit_all(studio.root, "Cleaning up")

    assert "review_removed" in messages(validate(studio))


def test_a_policy_that_was_relaxed_for_a_moment_gives_nothing(studio: Studio) -> None:
    attacks.write_policy(studio, minEffect=0.0001)
    commit_all(studio.root, "A policy of our own")
    add_review(studio, add_grid(studio, "r2", lift=2))
    promoted = invoke(["promote", LORA, "r2", "--as", ANA], studio.root)
    assert promoted.exit_code == 0

    shutil.rmtree(studio.root / "config" / "gates")
    answer = validate(studio)

    assert answer.exit_code == 1
    assert "effect: 0.008 mean difference to base, needs 0.020" in messages(answer)


def test_a_grid_without_its_hard_prompts_is_not_whole(studio: Studio) -> None:
    def change(evaluation: Evaluation) -> Evaluation:
        easy = tuple(cell for cell in evaluation.cells if cell.prompt_id == "plain")
        made_up = replace(evaluation, cells=easy)
        return replace(made_up, result_digest=result_digest(made_up))

    path = attacks.only(studio, "evaluation")
    evaluation = change(Evaluation.from_dict(json.loads(path.read_text())))
    path.write_bytes(strict_json.dumps(evaluation.to_dict(), one_line_each=("cells",)))

    assert "its cells are not those of suite tiny" in messages(validate(studio))


def test_every_field_of_the_evidence_is_compared(studio: Studio) -> None:
    def change(lora: Lora) -> Lora:
        entry = lora.history[0]
        assert entry.evidence is not None
        forged = replace(entry.evidence, result_digest="sha256:" + "0" * 64)
        entry = replace(entry, evidence=forged)
        return replace(lora, history=(replace(entry, digest=entry_digest(entry)),))

    attacks.rewrite_lora(studio, change)

    assert "evidence_changed: r1 was promoted with grid sha256:000000000000" in messages(
        validate(studio)
    )


# ---- what is no attack ----------------------------------------------------------------------


def test_a_manifest_that_was_rebuilt_does_not_void_what_was_trained_before(studio: Studio) -> None:
    git_folder = studio.root / ".git"
    kept = studio.root.parent / "kept"
    shutil.move(git_folder, kept)
    git_folder.mkdir()
    attacks.rebuilt_manifest_without_git(studio)
    shutil.move(kept, git_folder)
    commit_all(studio.root, "A new manifest")

    answer = validate(studio)

    assert answer.exit_code == 0, messages(answer)


def test_a_policy_that_changed_and_still_passes_is_a_warning(studio: Studio) -> None:
    attacks.write_policy(studio, minEffect=0.05)
    answer = validate(studio)

    assert answer.exit_code == 0, messages(answer)
    assert "policy_changed: r1 was promoted under standard" in messages(answer, "warning")


def test_a_policy_that_asks_for_less_than_its_name_says_is_a_warning(studio: Studio) -> None:
    attacks.write_policy(studio, allCellsSeen=False, minEffect=0.0001)

    assert "allCellsSeen off" in messages(validate(studio), "warning")


@pytest.mark.parametrize("values", [{"approvals": 0}, {"minEffect": 0}, {"enabled": False}])
def test_a_policy_that_asks_for_nothing_is_no_policy(
    studio: Studio, values: dict[str, Any]
) -> None:
    attacks.write_policy(studio, **values)
    answer = validate(studio)

    assert answer.exit_code == 1
    assert findings(answer)[0]["where"] == "config/gates/standard.yaml"


def test_weights_on_another_machine_are_not_proven_and_no_error(studio: Studio) -> None:
    shutil.rmtree(studio.root / ".lora" / "store")
    answer = validate(studio)

    assert answer.exit_code == 0
    assert "weights of r1 are not on this machine" in messages(answer, "not_proven")
    assert answer.document["data"]["notProven"] == 2


@pytest.mark.parametrize("option", ["--require-weights", "--require-images"])
def test_what_is_required_and_not_here_is_an_error(studio: Studio, option: str) -> None:
    shutil.rmtree(studio.root / ".lora" / "store")

    assert validate(studio, option).exit_code == 1


def test_a_shallow_clone_says_what_it_cannot_see(studio: Studio, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{studio.root}", str(clone))
    answer = invoke(["validate", "--json"], clone)

    assert answer.exit_code == 0
    assert "history_shallow" in messages(answer, "not_proven")


def test_a_release_promoted_after_the_studio_moved_on_validates_again(studio: Studio) -> None:
    grid = add_grid(studio, "r2")
    add_review(studio, grid)
    answer = invoke(["promote", LORA, "r2", "--as", ANA, "--commit", "--json"], studio.root)

    assert answer.exit_code == 0, answer.stdout
    assert validate(studio).exit_code == 0
    assert studio.workspace.records.read(Lora, SCOPE, LORA).record.active_release_id == "r2"
