"""What to do after a refusal: the commands that mend what refuses, in the order of the work."""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.releases.gate.decision import Decision
from lora_pipeline.releases.gate.rights import CONDITION
from lora_pipeline.releases.records import Lora, Release

MAX_STEPS = 3
_NEW_GRID = frozenset(
    {"grid", "result", "suite", "images", "cells", "effect", "base_model", "freshness"}
)


def steps_after_refusal(
    lora: Lora, release: Release, decision: Decision, answers: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the next commands, the most urgent first.

    Args:
        lora: The LoRA.
        release: The release that was refused.
        decision: Why.
        answers: What may be answered for its withdrawn images.
    """
    refusing = {condition.id for condition in decision.refusing}
    name = f"{lora.id} {release.id}"
    steps: list[str] = []
    if CONDITION in refusing:
        if answers:
            steps.append(f"lora release answer {name} {'|'.join(answers)} --reason …")
        steps.append(f"lora dataset build {_dataset(release)}")
    if refusing & {"release", "manifest", "rights", "training"}:
        steps.append(f"lora train --lora {lora.id} --dataset {_dataset(release)}")
    if refusing & {"policy", "suite_before"}:  # what was asked for changed: somebody must look
        steps.append("git diff HEAD -- config data")
    if "weights" in refusing:
        steps.append(f"lora release verify {name}")
    # A new grid needs a new review: one is of no use without the other.
    if refusing & _NEW_GRID:
        steps.append(f"lora eval grid {name}")
    elif refusing & {"approvals", "reviews", "objections"}:
        steps.append(f"lora eval show {name}")
        steps.append(f"lora eval review {name} --as SOMEONE_ELSE")
    return tuple(steps[:MAX_STEPS])


def _dataset(release: Release) -> str:
    return str(release.training.get("datasetId") or "ID")
