"""What sessions that bring pixels share: a cell is drawn, and its picture written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from lora_pipeline.evaluation.renderers.interface import CellRequest, RenderSource, Strengths
from lora_pipeline.evaluation.renderers.pictures import write_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

LONGEST_DOWN_S = 300.0  # a server that does not answer for longer is given up


class DrawingSession(ABC):
    """Base of the sessions that bring pixels.

    Attributes:
        source: What is drawn with.
    """

    source: RenderSource

    def render(self, cell: CellRequest, target: Path) -> None:
        """Draw one cell as a PNG at ``target``.

        Raises:
            RendererError: When no image came.
            ImageRefusedError: When another one came than was asked for.
        """
        write_picture(self.draw(cell, self.source.strengths(cell.strength)), target)

    @abstractmethod
    def draw(self, cell: CellRequest, strengths: Strengths) -> Pixels:
        """Return the pixels of a cell, each LoRA at its strength; without any for the base.

        Raises:
            RendererError: When no picture came.
            ImageRefusedError: When another one came than was asked for.
        """
