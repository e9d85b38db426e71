from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.evaluation.reviews import is_unchanged
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    EvaluationIncompleteError,
    PipelineError,
    SettingsError,
    StateError,
)
from lora_pipeline.operations.evaluation.review import review_evaluation
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import LORA, MANIFEST_HASH, PROJECT, SCOPE, add_subject
from tests.support.fake_renderer import FakeRenderer
from tests.support.grid_rendering import render
from tests.support.workspace_builders import ACTOR, make_workspace, reopen, tree_digest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    add_subject(workspace)
    return workspace


def reviews(workspace: Workspace) -> list[Review]:
    return [loaded.record for loaded in workspace.records.all(Review, SCOPE)]


def test_a_verdict_binds_every_digest_that_was_seen(workspace: Workspace) -> None:
    render(workspace)
    [evaluation] = [one.record for one in workspace.records.all(Evaluation, SCOPE)]
    review_evaluation(workspace, LORA, "r1", verdict="approved", comment=" good ")
    [review] = reviews(workspace)
    assert review.binding.to_dict() == {
        "weightsSha256": evaluation.weights_sha256,
        "tensorSha256": "5" * 64,
        "manifestHash": MANIFEST_HASH,
        "suiteDigest": evaluation.suite_digest,
        "resultDigest": evaluation.result_digest,
    }
    assert (review.reviewer, review.comment, review.cells_seen) == (ACTOR, "good", 12)
    assert is_unchanged(review)


def test_two_verdicts_are_two_files(workspace: Workspace) -> None:
    render(workspace)
    review_evaluation(workspace, LORA, verdict="approved")
    other = reopen(workspace.root, actor="lee@studio.example")
    review_evaluation(other, LORA, verdict="rejected", comment="burnt", signs=("burnt",))
    assert [(one.reviewer, one.verdict) for one in reviews(workspace)] == [
        (ACTOR, "approved"),
        ("lee@studio.example", "rejected"),
    ]


@pytest.mark.parametrize(
    ("renderer", "options", "words"),
    [
        (FakeRenderer(), {"limit": 4}, "8 of 12 cells have no image: heart seed 2 at 0.5"),
        (FakeRenderer(fault="black"), {}, "8 of 12 cells have no image, 8 of them failed"),
    ],
)
def test_an_incomplete_grid_cannot_be_judged(
    workspace: Workspace, renderer: FakeRenderer, options: dict[str, Any], words: str
) -> None:
    render(workspace, renderer, **options)
    before = tree_digest(workspace.root)
    with pytest.raises(EvaluationIncompleteError) as caught:
        review_evaluation(workspace, LORA, verdict="approved")
    assert words in caught.value.message
    assert caught.value.hint == "lora eval grid ui_icons r1"
    assert tree_digest(workspace.root) == before


def test_a_grid_that_was_edited_by_hand_cannot_be_judged(workspace: Workspace) -> None:
    render(workspace)
    [loaded] = list(workspace.records.all(Evaluation, SCOPE))
    text = loaded.path.read_text()
    effect = f'"effect": {loaded.record.cells[1].effect}'
    loaded.path.write_text(text.replace(effect, '"effect": 0.9', 1))
    with pytest.raises(EvaluationIncompleteError, match="result digest is not that of its cells"):
        review_evaluation(workspace, LORA, verdict="approved")


def test_weights_that_changed_since_cannot_be_judged_by_the_old_grid(workspace: Workspace) -> None:
    render(workspace)
    loaded = workspace.records.read(Lora, SCOPE, LORA)
    [release] = loaded.record.releases
    assert release.weights is not None
    weights = msgspec.structs.replace(release.weights, sha256="9" * 64)
    changed = msgspec.structs.replace(release, weights=weights)
    changes = Changes(workspace)
    changes.update(loaded, msgspec.structs.replace(loaded.record, releases=(changed,)))
    changes.apply()
    with pytest.raises(StateError, match="has other weights now"):
        review_evaluation(workspace, LORA, verdict="approved")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"verdict": "rejected"}, ArgumentInvalidError, "needs a comment"),
        ({"verdict": "needs_work", "comment": "  "}, ArgumentInvalidError, "needs a comment"),
        ({"signs": ("burned",)}, ArgumentInvalidError, "no sign 'burned'"),
        ({"signs": ("burnt", "burnt")}, ArgumentInvalidError, "given twice"),
        ({"cells_seen": 13}, ArgumentInvalidError, "13 cannot have been seen"),
        ({"cells_seen": -1}, ArgumentInvalidError, "-1 cannot have been seen"),
    ],
)
def test_a_verdict_that_breaks_a_rule_is_refused_and_nothing_is_written(
    workspace: Workspace, arguments: dict[str, Any], error: type[PipelineError], words: str
) -> None:
    render(workspace)
    before = tree_digest(workspace.root)
    with pytest.raises(error, match=words):
        review_evaluation(workspace, LORA, **{"verdict": "approved", **arguments})
    assert tree_digest(workspace.root) == before


def test_nobody_cannot_give_a_verdict(workspace: Workspace) -> None:
    render(workspace)
    nobody = reopen(workspace.root, actor=None)
    with pytest.raises(SettingsError, match="nobody is known to act"):
        review_evaluation(nobody, LORA, verdict="approved")


def test_a_dry_run_writes_no_verdict(workspace: Workspace) -> None:
    render(workspace)
    result = review_evaluation(reopen(workspace.root, dry_run=True), LORA, verdict="approved")
    assert result.dry_run
    assert reviews(workspace) == []


def test_after_a_verdict_the_next_step_is_named(workspace: Workspace) -> None:
    render(workspace)
    approved = review_evaluation(workspace, LORA, verdict="approved")
    rejected = review_evaluation(workspace, LORA, verdict="rejected", comment="burnt")
    assert approved.suggestions == ("lora promote ui_icons r1",)
    assert rejected.suggestions == ("lora train --lora ui_icons --dataset icons",)


# ---- rules ----------------------------------------------------------------------------------


@pytest.fixture
def ruled(workspace: Workspace) -> Workspace:
    """A grid whose suite has a rule of each kind."""
    path = workspace.root / "config" / "suites" / "tiny_icon.yaml"
    path.write_text(
        path.read_text().replace(
            "seeds: [1, 2]",
            '  - {id: mark, kind: must, text: "{trigger}", what: "the whole mark"}\n'
            '  - {id: sign, kind: must_never, text: "{trigger} sign", what: letters}\n'
            "seeds: [1, 2]",
        )
    )
    render(workspace)
    return workspace


def test_what_breaks_a_rule_is_rejected_with_its_name(ruled: Workspace) -> None:
    result = review_evaluation(ruled, LORA, verdict="rejected", comment="ABC", broken=("sign",))
    assert [one.broken for one in reviews(ruled)] == [("sign",)]
    assert result.data["rules"] == {
        "mark": "must show the whole mark",
        "sign": "must never show letters",
    }


@pytest.mark.parametrize(
    ("broken", "words", "hint"),
    [
        (("sign",), "sign must never show letters: what breaks a rule", "lora eval reject"),
        (("sin",), "no rule 'sin'", "did you mean sign?"),
        (("heart",), "no rule 'heart'", "there are: mark, sign"),
        (("mark", "mark"), "a rule was given twice", ""),
    ],
)
def test_an_approval_names_no_broken_rule_and_a_rule_must_be_there(
    ruled: Workspace, broken: tuple[str, ...], words: str, hint: str
) -> None:
    before = tree_digest(ruled.root)
    with pytest.raises(ArgumentInvalidError) as caught:
        review_evaluation(ruled, LORA, verdict="approved", broken=broken)
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")
    assert tree_digest(ruled.root) == before
