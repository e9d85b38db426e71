"""What renderers at a server of the studio's own share: where it is, and that it costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from lora_pipeline.evaluation.renderers.connection import Waiting, address_problem, extra_problem
from lora_pipeline.evaluation.renderers.interface import RenderProblem
from lora_pipeline.evaluation.renderers.probing import Probe
from lora_pipeline.foundation.loopback import is_loopback
from lora_pipeline.workspace.settings import Settings


@dataclass
class OwnServerRenderer:
    """Base of the renderers ``comfyui`` and ``a1111``.

    Attributes:
        waiting: How waiting is done.
        probe: Size of the proof before the first cell.
        address_key: Setting that says where the server is.
        example: Where such a server usually is.
    """

    waiting: Waiting = field(default_factory=Waiting)
    probe: Probe = field(default_factory=Probe)
    name: str = ""
    summary: str = ""
    loads_base: bool = False
    address_key: str = ""
    example: str = ""

    def health(self, settings: Settings) -> RenderProblem | None:
        """Return what is not set up here, or None."""
        problem = extra_problem(self.name)
        return problem or address_problem(settings, self.address_key, self.example)

    def address(self, settings: Settings) -> str:
        """Return the server's address when it is another machine."""
        base = settings.text(self.address_key) or ""
        return "" if not base or is_loopback(base) else base

    def price(self, settings: Settings, width: int, height: int) -> float | None:  # noqa: ARG002
        """Return that it costs nothing."""
        return 0.0
