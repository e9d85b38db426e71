"""Blind comparison: write the page on which one person compares, and commit to its order."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence

import msgspec

from lora_pipeline.evaluation.blind.comparison import (
    QUESTIONS,
    chosen,
    commitment,
    content_digest,
    draw_order,
    matched_cells,
    nearest_strength,
    sealed_plan,
)
from lora_pipeline.evaluation.blind.order import Order, keep_order
from lora_pipeline.evaluation.blind.page import PageWords, ShownPair, blind_page
from lora_pipeline.evaluation.blind.pictures import Picture, picture_of
from lora_pipeline.evaluation.blind.records import BlindPair, BlindPlan, Opponent
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.reviews import require_complete
from lora_pipeline.evaluation.suites import rules_of
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluation_subject import (
    Target,
    find_evaluation,
    find_target,
)
from lora_pipeline.operations.evaluation.review import binding_of, require_same_weights
from lora_pipeline.operations.workspace.output_file import HTML, require_output
from lora_pipeline.releases.history import incumbent_for
from lora_pipeline.releases.lookup import ScopeName, require_release
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

BASE = "base"


class _Rival(msgspec.Struct, frozen=True):
    """What a candidate is compared with, and the grid that its images are from."""

    opponent: Opponent
    evaluation: Evaluation
    words: str


def make_blind_page(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    against: str = "",
    pairs: int | None = None,
    strength: float | None = None,
    output: str = "",
    evaluation: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Write a page on which one person compares a candidate blindly with what is in use.

    Order and sides are drawn anew for every page, and stay on this machine until the answers
    are in; the record of the page holds their digest, so that nobody can change them after.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the candidate; else the newest.
        against: A release, or ``base``; else the active release, else the base.
        pairs: How many pairs at most, of every prompt as many; else all of the grid.
        strength: Strength at which it is compared; else the one in use.
        output: The page; else ``blind-LORA-RELEASE-….html`` in the workspace.
        evaluation: Id of the candidate's evaluation; else the newest complete one.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When there is nothing to compare.
        EvaluationIncompleteError: When a grid has holes, or the two were not drawn alike.
        ArgumentInvalidError: When the strength was not rendered, or the file is no page.
        FileMissingError, DigestMismatchError: When an image is not in the store as recorded.
        SettingsError: When nobody is known to act.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    loaded = find_evaluation(workspace, target, evaluation)
    mine = loaded.record
    require_complete(mine, command=f"lora eval grid {target.words}")
    require_same_weights(target, mine)
    rival = _rival(workspace, target, loaded, against)
    at = _strength(target, mine, strength)
    matched = matched_cells(mine, rival.evaluation, strength=at, base=rival.opponent.kind == BASE)
    if pairs is not None and pairs < 1:
        raise ArgumentInvalidError(f"a page needs at least 1 pair, got {pairs}")
    taken = chosen(matched, pairs)
    if not taken:
        raise ArgumentInvalidError(
            f"{target.words} and {rival.words} have no cell in common at strength {at:g}"
        )
    plan_id, nonce = new_ulid(), secrets.token_hex(16)
    order = draw_order(taken, random.SystemRandom())
    shown = _shown(workspace, (mine, rival.evaluation), order)
    plan = sealed_plan(
        BlindPlan(
            id=plan_id,
            lora_id=mine.lora_id,
            release_id=mine.release_id,
            evaluation_id=mine.id,
            created_at=workspace.now(),
            created_by=workspace.require_actor(),
            binding=binding_of(target, mine),
            against=rival.opponent,
            strength=at,
            pairs=len(taken),
            repeats=sum(bool(one.repeat_of) for one in order),
            controls=sum(one.control for one in order),
            questions=QUESTIONS,
            content_digest=content_digest(
                plan_id,
                QUESTIONS,
                {one.pair: (one.left.sha256, one.right.sha256) for one in shown},
            ),
            commitment=commitment(plan_id, nonce, order),
        )
    )
    name = output or f"blind-{mine.lora_id}-{mine.release_id}-{plan_id[-6:].lower()}.html"
    path, _ = require_output(workspace, name, (HTML,))
    take = f"lora eval review {target.words} --answers blind-{plan_id}.json --as REVIEWER"
    changes = Changes(workspace)
    changes.create(plan, loaded.scope, plan_id)
    if not workspace.dry_run:
        title = f"{target.words} against {rival.words}"
        words = PageWords(plan_id, plan.content_digest, title, take, QUESTIONS)
        keep_order(workspace, Order(plan_id, nonce, order))
        with disk_refusals():
            write_atomic(path, blind_page(words, shown).encode("utf-8", "backslashreplace"))
    return Result(
        data=plan.to_dict()
        | {
            "page": workspace.relative(path),
            "pageBytes": 0 if workspace.dry_run else path.stat().st_size,
            "shownPairs": len(order),
            "againstWords": rival.words,
        },
        reasoning=f"Planned a blind comparison of {target.words} with {rival.words}, "
        f"{len(taken)} pairs",
        suggestions=(take,),
        written=tuple(changes.apply()),
        dry_run=workspace.dry_run,
    )


def _rival(
    workspace: Workspace, target: Target, loaded: Loaded[Evaluation], against: str
) -> _Rival:
    mine, lora = loaded.record, target.lora.record
    wanted = against or incumbent_for(lora.history, target.release.id) or BASE
    if wanted == BASE:
        opponent = Opponent(kind="base", evaluation_id=mine.id, result_digest=mine.result_digest)
        return _Rival(opponent, mine, "the base")
    if wanted == target.release.id:
        raise ArgumentInvalidError(
            f"{wanted} cannot be compared with itself", hint=f"--against {BASE}"
        )
    other = Target(target.lora, require_release(lora, wanted))
    own = [
        one.record
        for one in workspace.records.all(Evaluation, loaded.scope)
        if (one.record.lora_id, one.record.release_id) == (lora.id, wanted)
        and one.record.status == "complete"
    ]
    own.sort(key=lambda one: (one.suite_digest == mine.suite_digest, one.created_at, one.id))
    theirs = own[-1] if own else find_evaluation(workspace, other, "").record
    require_complete(theirs, command=f"lora eval grid {other.words}")
    require_same_weights(other, theirs)
    opponent = Opponent(
        kind="release",
        release_id=wanted,
        evaluation_id=theirs.id,
        weights_sha256=theirs.weights_sha256,
        result_digest=theirs.result_digest,
    )
    return _Rival(opponent, theirs, wanted)


def _strength(target: Target, evaluation: Evaluation, wanted: float | None) -> float:
    if wanted is None:
        return nearest_strength(evaluation, target.lora.record.strength_in_use)
    there = sorted({cell.strength for cell in evaluation.cells if cell.strength > 0})
    if wanted not in there:
        raise ArgumentInvalidError(
            f"nothing was rendered at strength {wanted:g}",
            hint="there are: " + ", ".join(f"{one:g}" for one in there),
        )
    return wanted


def _shown(
    workspace: Workspace, evaluations: Sequence[Evaluation], order: Sequence[BlindPair]
) -> list[ShownPair]:
    store = open_store(workspace)
    cells = {cell.image_sha256: cell for one in evaluations for cell in one.cells}
    suite = evaluations[0].suite
    rules = rules_of(suite) if suite else {}
    pictures: dict[str, Picture] = {}
    for sha256 in {one for pair in order for one in (pair.left_sha256, pair.right_sha256)}:
        cell = cells[sha256]
        pictures[sha256] = picture_of(store.open_path(sha256), width=cell.width, height=cell.height)
    return [
        ShownPair(
            pair.id,
            cells[pair.left_sha256].prompt,
            pictures[pair.left_sha256],
            pictures[pair.right_sha256],
            rules.get(pair.prompt_id, ""),
        )
        for pair in order
    ]
