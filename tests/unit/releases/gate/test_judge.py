"""The gate by table: what passes, what refuses, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from msgspec.structs import replace as but

from lora_pipeline.catalog.records import Weights
from lora_pipeline.evaluation.records import EvaluationMetrics, RendererIdentity
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.releases.evidence.facts import (
    ImageFacts,
    ManifestLost,
    ReleaseEvidence,
    RightsFacts,
    TrainedManifest,
    Unproven,
)
from lora_pipeline.releases.gate.decision import Decision
from lora_pipeline.releases.gate.judge import bound_evidence, decide
from lora_pipeline.releases.gate.policy_strength import policy_digest, strictest, weaker_in
from lora_pipeline.releases.records import GatePolicy
from tests.support.gate_builders import (
    ANA,
    BASE_DIGEST,
    GRID,
    KIM,
    LEE,
    LORA,
    MANIFEST,
    NOW,
    RELEASE,
    RUN,
    STANDARD,
    SUITE,
    binding,
    evidence,
    grid,
    review,
)

OTHER = "sha256:" + "9" * 64


def refused(found: ReleaseEvidence, policy: GatePolicy = STANDARD) -> dict[str, tuple[str, str]]:
    """Return what refuses: condition id to status and reason."""
    decision = decide(found, policy)
    assert not decision.passed
    return {one.id: (one.status, one.reason) for one in decision.refusing}


def cases(table: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the rows of a table as parameters; the first column is the name of the case."""
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def release_with(**training: str) -> Any:
    return replace(RELEASE, training=RELEASE.training | training)


def test_a_release_with_good_evidence_passes_and_every_condition_says_why() -> None:
    decision = decide(evidence(), STANDARD)

    assert decision.passed
    assert [one.id for one in decision.conditions] == [
        "release", "weights", "training", "manifest", "base_model", "suite", "grid", "result",
        "images", "effect", "cells", "reviews", "approvals", "objections", "rights",
    ]  # fmt: skip
    assert all(one.reason for one in decision.conditions)


def test_reasons_carry_the_numbers_that_a_lead_decides_from() -> None:
    decision = decide(evidence(), STANDARD)

    assert decision.condition("grid").reason == "12 of 12 cells, one render session"
    effect = decision.condition("effect")
    assert effect.reason == "0.100 mean difference to base, needs 0.020"
    assert (effect.measured, effect.threshold) == (0.1, 0.02)
    assert decision.condition("approvals").reason == f"1 of 1: {KIM} approved"
    assert decision.condition("rights").reason == "nothing withdrawn or denied of 1"


def test_a_decision_without_conditions_did_not_pass() -> None:
    assert not Decision("a", "r1", "p", "d", "", ()).passed


ORIGIN: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("deprecated", {"release": replace(RELEASE, status="deprecated")},
     "release", "fail", "r7 is deprecated"),
    ("no weights", {"release": replace(RELEASE, weights=None)},
     "weights", "fail", "names no weights"),
    ("half a digest", {"release": replace(
        RELEASE, weights=Weights(kind="store", sha256="a" * 16))},
     "weights", "fail", "whole SHA-256"),
    ("other bytes", {"weights_sha256": "9" * 64},
     "weights", "fail", "the file is sha256 999999999999, r7 recorded aaaaaaaaaaaa"),
    ("weights elsewhere", {"weights_sha256": Unproven("weights of r7 are not on this machine")},
     "weights", "not_proven", "not on this machine"),
    ("no run named", {"release": release_with(runId="")},
     "training", "fail", "names no run"),
    ("run without record", {"run": None},
     "training", "fail", "run 01RUN has no record"),
    ("run of another LoRA", {"run": replace(RUN, lora_id="logos")},
     "training", "fail", "trained logos"),
    ("run of another release", {"run": replace(RUN, release_id="r6")},
     "training", "fail", "brought release r6"),
    ("run that failed", {"run": replace(RUN, state="failed")},
     "training", "fail", "is failed"),
    ("run that brought other weights", {"run": replace(RUN, outputs=())},
     "training", "fail", "did not bring these weights"),
    ("run on another manifest", {"run": replace(RUN, manifest_hash=OTHER)},
     "training", "fail", "trained on manifest sha256:999999999999"),
    ("run on another base", {"run": replace(RUN, checkpoint_digest=OTHER)},
     "training", "fail", "trained on base sha256:999999999999"),
    ("manifest lost", {"manifest": ManifestLost("icons is gone")},
     "manifest", "fail", "icons is gone"),
    ("manifest not to be told", {"manifest": Unproven("this clone lacks the history")},
     "manifest", "not_proven", "lacks the history"),
    ("base model changed", {"checkpoint_digest": OTHER},
     "base_model", "fail", "sdxl is sha256:999999999999 now, it was trained on"),
    ("base model unknown", {"checkpoint_digest": Unproven("checkpoint sdxl has no record")},
     "base_model", "not_proven", "has no record"),
    ("trained on nobody knows what", {"release": release_with(checkpointDigest="")},
     "base_model", "not_proven", "nobody recorded which bytes it was trained on"),
    ("withdrawn image", {"rights": RightsFacts(refused=("A withdrawn on 2026-02-01",))},
     "rights", "fail", "1 may not be trained on: A withdrawn on 2026-02-01"),
    ("image that left the catalog", {"rights": RightsFacts(unknown=("A",))},
     "rights", "not_proven", "1 not in the catalog: A"),
    ("rights not to be told", {"rights": Unproven("without the manifest nobody knows")},
     "rights", "not_proven", "nobody knows"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "condition", "status", "words"), cases(ORIGIN))
def test_what_is_wrong_with_where_a_release_comes_from_refuses(
    change: dict[str, Any], condition: str, status: str, words: str
) -> None:
    found = refused(evidence(**change))

    assert found[condition][0] == status
    assert words in found[condition][1]


def metrics(**values: Any) -> EvaluationMetrics:
    assert GRID.metrics is not None
    return replace(GRID.metrics, **values)


GRIDS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("suite edited", {"suite_digest": OTHER}, "suite", "fail", "tiny was edited"),
    ("suite gone", {"suite_digest": ""}, "suite", "fail", "there is no suite 'tiny' any more"),
    ("suite unreadable", {"suite_digest": Unproven("not valid YAML")},
     "suite", "not_proven", "not valid YAML"),
    ("suite of another kind of asset", {"lora": replace(LORA, asset_types=("logo",))},
     "suite", "fail", "tiny is for ui_icon, not logo"),
    ("grid of other weights", {"evaluation": grid(weights_sha256="9" * 64)},
     "grid", "fail", "drawn with 999999999999, r7 is aaaaaaaaaaaa"),
    ("grid of another release", {"evaluation": grid(release_id="r6")},
     "grid", "fail", "grid of ui_icons r6"),
    ("hole", {"evaluation": grid(
        lambda cell: replace(cell, status="pending", image_sha256="")
        if (cell.seed, cell.strength) == (2, 1.0) else cell, status="running")},
     "grid", "fail", "10 of 12 cells"),
    ("failed cell", {"evaluation": grid(
        lambda cell: replace(cell, status="failed", image_sha256="", error="black")
        if cell.seed == 2 else cell, status="running")},
     "grid", "fail", "6 of 12 cells, 6 failed"),
    ("cells left out", {"evaluation": grid(cells=GRID.cells[:6])},
     "grid", "fail", "its cells are not those of suite tiny"),
    ("not marked complete", {"evaluation": grid(status="running")},
     "grid", "fail", "12 of 12 cells, marked running"),
    ("nobody knows what drew it", {"evaluation": grid(renderer=None)},
     "grid", "fail", "nobody recorded what drew them"),
    ("session without fingerprint", {"evaluation": grid(
        renderer=RendererIdentity(name="drawn", version="1", fingerprint=""))},
     "grid", "fail", "nobody recorded what drew them"),
    ("no suite in the record", {"evaluation": grid(suite=None)},
     "grid", "fail", "it names no suite"),
    ("other trigger word", {"lora": replace(LORA, trigger_word="other")},
     "grid", "fail", "and this trigger word"),
    ("prompt edited", {"evaluation": grid(
        lambda cell: replace(cell, prompt="stkr, a blue star")
        if cell.prompt_id == "star" else cell)},
     "result", "fail", "is not what its settings say"),
    ("image exchanged", {"evaluation": grid(resealed=False, cells=(
        replace(GRID.cells[0], image_sha256="9" * 64), *GRID.cells[1:]))},
     "result", "fail", "result digest"),
    ("effect written better", {"evaluation": grid(
        resealed=False, metrics=metrics(effect_mean=0.5))},
     "result", "fail", "result digest"),
    ("image altered", {"images": ImageFacts(altered=("star seed 1 at 1",))},
     "images", "fail", "1 of 12 have other bytes than were recorded: star seed 1 at 1"),
    ("image measures otherwise", {"images": ImageFacts(mismeasured=("star has 0.001",))},
     "images", "fail", "measure otherwise than recorded: star has 0.001"),
    ("images elsewhere", {"images": ImageFacts(missing=("a", "b"))},
     "images", "not_proven", "2 of 12 are not on this machine"),
    ("no effect", {"evaluation": grid(metrics=metrics(effect_mean=0.003))},
     "effect", "fail", "0.003 mean difference to base, needs 0.020"),
    ("effect not measured", {"evaluation": grid(metrics=None)},
     "effect", "not_proven", "not measured"),
    ("strength ignored", {"evaluation": grid(metrics=metrics(
        monotone=False, effect_by_strength={"1": 0.05, "0.5": 0.08}))},
     "effect", "fail", "more strength changes less: 0.080 at 0.5, 0.050 at 1"),
    ("constant cell", {"evaluation": grid(metrics=metrics(constant_cells=2))},
     "cells", "fail", "2 of one colour only"),
    ("same image twice", {"evaluation": grid(
        lambda cell: replace(cell, image_sha256="7" * 64) if cell.strength == 1.0 else cell)},
     "cells", "fail", "3 the same as another with other settings"),
    ("same pixels twice", {"evaluation": grid(metrics=metrics(duplicate_cells=1))},
     "cells", "fail", "1 the same as another"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "condition", "status", "words"), cases(GRIDS))
def test_what_is_wrong_with_the_grid_refuses(
    change: dict[str, Any], condition: str, status: str, words: str
) -> None:
    found = refused(evidence(**change))

    assert found[condition][0] == status
    assert words in found[condition][1]


def test_without_an_evaluation_the_grid_refuses_and_says_so_once() -> None:
    found = refused(evidence(evaluation=None, reviews=()))

    assert set(found) == {"grid", "approvals"}
    assert found["grid"][1] == "no evaluation of r7: nothing was rendered"


VERDICTS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("nobody looked", {"reviews": ()}, "approvals", "fail", "0 of 1"),
    ("own work", {"reviews": (review(LEE),)},
     "approvals", "fail", "0 of 1: lee@studio trained r7 and cannot approve it"),
    ("own work under another spelling", {"reviews": (review("Lee+home@Studio"),)},
     "approvals", "fail", "trained r7 and cannot approve it"),
    ("own work under an address that the mailmap knows", {
        "reviews": (review("lee@home"),), "people": {"lee@home": LEE}},
     "approvals", "fail", "lee@home trained r7 and cannot approve it"),
    ("who registered it", {"reviews": (review(ANA),), "release": replace(RELEASE, created_by=ANA)},
     "approvals", "fail", "ana@studio made r7 and cannot approve it"),
    ("nobody knows who made it", {
        "release": replace(RELEASE, created_by=""), "run": replace(RUN, requested_by="")},
     "approvals", "not_proven", "nobody is recorded as who made r7"),
    ("a bot", {"reviews": (review("renovate[bot]@users.noreply.github.com"),)},
     "approvals", "fail", "is no person"),
    ("noreply", {"reviews": (review("noreply@github.com"),)},
     "approvals", "fail", "is no person"),
    ("edited verdict", {"reviews": (but(review(), review=replace(
        review(verdict="rejected", comment="no").review, verdict="approved")),)},
     "reviews", "fail", "the review of kim@studio was edited"),
    ("rewritten in Git", {"reviews": (but(review(), rewritten=True),)},
     "reviews", "fail", "the Git history holds another review of kim@studio"),
    ("removed", {"removed_reviews": (review(verdict="rejected", comment="no").review,)},
     "reviews", "fail", "the review of kim@studio was removed"),
    ("other weights", {"reviews": (review(binding=binding(weights_sha256="9" * 64)),)},
     "approvals", "fail", "kim@studio approved other weights"),
    ("other tensors", {"reviews": (review(binding=binding(tensor_sha256="9" * 64)),)},
     "approvals", "fail", "kim@studio approved other weights"),
    ("other manifest", {"reviews": (review(binding=binding(manifest_hash=OTHER)),)},
     "approvals", "fail", "kim@studio approved another manifest"),
    ("other suite", {"reviews": (review(binding=binding(suite_digest=OTHER)),)},
     "approvals", "fail", "kim@studio approved another suite"),
    ("other grid", {"reviews": (review(binding=binding(result_digest=OTHER)),)},
     "approvals", "fail", "kim@studio approved another grid"),
    ("review of another evaluation", {"reviews": (review(evaluation_id="01OTHER"),)},
     "approvals", "fail", "kim@studio approved another grid (01OTHER)"),
    ("cells not seen", {"reviews": (review(cells_seen=11),)},
     "approvals", "fail", "kim@studio saw 11 of 12 cells"),
    ("smaller grid seen", {"reviews": (review(cells_seen=6, cells_total=6),)},
     "approvals", "fail", "saw a grid of 6 cells, it has 12"),
    ("rejected by another", {"reviews": (
        review(), review(ANA, number=2, verdict="rejected", comment="halo on dark"))},
     "objections", "fail", "ana@studio rejected it (halo on dark)"),
    ("needs work", {"reviews": (
        review(), review(ANA, number=2, verdict="needs_work", comment="edges"))},
     "objections", "fail", "ana@studio asks for more work (edges)"),
    ("rejected on another grid", {"reviews": (
        review(), review(ANA, number=2, verdict="rejected", comment="x", evaluation_id="01OLD"))},
     "objections", "fail", "ana@studio rejected it"),
    ("approved, then rejected", {"reviews": (
        review(), review(at="2026-03-02T00:00:00Z", number=2, verdict="rejected", comment="x"))},
     "approvals", "fail", "0 of 1"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "condition", "status", "words"), cases(VERDICTS))
def test_what_is_wrong_with_the_verdicts_refuses(
    change: dict[str, Any], condition: str, status: str, words: str
) -> None:
    found = refused(evidence(**change))

    assert found[condition][0] == status
    assert words in found[condition][1]


def test_a_rejection_that_the_same_person_answered_later_is_no_objection() -> None:
    reviews = (
        review(verdict="rejected", comment="halo"),
        review(at="2026-03-02T00:00:00Z", number=2),
    )

    assert decide(evidence(reviews=reviews), STANDARD).passed


def test_two_approvals_of_the_same_person_are_one() -> None:
    two = replace(STANDARD, approvals=2)
    reviews = (review(), review("Kim+phone@STUDIO", number=2))

    assert refused(evidence(reviews=reviews), two)["approvals"][1].startswith("1 of 2")


def test_two_people_are_two() -> None:
    decision = decide(
        evidence(reviews=(review(), review(ANA, number=2))), replace(STANDARD, approvals=2)
    )

    assert decision.passed
    assert len(decision.review_digests) == 2


def test_reason_names_who_counts_and_who_does_not() -> None:
    found = refused(
        evidence(reviews=(review(), review(LEE, number=2))), replace(STANDARD, approvals=2)
    )

    assert found["approvals"][1] == (
        "1 of 2: kim@studio approved; lee@studio trained r7 and cannot approve it"
    )


POLICIES: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("review not committed", {"reviews_committed_by_reviewer": True},
     {"reviews": (but(review(), committed_by=""),)},
     "approvals", "the review of kim@studio is not committed yet"),
    ("review committed by another", {"reviews_committed_by_reviewer": True},
     {"reviews": (but(review(), committed_by=LEE),)},
     "approvals", "the review of kim@studio was committed by lee@studio"),
    ("nobody can tell who committed", {"reviews_committed_by_reviewer": True},
     {"reviews": (but(review(), committed_by=Unproven("no repository")),)},
     "approvals", "no repository"),
    ("right not stated", {"rights_known": True}, {"rights": RightsFacts(unstated=("A", "B"))},
     "rights", "2 training right not stated: A, B"),
    ("too old", {"max_age_days": 30}, {"now": "2026-04-15T00:00:00Z"},
     "freshness", "rendered 44 days ago, at most 30"),
    ("from the future", {"max_age_days": 30}, {"now": "2026-02-01T00:00:00Z"},
     "freshness", "rendered -29 days ago"),
    ("higher effect asked for", {"min_effect": 0.2}, {}, "effect", "needs 0.200"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "change", "condition", "words"), cases(POLICIES))
def test_what_a_stricter_policy_asks_for_refuses(
    asked: dict[str, Any], change: dict[str, Any], condition: str, words: str
) -> None:
    assert words in refused(evidence(**change), replace(STANDARD, **asked))[condition][1]


RELAXED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("solo", {"reviewer_is_not_trainer": False}, {"reviews": (review(LEE),)}),
    ("some cells unseen", {"all_cells_seen": False}, {"reviews": (review(cells_seen=3),)}),
    ("rights not stated", {}, {"rights": RightsFacts(unstated=("A",))}),
    ("within its age", {"max_age_days": 30}, {"now": "2026-03-20T00:00:00Z"}),
    ("committed by the reviewer", {"reviews_committed_by_reviewer": True}, {}),
    ("manifest from the history", {}, {"manifest": TrainedManifest(MANIFEST, "the Git history")}),
]


@pytest.mark.parametrize(("asked", "change"), cases(RELAXED))
def test_what_a_policy_allows_passes(asked: dict[str, Any], change: dict[str, Any]) -> None:
    assert decide(evidence(**change), replace(STANDARD, **asked)).passed


@pytest.mark.parametrize("switch", ["reviewer_is_not_trainer", "all_cells_seen"])
def test_no_switch_of_a_policy_lets_a_withdrawn_image_pass(switch: str) -> None:
    found = evidence(rights=RightsFacts(refused=("A withdrawn",)))

    assert "rights" in refused(found, replace(STANDARD, **{switch: False}))


def test_weights_registered_by_hand_need_no_run_but_everything_else() -> None:
    registered = replace(release_with(runId="", trainer="manual"), created_by=LEE)
    decision = decide(evidence(release=registered, run=None), STANDARD)

    assert decision.passed
    assert decision.condition("training").reason == f"registered by {LEE}, trained elsewhere"


def test_evidence_binds_every_digest_that_was_looked_at() -> None:
    found = evidence()
    bound = bound_evidence(found, decide(found, STANDARD))

    assert bound.evaluation_id == "01EVAL"
    assert bound.weights_sha256 == "a" * 64
    assert bound.checkpoint_digest == BASE_DIGEST
    assert bound.suite_digest == GRID.suite_digest
    assert bound.result_digest == GRID.result_digest
    assert bound.review_digests == (found.reviews[0].review.digest,)
    assert bound.policy_digest == policy_digest(STANDARD)


def test_nothing_can_be_bound_to_a_refusal() -> None:
    found = evidence(reviews=())

    with pytest.raises(ArgumentInvalidError, match="did not pass"):
        bound_evidence(found, decide(found, STANDARD))


def test_the_words_of_a_policy_are_no_part_of_its_digest_and_its_numbers_are() -> None:
    reworded = replace(STANDARD, summary="other", reasons={"approvals": "why"})

    assert policy_digest(reworded) == policy_digest(STANDARD)
    assert policy_digest(replace(STANDARD, approvals=2)) != policy_digest(STANDARD)


def test_joined_policies_ask_for_all_that_any_of_them_asks() -> None:
    brand = GatePolicy(
        id="brand", summary="", approvals=2, rights_known=True, max_age_days=90, min_effect=0.01
    )
    joined = strictest([STANDARD, brand])

    assert joined.id == "brand+standard"
    assert (joined.approvals, joined.min_effect, joined.max_age_days) == (2, 0.02, 90)
    assert joined.rights_known
    assert joined.reviewer_is_not_trainer


def test_a_weaker_policy_is_told_by_name() -> None:
    weak = replace(STANDARD, approvals=1, all_cells_seen=False, min_effect=0.001)
    strict = replace(STANDARD, approvals=2, max_age_days=30)

    assert weaker_in(weak, strict) == [
        "approvals 1 instead of 2",
        "minEffect 0.001 instead of 0.02",
        "maxAgeDays 0 instead of 30",
        "allCellsSeen off",
    ]
    assert weaker_in(strict, STANDARD) == []


def test_json_form_holds_every_condition() -> None:
    document = decide(evidence(), STANDARD).to_dict()

    assert document["passed"] is True
    assert {one["status"] for one in document["conditions"]} == {"pass"}


def test_the_fixture_is_a_suite_of_twelve_cells_at_noon() -> None:
    assert len(GRID.cells) == 12
    assert GRID.created_at == NOW
    assert SUITE.strengths == (0.5, 1.0)
