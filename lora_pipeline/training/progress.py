"""How far a training is, as its events tell it."""

from __future__ import annotations

from lora_pipeline.foundation.events import Event

TOPIC = "train"


def progress_event(step: int, total: int, loss: float | None, message: str = "") -> Event:
    """Return the event of a step.

    Args:
        step: Steps that were done.
        total: Steps that there will be.
        loss: The last loss, or None while there is none.
        message: What is said instead of a loss.
    """
    return Event(
        "progress",
        TOPIC,
        message if loss is None else f"loss {loss:.4f}",
        step=step,
        total=total,
        unit="steps",
        data={} if loss is None else {"loss": loss},
    )
