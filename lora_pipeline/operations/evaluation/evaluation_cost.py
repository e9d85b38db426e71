"""What is said before a grid is drawn: how long, for how much, and what would be sent away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from lora_pipeline.evaluation.pace import expected_seconds
from lora_pipeline.evaluation.records import Cell
from lora_pipeline.evaluation.renderers.interface import Renderer
from lora_pipeline.evaluation.renderers.probing import probes_for
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.operations.evaluation.evaluation_subject import Subject
from lora_pipeline.operations.training.train_sending import cap_refusal
from lora_pipeline.training.hosted.interface import JobEstimate
from lora_pipeline.training.hosted.spending import money
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_MINUTE_S, _HOUR_S = 60.0, 3600.0
_GUESS_S = 10.0


class GridEstimate(msgspec.Struct, frozen=True):
    """What a grid is expected to take.

    Attributes:
        cells: How many cells are to be drawn.
        seconds: How long that takes, or None when it was never measured here.
        cost: What it costs, probes included, or None when nobody said.
        currency: ISO 4217.
        sent_to: Where weights and prompts would go, or empty.
        probes: How many small pictures prove the LoRA before; they are paid, too.
    """

    cells: int
    seconds: float | None
    cost: float | None
    currency: str
    sent_to: str
    probes: int = 0

    @property
    def basis(self) -> str:
        """How the cost was made, as records keep it."""
        return f"{self.cells} cells and {self.probes} probes at the price that is set"

    @property
    def words(self) -> str:
        """Time and money as people read them, without the number of cells."""
        parts = [_time_words(self.seconds, self.cells)]
        if self.cost is None:
            parts.append("for a price that is not known")
        elif self.cost:
            parts.append(_price_words(self.cost, self.currency))
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it as every face tells it."""
        return {
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "cost": None if self.cost is None else round(self.cost, 4),
            "currency": self.currency,
            "sentTo": self.sent_to,
            "words": self.words,
        }


def estimate_grid(
    workspace: Workspace,
    renderer: Renderer,
    lacking: Sequence[Cell],
    limit: int | None,
    *,
    loras: int = 1,
    sessions: int = 1,
) -> GridEstimate:
    """Return what drawing the cells that lack an image is expected to take.

    Args:
        workspace: Where it is drawn.
        renderer: What draws.
        lacking: The cells.
        limit: How many of them are drawn at most.
        loras: How many LoRAs go together; each is proven.
        sessions: How often the renderer is opened; it proves them anew each time.
    """
    cells = list(lacking if limit is None else lacking[:limit])
    settings = workspace.settings
    seconds: float | None = 0.0
    cost: float | None = 0.0
    probes = probes_for(loras) * sessions
    if cells:
        # The probes before the first cell are paid like cells.
        priced = [cells[0]] * probes + cells
        prices = [renderer.price(settings, cell.width, cell.height) for cell in priced]
        known = [price for price in prices if price is not None]
        cost = sum(known) if len(known) == len(prices) else None
        each = [expected_seconds(workspace, renderer.name, cell) for cell in cells]
        measured = [one for one in each if one is not None]
        seconds = sum(measured) if len(measured) == len(each) else None
    return GridEstimate(
        cells=len(cells),
        seconds=seconds,
        cost=cost,
        currency=settings.require_text("spending.currency"),
        sent_to=renderer.address(settings) if cells else "",
        probes=probes,
    )


def sending_refusal(
    workspace: Workspace,
    subject: Subject,
    estimate: GridEstimate,
    *,
    yes_upload: bool,
    words: str = "",
) -> Refusal | None:
    """Return why nothing is sent: it may cost too much, or nobody said yes to it.

    Args:
        workspace: Where caps, and what was spent, are.
        subject: What is drawn with.
        estimate: What it takes.
        yes_upload: Whether somebody said yes.
        words: Whose weights would be sent; else the subject's.
    """
    if not estimate.sent_to:
        return None
    scope = subject.target.lora.scope
    refused = drawing_refusal(workspace, scope, estimate.cost, estimate.currency)
    if refused is not None:
        return refused
    if yes_upload:
        return None
    price = f", {_price_words(estimate.cost, estimate.currency)}" if estimate.cost else ""
    return Refusal(
        "upload_not_agreed",
        f"the weights of {words or subject.target.words} and {estimate.cells} "
        f"{'prompt' if estimate.cells == 1 else 'prompts'} would be sent to "
        f"{estimate.sent_to}{price}",
        "the same command with --yes-upload sends them",
    )


def drawing_refusal(
    workspace: Workspace, scope: Scope, cost: float | None, currency: str, *, besides: str = ""
) -> Refusal | None:
    """Return why pictures may not be ordered for their cost, or None.

    Args:
        workspace: Where caps, and what was spent, are.
        scope: The project, or the shared scope, that they belong to.
        cost: What they are expected to cost, or None when nobody said.
        currency: In which currency.
        besides: Id of their own expense, when it is recorded already.
    """
    hint = "set renderers.replicate.pricePerImage or renderers.fal.pricePerMegapixel"
    job = JobEstimate(cost, None, currency, hint)
    return cap_refusal(workspace, scope, job, besides=besides, less="fewer cells")


def _price_words(cost: float, currency: str) -> str:
    words = money(cost, currency)
    return f"for {words}" if words.startswith("less") else f"for about {words}"


def _time_words(seconds: float | None, cells: int) -> str:
    if seconds is None:
        # Nobody measured it here; a middle-sized model on a graphics card is meant.
        return f"{_span(cells * _GUESS_S)} at 10 s a cell, which was never measured here"
    each = seconds / cells if cells else 0.0
    return f"about {_span(seconds)} at {each:.1f} s a cell, as measured last"


def _span(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * _HOUR_S:
        return f"{round(seconds / _MINUTE_S)} minutes"
    return f"{seconds / _HOUR_S:.1f} hours"
