"""Where a LoRA stands and what comes next, told from its records. Decides only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.records import Run

LoraState = Literal["created", "queued", "training", "ready", "failed"]
"""``created``: nothing was trained; ``queued``, ``training``: a run is on its way; ``ready``: it
has a release; ``failed``: the last run brought none, and there is no other."""


def state_of(lora: Lora, runs: Iterable[Run]) -> LoraState:
    """Return where a LoRA stands; a run that is on its way comes first.

    Args:
        lora: The LoRA.
        runs: Runs of its scope, also those of others.
    """
    own = [one for one in runs if one.lora_id == lora.id]
    states = {one.state for one in own}
    if "training" in states:
        return "training"
    if states & {"created", "queued"}:
        return "queued"
    if lora.releases:
        return "ready"
    last = max(own, key=lambda one: (one.created_at, one.id), default=None)
    return "failed" if last is not None and last.state == "failed" else "created"


def next_for_lora(
    lora: Lora,
    evaluations: Sequence[Evaluation],
    reviews: Sequence[Review],
    datasets: Sequence[str],
) -> str:
    """Return the next command, or an empty string when the newest release is in use.

    Args:
        lora: The LoRA.
        evaluations: All evaluations of its scope.
        reviews: All reviews of its scope.
        datasets: Ids of the datasets that it could be trained on.
    """
    release = _newest(lora)
    if release is None:
        dataset = datasets[0] if len(datasets) == 1 else "DATASET"
        return f"lora train --lora {lora.id} --dataset {dataset}"
    if release.id == lora.active_release_id:
        return ""
    if release.status == "approved":
        return f"lora promote {lora.id} {release.id}"
    return _next_for_candidate(lora, release, evaluations, reviews)


def _next_for_candidate(
    lora: Lora, release: Release, evaluations: Sequence[Evaluation], reviews: Sequence[Review]
) -> str:
    name = f"{lora.id} {release.id}"
    complete = {
        one.id
        for one in evaluations
        if one.lora_id == lora.id and one.release_id == release.id and one.status == "complete"
    }
    if not complete:
        return f"lora eval grid {name}"
    verdicts = sorted(
        (one for one in reviews if one.evaluation_id in complete),
        key=lambda review: (review.created_at, review.id),
    )
    if not verdicts:
        return f"lora eval review {name}"
    if verdicts[-1].verdict == "approved":
        return f"lora promote {name}"
    dataset = str(release.training.get("datasetId") or "DATASET")
    return f"lora train --lora {lora.id} --dataset {dataset}"


def _newest(lora: Lora) -> Release | None:
    usable = [one for one in lora.releases if one.status != "deprecated"]
    # Of several that were made in one second the later in the list is the newer one.
    return max(reversed(usable), key=lambda one: one.created_at) if usable else None
