"""A renderer without a model: the picture is computed from the request, or goes wrong as told.

It implements the real interface, and draws in this process. Run as a program it renders the
grid of a workspace, so that a test can kill it at any cell.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.interface import (
    CellRequest,
    RenderProblem,
    RenderSource,
)
from lora_pipeline.foundation.errors import RendererError
from lora_pipeline.workspace.settings import Settings
from tests.support.evaluation_builders import make_identity, png_of

FAULTS = (
    "",  # none
    "no_effect",  # draws the base for every LoRA cell
    "ignores_strength",
    "black",
    "wrong_size",
    "truncated",
    "no_file",
    "refuses",
)


@dataclass
class FakeRenderer:
    """Draws noise for the base, and the more of other noise the higher the strength.

    Attributes:
        fault: One of ``FAULTS``.
        only: Ids of prompts that the fault strikes; empty means all cells with the LoRA.
        crash_at: The session is gone at its so-manieth cell, or never with 0.
        crashes: How many sessions do that.
        version: Version that it claims.
        sick: Why it cannot run here, or empty.
        refuses_to_open: Why it cannot load the LoRA, or empty.
        sends_to: Where it claims to send weights and prompts.
        costs: What one image costs, or None when nobody knows.
        cautions: What a person should know.
        unproven: What it could not prove.
        drawn: Requests that it was given, in order.
        given: What it was opened with.
        opened: How many sessions were opened.
    """

    fault: str = ""
    only: tuple[str, ...] = ()
    crash_at: int = 0
    crashes: int = 99
    version: str = "1.0"
    sick: str = ""
    refuses_to_open: str = ""
    drawn: list[CellRequest] = field(default_factory=list)
    given: list[RenderSource] = field(default_factory=list)
    opened: int = 0
    name: str = "fake"
    summary: str = "Noise, for tests"
    loads_base: bool = True
    sends_to: str = ""
    costs: float | None = 0.0
    cautions: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()

    def health(self, settings: Settings) -> RenderProblem | None:  # noqa: ARG002
        """Return why it cannot run, when it was told so."""
        return RenderProblem(self.sick, "mend it") if self.sick else None

    def found(self, settings: Settings) -> str:  # noqa: ARG002
        """Return that it is here."""
        return "ready"

    def address(self, settings: Settings) -> str:  # noqa: ARG002
        """Return where it sends things, as told."""
        return self.sends_to

    def price(self, settings: Settings, width: int, height: int) -> float | None:  # noqa: ARG002
        """Return what one image costs, as told."""
        return self.costs

    @contextlib.contextmanager
    def open(
        self,
        source: RenderSource,
        settings: Settings,  # noqa: ARG002
        folder: Path,
    ) -> Iterator[FakeSession]:
        """Return a session."""
        self.opened += 1
        self.given.append(source)
        if self.refuses_to_open:
            raise RendererError(self.refuses_to_open)
        (folder / "renderer.log").write_text("loaded\n")
        yield FakeSession(self, source)


class FakeSession:
    """Draws cells until it crashes."""

    def __init__(self, renderer: FakeRenderer, source: RenderSource) -> None:
        self._renderer = renderer
        self._source = source
        self._count = 0
        self._alive = True

    @property
    def identity(self) -> RendererIdentity:
        """What draws."""
        identity = make_identity(self._renderer.version)
        return msgspec.structs.replace(identity, unproven=self._renderer.unproven)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a person should know."""
        return self._renderer.cautions

    @property
    def alive(self) -> bool:
        """Whether it did not crash yet."""
        return self._alive

    def render(self, cell: CellRequest, target: Path) -> None:
        """Draw one cell, or fail as told."""
        renderer = self._renderer
        renderer.drawn.append(cell)
        self._count += 1
        if self._count == renderer.crash_at and renderer.opened <= renderer.crashes:
            self._alive = False
            raise RendererError("the renderer ended unexpectedly: signal 9")
        fault = renderer.fault if self._strikes(cell) else ""
        if fault == "refuses":
            raise RendererError("out of memory")
        if fault != "no_file":
            data = png_of(self._pixels(cell, fault))
            target.write_bytes(data[: len(data) // 2] if fault == "truncated" else data)

    def _strikes(self, cell: CellRequest) -> bool:
        if self._renderer.only:
            return any(word in cell.prompt for word in self._renderer.only)
        return cell.strength > 0

    def _pixels(self, cell: CellRequest, fault: str) -> np.ndarray:
        width, height = cell.width, cell.height
        if fault == "wrong_size":
            width //= 2
        base = f"{cell.prompt}|{cell.seed}|{self._source.checkpoint_path.name}"
        strength = 1.0 if fault == "ignores_strength" and cell.strength else cell.strength
        if fault == "no_effect":
            strength = 0.0
        loras = [
            (f"{cell.prompt}|{cell.seed}|{lora.sha256}", used)
            for lora, used in zip(
                self._source.loras, self._source.strengths(strength), strict=False
            )
        ]
        pixels = noise_picture(base, loras, width, height)
        return np.zeros_like(pixels) if fault == "black" else pixels


def noise_picture(
    base: str, loras: Sequence[tuple[str, float]], width: int, height: int
) -> np.ndarray:
    """Return noise that follows from the words, the more of each LoRA's the stronger it is."""
    mixed = _Noise(base)(width, height) * (1 - sum(strength for _, strength in loras) / 4)
    for words, strength in loras:
        mixed += _Noise(words)(width, height) * strength / 4
    pixels: np.ndarray = mixed.astype(np.uint8)
    return pixels


class _Noise:
    def __init__(self, words: str) -> None:
        self._seed = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big")

    def __call__(self, width: int, height: int) -> np.ndarray:
        """Return noise of that size."""
        return np.random.default_rng(self._seed).uniform(0, 255, (height, width, 3))


class _Told(FakeRenderer):
    """Says on standard output which cell it is about to draw."""

    @contextlib.contextmanager
    def open(self, source: RenderSource, settings: Settings, folder: Path) -> Iterator[FakeSession]:
        with super().open(source, settings, folder) as session:
            draw = session.render

            def render(cell: CellRequest, target: Path) -> None:
                sys.stdout.write(f"{cell.cell_id}\n")
                sys.stdout.flush()
                draw(cell, target)

            session.render = render  # type: ignore[method-assign]
            yield session


def main(root: str, saving: str) -> int:
    """Render the grid of the builders' release in the workspace at ``root``, cell by cell.

    The record is written after every cell or at the end, so that every moment can be hit.
    """
    from lora_pipeline.evaluation import rendering
    from lora_pipeline.operations.evaluation.evaluate import GridOptions, render_subject
    from lora_pipeline.operations.evaluation.evaluation_subject import find_target, subject_of
    from lora_pipeline.workspace.root import open_workspace
    from tests.support.evaluation_builders import LORA

    rendering._SAVE_SHARE = 0
    rendering._SAVE_EVERY_S = {"always": 0.0, "at_the_end": 1e9}[saving]
    workspace = open_workspace(Path(root), actor="ana@studio.example")
    target = find_target(workspace, LORA, "", project=None, scope="project")
    subject = subject_of(workspace, target, suite_id="", prompts=())
    result = render_subject(workspace, subject, GridOptions(renderer="fake"), {"fake": _Told()})
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
