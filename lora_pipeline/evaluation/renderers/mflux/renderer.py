"""The renderer ``mflux``: its command line, in its own environment, one process for each picture.

It ends with 0 where a LoRA is missing, where it cannot be read, and where the picture could not be
written. So its words are read, and of its files exactly one picture is believed, once it decodes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.drawing_session import DrawingSession
from lora_pipeline.evaluation.renderers.interface import (
    CellRequest,
    RenderProblem,
    RenderSource,
    Strengths,
)
from lora_pipeline.evaluation.renderers.lora_file import checked_loras
from lora_pipeline.evaluation.renderers.mflux.command import (
    PICTURE,
    PROMPT_FILE,
    MfluxModel,
    chosen_model,
    require_applied,
)
from lora_pipeline.evaluation.renderers.pictures import pixels_of
from lora_pipeline.evaluation.renderers.probing import Probe, prove_effect
from lora_pipeline.evaluation.renderers.session_log import SessionLog
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import ProcessError, RendererError
from lora_pipeline.foundation.files import link_or_copy
from lora_pipeline.foundation.process import Supervised, child_environment
from lora_pipeline.training.trainers.mflux.config import parse_version
from lora_pipeline.training.trainers.mflux.trainer import find_program, program_version
from lora_pipeline.training.trainers.offline import OFFLINE
from lora_pipeline.workspace.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

# Changes when the same cell is asked for in another way.
_REVISION = 1
_ANY = "mflux-generate"
_SETUP = "lora setup mflux"
_OLDEST = (0, 16)
_QUANTIZED = frozenset({0, 3, 4, 5, 6, 8})


@dataclass
class MfluxRenderer:
    """Draws with mflux.

    Attributes:
        probe: Size of the proof before the first cell.
    """

    probe: Probe = field(default_factory=Probe)
    name: str = "mflux"
    summary: str = "mflux on Apple silicon, in an environment of its own"
    loads_base: bool = True

    def health(self, settings: Settings) -> RenderProblem | None:
        """Return why it cannot run on this machine, or None when it can."""
        program = _program(settings, _ANY)
        if program is None:
            named = settings.text("renderers.mflux.program")
            words = (
                f"renderers.mflux.program is {named}, and no program is there"
                if named
                else "mflux is not set up on this machine"
            )
            return RenderProblem(words, _SETUP)
        version = program_version(program)
        number = parse_version(version)
        if number is None or number < _OLDEST:
            return RenderProblem(f"mflux {version} is too old, 0.16 is needed", _SETUP)
        return None

    def found(self, settings: Settings) -> str:
        """Return its version."""
        program = _program(settings, _ANY)
        return "not set up" if program is None else f"mflux {program_version(program)}"

    def address(self, settings: Settings) -> str:  # noqa: ARG002
        """Return that nothing leaves this machine."""
        return ""

    def price(self, settings: Settings, width: int, height: int) -> float | None:  # noqa: ARG002
        """Return that it costs nothing."""
        return 0.0

    @contextlib.contextmanager
    def open(
        self, source: RenderSource, settings: Settings, folder: Path
    ) -> Iterator[MfluxSession]:
        """Return a session whose LoRAs were checked and have an effect.

        Raises:
            RendererError: When mflux cannot draw with the base or a LoRA.
        """
        loras = checked_loras(source)
        any_program = _program(settings, _ANY)
        version = program_version(any_program) if any_program else "unknown"
        quantize = settings.integer("renderers.mflux.quantize")
        if quantize not in _QUANTIZED:
            raise RendererError(
                f"renderers.mflux.quantize is {quantize}; 3, 4, 5, 6 and 8 are known"
            )
        model = chosen_model(
            source,
            settings.text("renderers.mflux.model"),
            quantize=quantize,
            version=parse_version(version) or _OLDEST,
        )
        program = _program(settings, model.program)
        if program is None:
            raise RendererError(f"this mflux has no {model.program}", hint=_SETUP)
        # A path with a slash that is not there would be looked for at a hub.
        named = {folder.absolute() / lora.name: lora for lora in loras}
        with SessionLog(folder) as log:
            for weights, lora in named.items():
                weights.unlink(missing_ok=True)
                link_or_copy(lora.path, weights)
                log(f"LoRA {lora.name}: {lora.proof}")
            session = MfluxSession(
                source=source,
                program=program,
                model=model,
                weights=tuple(named),
                identity=_identity(model, version),
                timeout_s=settings.number("renderers.timeoutSeconds"),
                folder=folder.absolute(),
                log=log,
            )
            try:
                prove_effect(session.draw, self.probe, len(loras))
                yield session
            finally:
                for weights in named:
                    weights.unlink(missing_ok=True)


@dataclass
class MfluxSession(DrawingSession):
    """A program, a base and LoRAs.

    Attributes:
        source: What is drawn with.
        program: The program that draws.
        model: The base as mflux takes it.
        weights: The LoRAs under the names of their digests.
        identity: What draws, and on what.
        timeout_s: Longest silence of the program.
        folder: Private folder of the grid.
        log: Takes what the program prints.
    """

    source: RenderSource
    program: Path
    model: MfluxModel
    weights: tuple[Path, ...]
    identity: RendererIdentity
    timeout_s: float
    folder: Path
    log: Callable[[str], None]
    alive: bool = True
    cautions: tuple[str, ...] = ()

    def draw(self, cell: CellRequest, strengths: Strengths) -> Pixels:
        """Return the pixels of a cell, each LoRA at its strength; without any for the base.

        Raises:
            RendererError: When no picture came, or mflux left a LoRA out.
            ImageRefusedError: When it has another size, or is none.
        """
        arguments = self.model.arguments(cell, self.weights, strengths)
        # mflux writes beside a picture that is there; in an empty folder there is none.
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="mflux-") as name:
            place = Path(name)
            (place / PROMPT_FILE).write_text(cell.prompt, encoding="utf-8")
            lines, status = self._run([str(self.program), *arguments], place)
            if status != 0:
                last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
                raise RendererError(f"mflux ended with status {status}: {last.strip()[:200]}")
            if strengths:
                self.log(require_applied(lines, len(strengths)))
            pictures = [one for one in place.iterdir() if one.suffix == ".png"]
            if [one.name for one in pictures] != [PICTURE]:
                raise RendererError(
                    f"mflux ended without an error and left {len(pictures)} pictures"
                )
            return pixels_of(pictures[0].read_bytes(), cell)

    def _run(self, argv: list[str], place: Path) -> tuple[list[str], int]:
        lines: list[str] = []
        try:
            environment = child_environment(OFFLINE)
            with Supervised(argv, cwd=place, environment=environment) as program:
                for line in program.lines(idle_timeout_s=self.timeout_s):
                    lines.append(line.text)
                    self.log(line.text)
                return lines, program.wait()
        except ProcessError as error:
            raise RendererError(error.message, hint=error.hint) from error


def _program(settings: Settings, name: str) -> Path | None:
    named = settings.text("renderers.mflux.program")
    beside = Path(named).expanduser().absolute() if named else find_program(settings)
    if beside is None:
        found = shutil.which(name)
        return Path(found) if found else None
    path = beside.with_name(name)
    return path if path.is_file() and os.access(path, os.X_OK) else None


def _identity(model: MfluxModel, version: str) -> RendererIdentity:
    details: Mapping[str, object] = {
        "mflux": version,
        "model": model.alias,
        "quantize": model.quantize,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": platform.processor(),
        "revision": _REVISION,
    }
    return RendererIdentity(
        name="mflux",
        version=version,
        fingerprint=digest_of(details),
        device=platform.machine(),
        details=dict(details),
    )
