"""The proof before the first cell: the LoRA is in use, and at strength 0 it is not.

Every program that draws has been seen to take a LoRA that it could not use, say so in a log at
most, and draw the base. So three small pictures are drawn and compared: without the LoRA, with it
at strength 0, and with it at strength 1. Where several go together there is one more for each:
all the others, without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from lora_pipeline.evaluation.effect import mean_difference
from lora_pipeline.evaluation.pixels import is_constant
from lora_pipeline.evaluation.renderers.interface import CellRequest, Strengths
from lora_pipeline.foundation.errors import RendererError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_PROBES = 3
_LEAST = 1e-6


class Probe(msgspec.Struct, frozen=True):
    """The size of the proof.

    Attributes:
        side: Width and height of the pictures.
        steps: Steps of each.
        guidance: Guidance of each.
        tolerance: How much base and strength 0 may differ, as a mean in 0..1; 0 where one machine
            draws both.
    """

    side: int = 256
    steps: int = 2
    guidance: float = 3.0
    tolerance: float = 0.0

    def cell(self, strength: float) -> CellRequest:
        """Return what is drawn at a strength."""
        return CellRequest(
            cell_id=f"probe-{strength:g}",
            prompt="icon",
            negative="",
            seed=0,
            strength=strength,
            width=self.side,
            height=self.side,
            steps=self.steps,
            guidance=self.guidance,
            sampler="default",
        )


class Draws(Protocol):
    """Draws a request."""

    def __call__(self, cell: CellRequest, strengths: Strengths) -> Pixels:
        """Return the pixels, each LoRA at its strength; without any where there are none."""


def probes_for(loras: int) -> int:
    """Return how many pictures the proof takes for so many LoRAs."""
    return _PROBES if loras == 1 else _PROBES + loras


def prove_effect(draw: Draws, probe: Probe, loras: int) -> None:
    """Draw the pictures and compare them.

    Args:
        draw: Draws a request.
        probe: Their size.
        loras: How many LoRAs go together.

    Raises:
        RendererError: When a LoRA leaves a trace at strength 0, or none at strength 1.
    """
    base = draw(probe.cell(0.0), ())
    if is_constant(base):
        raise RendererError(
            "the base model draws one colour only, so nothing can be compared",
            hint="draw a picture without a LoRA in that program, and see what is wrong",
        )
    trace = _difference(base, draw(probe.cell(0.0), (0.0,) * loras))
    if trace > probe.tolerance:
        raise RendererError(
            f"the LoRA at strength 0 does not draw the base (mean difference {trace:.4f}"
            f"{f', at most {probe.tolerance:.4f}' if probe.tolerance else ''}); "
            "no comparison would mean anything"
        )
    whole = draw(probe.cell(1.0), (1.0,) * loras)
    if _difference(base, whole) <= probe.tolerance:
        raise RendererError(
            "the LoRA at strength 1 draws the base: it is loaded, but it changes nothing",
            hint="it does not fit the base model that draws, or its strength is ignored",
        )
    # The joint picture proves none of several: each is taken out in turn, and must be missed.
    for number in range(loras if loras > 1 else 0):
        others = tuple(float(one != number) for one in range(loras))
        if _difference(whole, draw(probe.cell(1.0), others)) <= probe.tolerance:
            raise RendererError(
                f"the {_ordinal(number + 1)} of the {loras} LoRAs changes nothing: the picture is "
                "the same without it",
                hint="this program uses only some of them together, or it does not fit the base",
            )


def _ordinal(number: int) -> str:
    names = ("first", "second", "third", "fourth", "fifth")
    return names[number - 1] if number <= len(names) else f"{number}th"


def _difference(first: Pixels, second: Pixels) -> float:
    """Return the mean difference; what rounds to none and is one counts as the smallest."""
    import numpy as np

    rounded = mean_difference(first, second)
    return rounded if rounded or np.array_equal(first, second) else _LEAST
