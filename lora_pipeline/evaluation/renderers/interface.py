"""What a renderer adapter is: it draws one cell, and says with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.workspace.settings import Settings

# What each LoRA of a source is used at; empty where none of them is in the pipeline.
Strengths = tuple[float, ...]


class LoraFile(msgspec.Struct, frozen=True):
    """The weights of one LoRA.

    Attributes:
        path: Its safetensors file.
        sha256: Digest of that file; it was checked before.
        strength: What it is used at in a cell of strength 1.
    """

    path: Path
    sha256: str
    strength: float = 1.0


class RenderSource(msgspec.Struct, frozen=True):
    """The base model of a session, and the LoRAs that go together on it.

    A grid proves one LoRA; a scene is drawn with all that production uses together.

    Attributes:
        checkpoint_path: Single file or diffusers folder. Where a renderer takes its base from a
            server, nothing need be there, and nobody compared its digest.
        architecture: ``sd15``, ``sdxl``, ``flux1``, …
        loras: The LoRAs, in the order in which they are applied.
        companions: Further model files by name, as the checkpoint's record has them.
        checkpoint_id: Id of the checkpoint's record.
        base_digests: SHA-256 of every single file that is this base, by the record.
        root: The workspace, which paths in its settings are relative to.
    """

    checkpoint_path: Path
    architecture: str
    loras: tuple[LoraFile, ...]
    companions: Mapping[str, Path] = msgspec.field(default_factory=dict)
    checkpoint_id: str = ""
    base_digests: tuple[str, ...] = ()
    root: Path = Path()

    def strengths(self, strength: float) -> Strengths:
        """Return what each LoRA is used at in a cell of that strength; nothing for the base."""
        return tuple(strength * lora.strength for lora in self.loras) if strength > 0 else ()


class CellRequest(msgspec.Struct, frozen=True):
    """One image to draw; ``strength`` 0 means the base, without a LoRA in the pipeline."""

    cell_id: str
    prompt: str
    negative: str
    seed: int
    strength: float
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str


class RenderProblem(msgspec.Struct, frozen=True):
    """Why a renderer cannot run here, and the command that mends it."""

    message: str
    hint: str


class RenderSession(Protocol):
    """A renderer that has the models loaded."""

    @property
    def identity(self) -> RendererIdentity:
        """What draws, and on what."""

    @property
    def alive(self) -> bool:
        """Whether another cell can be drawn in this session."""

    @property
    def cautions(self) -> Sequence[str]:
        """What a person should know about how it draws; nothing where all is as it should be."""

    def render(self, cell: CellRequest, target: Path) -> None:
        """Draw one cell as a PNG at ``target``, which does not exist yet.

        Raises:
            RendererError: When no image came; ``alive`` says whether to go on.
        """


class Renderer(Protocol):
    """An adapter to one image generator.

    Attributes:
        name: Its name on the command line.
        summary: One line about it.
        loads_base: Whether it loads the base model from this machine; others have their own.
    """

    name: str
    summary: str
    loads_base: bool

    def health(self, settings: Settings) -> RenderProblem | None:
        """Return why it cannot run on this machine, or None when it can; no service is asked."""

    def found(self, settings: Settings) -> str:
        """Return what there is, as ``lora doctor`` says it; a server of one's own is asked.

        Raises:
            RendererError: When it does not answer, or is something else.
        """

    def address(self, settings: Settings) -> str:
        """Return where weights and prompts go; empty when they stay on this machine."""

    def price(self, settings: Settings, width: int, height: int) -> float | None:
        """Return what one image costs in ``spending.currency``, or None when nobody said.

        Where it costs something, every image is noted in the folder's ``OrderBook`` before it is
        ordered: what is not noted is not counted as spent.
        """

    def open(
        self, source: RenderSource, settings: Settings, folder: Path
    ) -> AbstractContextManager[RenderSession]:
        """Return a session with base and LoRAs loaded; leaving it frees them.

        The renderer proves beforehand that each LoRA's tensors are in use, and that strength 0
        draws the base: to the pixel, where one machine draws both. What it cannot prove stands in
        its identity, and the gate reads it there.

        Args:
            source: What to load.
            settings: The machine's settings.
            folder: Private folder for the session's files and its log, ``renderer.log``.

        Raises:
            RendererError: When the models cannot be loaded, a LoRA does not apply, or it cannot
                use several together.
        """


Registry = Mapping[str, Renderer]
