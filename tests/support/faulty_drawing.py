"""The renderer ``fake``, known to the registry for one test, and ways in which it deceives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from lora_pipeline.evaluation.renderers.interface import CellRequest, Renderer, RenderSource
from lora_pipeline.evaluation.renderers.registry import RENDERERS
from lora_pipeline.workspace.settings import Settings
from tests.support.evaluation_builders import png_of
from tests.support.fake_renderer import FakeRenderer, FakeSession

Deceit = Callable[[CellRequest, Path], None]


def register(monkeypatch: pytest.MonkeyPatch, renderer: FakeRenderer) -> FakeRenderer:
    """Make a renderer known as ``fake`` until the test ends, and return it."""
    monkeypatch.setitem(cast(MutableMapping[str, Renderer], RENDERERS), "fake", renderer)
    return renderer


@dataclass
class DeceivingRenderer(FakeRenderer):
    """Draws as the fake one does, and then does something to the picture.

    Attributes:
        deceit: Gets what was asked for and the file of the picture.
    """

    deceit: Deceit = lambda _cell, _target: None

    @contextlib.contextmanager
    def open(self, source: RenderSource, settings: Settings, folder: Path) -> Iterator[FakeSession]:
        """Return a session whose pictures are not what they should be."""
        with super().open(source, settings, folder) as session:
            draw = session.render

            def render(cell: CellRequest, target: Path) -> None:
                draw(cell, target)
                self.deceit(cell, target)

            session.render = render  # type: ignore[method-assign]
            yield session


def grey_where_numbers_are_none(cell: CellRequest, target: Path) -> None:
    """Draw what a decoder makes of NaN: one grey."""
    if cell.strength > 0:
        target.write_bytes(png_of(np.full((cell.height, cell.width, 3), 128, np.uint8)))


def copy_of_file(image: Path) -> Deceit:
    """Return a deceit that shows one image for every cell with the LoRA of the first prompt."""
    from PIL import Image

    def deceit(cell: CellRequest, target: Path) -> None:
        if cell.strength > 0 and cell.seed == 1 and "stkr" in cell.prompt:
            with Image.open(image) as picture:
                layer = picture.convert("RGBA")
            paper = Image.new("RGBA", layer.size, "white")
            shown = Image.alpha_composite(paper, layer).convert("RGB")
            shown.resize((cell.width, cell.height)).save(target, "PNG")

    return deceit


def one_seed_for_all() -> Deceit:
    """Return a deceit that shows the picture of the first seed for every other one."""
    first: dict[tuple[str, float], bytes] = {}

    def deceit(cell: CellRequest, target: Path) -> None:
        target.write_bytes(first.setdefault((cell.prompt, cell.strength), target.read_bytes()))

    return deceit
