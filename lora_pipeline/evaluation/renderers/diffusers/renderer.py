"""The renderer ``diffusers``: a child process of ours that keeps the models loaded.

The models never enter this process: torch is not imported here, and whatever happens to the
child (out of memory, a crash in a driver, a hang) is an answer about one cell.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.catalog.mlx_folder import read_mlx_folder
from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.interface import (
    CellRequest,
    RenderProblem,
    RenderSource,
)
from lora_pipeline.foundation.errors import ProgramTimedOutError, RendererError
from lora_pipeline.foundation.extras import missing_modules
from lora_pipeline.foundation.files import link_or_copy
from lora_pipeline.foundation.process import Conversation, child_environment
from lora_pipeline.workspace.settings import Settings

WORKER = "lora_pipeline.evaluation.renderers.diffusers.worker"
LOG_NAME = "renderer.log"
_MODULES = ("torch", "diffusers", "peft", "transformers")
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what deterministic matrix products on CUDA need
}
_LOG_TAIL = 8192


class DiffusersRenderer:
    """Draws with Hugging Face diffusers on this machine."""

    name = "diffusers"
    summary = "SD 1.5, SDXL and FLUX.1 type checkpoints in a child process here"
    loads_base = True

    def health(self, settings: Settings) -> RenderProblem | None:  # noqa: ARG002
        """Return why it cannot run on this machine, or None when it can."""
        missing = missing_modules(_MODULES)
        if not missing:
            return None
        return RenderProblem(
            f"renderer diffusers needs {', '.join(missing)}", "pip install 'lora-pipeline[train]'"
        )

    def found(self, settings: Settings) -> str:  # noqa: ARG002
        """Return that it is here."""
        return "ready"

    def address(self, settings: Settings) -> str:  # noqa: ARG002
        """Return that nothing leaves this machine."""
        return ""

    def price(self, settings: Settings, width: int, height: int) -> float | None:  # noqa: ARG002
        """Return that it costs nothing."""
        return 0.0

    @contextlib.contextmanager
    def open(
        self, source: RenderSource, settings: Settings, folder: Path
    ) -> Iterator[DiffusersSession]:
        """Return a session with base and LoRAs loaded; leaving it frees them.

        Raises:
            RendererError: When the models cannot be loaded or a LoRA does not apply.
        """
        mlx = read_mlx_folder(source.checkpoint_path)
        if mlx is not None:
            raise RendererError(
                f"checkpoint {source.checkpoint_id} was {mlx.words}", hint="--renderer mflux"
            )
        # Loaders go by the ending of a name, and objects of the store have none.
        named = {folder / f"lora-{lora.sha256[:12]}.safetensors": lora for lora in source.loras}
        for weights, lora in named.items():
            weights.unlink(missing_ok=True)
            link_or_copy(lora.path, weights)
        log = folder / LOG_NAME
        log.unlink(missing_ok=True)
        child = Conversation(
            [sys.executable, "-m", WORKER], environment=child_environment(_OFFLINE), log=log
        )
        try:
            limit_s = settings.number("renderers.timeoutSeconds")
            session = DiffusersSession(source, child, log, limit_s)
            session.load(list(named), settings)
            yield session
        finally:
            child.stop()
            for weights in named:
                weights.unlink(missing_ok=True)


class DiffusersSession:
    """A child with the models loaded.

    Args:
        source: What is drawn with.
        child: The running child.
        log: File that takes its standard error.
        timeout_s: Longest time for one answer.
    """

    def __init__(
        self, source: RenderSource, child: Conversation, log: Path, timeout_s: float
    ) -> None:
        self._source = source
        self._child = child
        self._log = log
        self._timeout_s = timeout_s
        self._identity: RendererIdentity | None = None
        self._alive = True

    @property
    def identity(self) -> RendererIdentity:
        """What draws, and on what."""
        if self._identity is None:
            raise RendererError("the renderer has loaded nothing yet")
        return self._identity

    @property
    def alive(self) -> bool:
        """Whether another cell can be drawn in this session."""
        return self._alive

    @property
    def cautions(self) -> tuple[str, ...]:
        """Nothing: it draws with what was recorded, and says so."""
        return ()

    def load(self, weights: Sequence[Path], settings: Settings) -> None:
        """Load base and LoRAs.

        Raises:
            RendererError: When they cannot be loaded or a LoRA does not apply.
        """
        source = self._source
        config = source.companions.get("config")
        reply = self._ask(
            {
                "do": "load",
                "checkpoint": str(source.checkpoint_path),
                "config": str(config) if config else None,
                "architecture": source.architecture,
                "weights": [str(one) for one in weights],
                "device": settings.text("trainers.diffusers.device"),
                "threads": settings.integer("trainers.diffusers.threads"),
            }
        )
        self._identity = RendererIdentity.from_dict(reply["identity"])

    def render(self, cell: CellRequest, target: Path) -> None:
        """Draw one cell as a PNG at ``target``.

        Raises:
            RendererError: When no image came; ``alive`` says whether to go on.
        """
        strengths = self._source.strengths(cell.strength)
        request = {
            "cell": msgspec.structs.asdict(cell),
            "strengths": strengths,
            "target": str(target),
        }
        self._ask({"do": "render", **request})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps(request).encode()
        try:
            answer = self._child.ask(line, timeout_s=self._timeout_s)
        except ProgramTimedOutError as error:
            self._alive = False
            raise RendererError(
                f"the renderer gave no answer within {self._timeout_s:g} s and was stopped",
                hint="raise renderers.timeoutSeconds in config/pipeline.yaml",
            ) from error
        if answer is None:
            self._alive = False
            raise RendererError(
                f"the renderer ended unexpectedly: {self._last_words()}", hint=f"see {self._log}"
            )
        reply: dict[str, Any] = json.loads(answer)
        if not reply["ok"]:
            raise RendererError(reply["error"], hint=f"see {self._log}")
        return reply

    def _last_words(self) -> str:
        status = self._child.status()
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        with contextlib.suppress(OSError):
            tail = self._log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
            lines = [line.strip() for line in tail.splitlines() if line.strip()]
            if lines:
                return f"{lines[-1][:200]} ({how})"
        return how
