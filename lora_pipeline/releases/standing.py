"""What comes next for a LoRA: one command, told from its records. Decides only."""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.releases.records import Lora, Release


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
