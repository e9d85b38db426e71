"""What is told to whoever wants to know of a run, and when. Pure.

A notice holds ids, states and numbers: no prompt, no caption, no path and nothing that a trainer
printed but the class of its failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_pipeline.training.records import Run

# state of the run -> the word that notify.on knows it by
_WORDS = {"training": "start", "ready": "ready", "failed": "failure", "cancelled": "cancelled"}
_VERSION = 1


def moment_of(run: Run) -> str | None:
    """Return the moment that a run is at, as ``notify.on`` names it, or None for none."""
    moment = _WORDS.get(run.state)
    if moment == "start" and len(run.attempts) > 1:
        return None  # another try is no new start
    return moment


def wanted(moment: str | None, chosen: Sequence[str]) -> bool:
    """Return whether somebody wants to be told of a moment; ``end`` is ready and cancelled."""
    if moment is None:
        return False
    return moment in chosen or (moment in ("ready", "cancelled") and "end" in chosen)


def notice_of(run: Run, moment: str, workspace: str) -> dict[str, Any]:
    """Return a notice, JSON-ready.

    Args:
        run: The run.
        moment: The moment that it is at.
        workspace: Name of the workspace's folder.
    """
    title, text = words_of(run, moment)
    error = run.error
    return {
        "v": _VERSION,
        "event": f"run.{moment}",
        "workspace": workspace,
        "title": title,
        "text": text,
        "run": run.id,
        "lora": run.lora_id,
        "release": run.release_id,
        "dataset": run.dataset_id,
        "trainer": run.trainer,
        "state": run.state,
        "error": error.code if error is not None else None,
        "attempts": len(run.attempts),
        "stepsDone": run.steps_done,
        "stepsPlanned": run.steps_planned,
        "seconds": run.duration_seconds,
    }


def words_of(run: Run, moment: str) -> tuple[str, str]:
    """Return a title and one line, as people read them."""
    name = f"{run.lora_id} {run.release_id}"
    if moment == "start":
        return f"{name} is training", f"{run.steps_planned} steps on {run.dataset_id}"
    if moment == "ready":
        return f"{name} is ready", f"a candidate; lora eval grid {name}"
    if moment == "cancelled":
        return f"{name} was cancelled", f"after {run.steps_done} of {run.steps_planned} steps"
    code = run.error.code if run.error is not None else "failed"
    return f"{name} failed: {code}", f"lora run show {run.id}"
