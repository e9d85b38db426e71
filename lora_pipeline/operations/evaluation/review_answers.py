"""Blind comparison: take the answers of a page, and say what all of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_pipeline.evaluation.blind.answers import MAX_BYTES, parse_answers
from lora_pipeline.evaluation.blind.comparison import (
    QUESTIONS,
    constancy,
    preferences,
    problem_of,
    require_answers,
    sealed_review,
)
from lora_pipeline.evaluation.blind.order import kept_order
from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview, Opponent
from lora_pipeline.evaluation.compare_measures import compare_measures
from lora_pipeline.evaluation.metrics.words import measured_facts
from lora_pipeline.evaluation.preference import sentences, weigh
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    RecordNotFoundError,
    StateError,
)
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluation_subject import Target, find_target
from lora_pipeline.operations.evaluation.review import binding_of
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

BASE = "base"


def record_blind_review(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    answers: str,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Record the answers that a person gave on a blind page, once and for good.

    They are checked against the plan: every pair answered, after it was seen, with exactly the
    pictures that the page was made with. Then the order is told, and anybody can check it.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the candidate; else the newest.
        answers: The file that the page saved.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        FileMissingError: When the file, or the order of the page, is not on this machine.
        RecordNotFoundError: When the page was not made here.
        RecordInvalidError: When the file is none that a page saved.
        ArgumentInvalidError: When they are answers to something else.
        StateError: When they were recorded already, or the release changed since.
        SettingsError: When nobody is known to act.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    given = parse_answers(_read(Path(answers)), Path(answers).name)
    plan = workspace.records.read(BlindPlan, target.lora.scope, given.plan_id).record
    _require_about(target, plan)
    if plan.evaluation_id not in workspace.records.ids(Evaluation, target.lora.scope):
        raise RecordNotFoundError(f"no evaluation {plan.evaluation_id!r} any more")
    mine = workspace.records.read(Evaluation, target.lora.scope, plan.evaluation_id).record
    if binding_of(target, mine) != plan.binding:
        raise StateError(
            f"{target.words} is not what it was when the page was made",
            hint=f"lora eval review {target.words} --blind",
        )
    earlier = [
        one.record.reviewer
        for one in workspace.records.all(BlindReview, target.lora.scope)
        if one.record.plan_id == plan.id
    ]
    if earlier:
        raise StateError(
            f"the page was answered by {earlier[0]} already, and everybody can read its order now",
            hint=f"lora eval review {target.words} --blind makes another page",
        )
    order = kept_order(workspace, plan.id)
    require_answers(given, plan, order.pairs)
    review = sealed_review(
        BlindReview(
            id=new_ulid(),
            plan_id=plan.id,
            plan_digest=plan.digest,
            lora_id=plan.lora_id,
            release_id=plan.release_id,
            evaluation_id=plan.evaluation_id,
            reviewer=workspace.require_actor(),
            created_at=workspace.now(),
            binding=plan.binding,
            against=plan.against,
            content_digest=plan.content_digest,
            nonce=order.nonce,
            pairs=order.pairs,
            answers=given.answers,
            comment=given.comment.strip(),
        )
    )
    problem = problem_of(review, plan)
    if problem:
        raise StateError(problem, hint="the plan or the order of the page was changed by hand")
    changes = Changes(workspace)
    changes.create(review, target.lora.scope, review.id)
    result = _numbers([review], {plan.id: plan}, _words(plan.against))
    result |= _measured(workspace, target.lora.scope, plan.evaluation_id, plan.against)
    written = tuple(changes.apply())
    return Result(
        data=result | {"reviewId": review.id, "reviewer": review.reviewer, "planId": plan.id}
        | _name(plan.lora_id, plan.release_id),
        reasoning=f"Recorded the blind review of {target.words} by {review.reviewer}",
        suggestions=(f"lora eval blind {target.words}", f"lora promote {target.words} --dry-run"),
        written=written,
        dry_run=workspace.dry_run,
    )  # fmt: skip


def show_blind(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Say what all blind comparisons of a release come to, and what the numbers are worth.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the candidate; else the newest.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    name = (target.lora.record_id, target.release.id)
    plans = {
        one.record_id: one.record
        for one in workspace.records.all(BlindPlan, target.lora.scope)
        if (one.record.lora_id, one.record.release_id) == name
    }
    reviews = [
        one.record
        for one in workspace.records.all(BlindReview, target.lora.scope)
        if (one.record.lora_id, one.record.release_id) == name
    ]
    rivals = list(dict.fromkeys((one.against, one.evaluation_id) for one in reviews))
    answered = {one.plan_id for one in reviews}
    groups = [
        _numbers([one for one in reviews if (one.against, one.evaluation_id) == rival],
                 plans, _words(rival[0]))
        | {"evaluationId": rival[1]}
        | _measured(workspace, target.lora.scope, rival[1], rival[0])
        for rival in rivals
    ]  # fmt: skip
    count = len(reviews)
    return Result(
        data={
            **_name(*name),
            "comparisons": groups,
            "unanswered": sorted(set(plans) - answered),
        },
        reasoning=f"{count} blind review{'' if count == 1 else 's'} of {target.words}",
        suggestions=() if count else (f"lora eval review {target.words} --blind",),
    )


def _numbers(
    reviews: Sequence[BlindReview], plans: dict[str, BlindPlan], against: str
) -> dict[str, Any]:
    sound = [one for one in reviews if not problem_of(one, plans.get(one.plan_id))]
    found = weigh([preferences(one) for one in _first_of_each(sound)])
    return {
        "against": against,
        "wins": found.wins,
        "losses": found.losses,
        "ties": found.ties,
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "agreement": None if found.agreement is None else round(found.agreement, 4),
        "sentences": sentences(found, against=against),
        "questions": {
            question: _tally(sound, question) for question in QUESTIONS
        },
        "reviews": [
            {
                "reviewId": one.id,
                "reviewer": one.reviewer,
                "createdAt": one.created_at,
                "pairs": len(preferences(one)),
                "checksMet": constancy(one)[0],
                "checks": constancy(one)[1],
                "problem": problem_of(one, plans.get(one.plan_id)),
                "comment": one.comment,
            }
            for one in reviews
        ],
    }  # fmt: skip


def _measured(
    workspace: Workspace, scope: Scope, evaluation_id: str, against: Opponent
) -> dict[str, Any]:
    """Return what was measured on the grids that were compared: told once the answers are in."""
    mine = _grid(workspace, scope, evaluation_id)
    if mine is None:
        return measured_facts(None) | {"measures": []}
    facts = measured_facts(mine.metrics, mine.cells)
    if against.kind == BASE:
        return facts | {"measures": []}
    theirs = _grid(workspace, scope, against.evaluation_id)
    measures = compare_measures(
        theirs.metrics if theirs else None, mine.metrics, than_what=against.release_id
    )
    return facts | {"measures": [one.to_dict() for one in measures]}


def _grid(workspace: Workspace, scope: Scope, evaluation_id: str) -> Evaluation | None:
    if not workspace.records.exists(Evaluation, scope, evaluation_id):
        return None
    return workspace.records.read(Evaluation, scope, evaluation_id).record


def _first_of_each(reviews: Sequence[BlindReview]) -> list[BlindReview]:
    """Return the first review of each person: who answers again has learnt the images."""
    ordered = sorted(reviews, key=lambda one: (one.created_at, one.id), reverse=True)
    return list({one.reviewer: one for one in ordered}.values())


def _tally(reviews: Sequence[BlindReview], question: str) -> dict[str, int]:
    found = weigh([preferences(one, question) for one in _first_of_each(reviews)])
    return {"wins": found.wins, "losses": found.losses, "ties": found.ties}


def _require_about(target: Target, plan: BlindPlan) -> None:
    if (plan.lora_id, plan.release_id) != (target.lora.record_id, target.release.id):
        raise ArgumentInvalidError(
            f"the answers are about {plan.lora_id} {plan.release_id}, not {target.words}",
            hint=f"lora eval review {plan.lora_id} {plan.release_id} --answers FILE",
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileMissingError(f"no answers in {path.name}: {error.strerror}") from error


def _words(against: Opponent) -> str:
    return "the base" if against.kind == BASE else against.release_id


def _name(lora_id: str, release_id: str) -> dict[str, str]:
    return {"loraId": lora_id, "releaseId": release_id}
