"""What the renderers ``replicate`` and ``fal`` share: weights that go there, prices, and proof.

A service's base model cannot be seen: that it is the recorded checkpoint stays unproven, stands in
the identity, and the gate says so.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.connection import (
    Patience,
    Waiting,
    as_renderer_errors,
    connected,
    extra_problem,
    fetched,
    token_of,
)
from lora_pipeline.evaluation.renderers.hosted.service import DrawingService
from lora_pipeline.evaluation.renderers.hosted.session import HostedSession
from lora_pipeline.evaluation.renderers.interface import RenderProblem, RenderSource
from lora_pipeline.evaluation.renderers.lora_file import CheckedLora, checked_loras
from lora_pipeline.evaluation.renderers.probing import Probe, prove_effect
from lora_pipeline.evaluation.renderers.session_log import SessionLog
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import RendererError
from lora_pipeline.foundation.loopback import is_loopback
from lora_pipeline.workspace.settings import Settings

# Changes when the same cell is asked for in another way.
_REVISION = 1
_PLACEHOLDER = "{sha256}"


@dataclass
class HostedRenderer(ABC):
    """Base of renderers that draw at a service, for money.

    Attributes:
        waiting: How waiting is done.
        probe: Size of the proof before the first cell. Machines differ there, so base and
            strength 0 may differ a little.
    """

    waiting: Waiting = field(default_factory=Waiting)
    probe: Probe = field(
        default_factory=lambda: Probe(side=512, steps=4, guidance=3.5, tolerance=0.01)
    )
    name: str = ""
    summary: str = ""
    loads_base: bool = False
    token_key: str = ""
    address_key: str = ""

    def health(self, settings: Settings) -> RenderProblem | None:
        """Return what is not set up here, or None; the service is not asked."""
        problem = extra_problem(self.name)
        if problem is None and not token_of(settings, self.token_key):
            variable = settings.require_text(self.token_key)
            problem = RenderProblem(
                f"the environment variable {variable} is not set", f"export {variable}=…"
            )
        return problem

    def found(self, settings: Settings) -> str:
        """Return what is set up; a service is not asked without need."""
        model = settings.require_text(f"renderers.{self.name}.model")
        return f"{model} at {self.address(settings)}, not asked"

    def address(self, settings: Settings) -> str:
        """Return where weights and prompts go."""
        return settings.require_text(self.address_key)

    @abstractmethod
    def price(self, settings: Settings, width: int, height: int) -> float | None:
        """Return what one image costs."""

    @abstractmethod
    def service(
        self, settings: Settings, loras: int
    ) -> contextlib.AbstractContextManager[DrawingService]:
        """Return a connection to the service, which can draw with so many LoRAs together.

        Raises:
            RendererError: When it cannot.
        """

    @abstractmethod
    def upload(self, settings: Settings, lora: CheckedLora) -> str:
        """Send the weights and return where the service finds them."""

    @contextlib.contextmanager
    def open(
        self, source: RenderSource, settings: Settings, folder: Path
    ) -> Iterator[HostedSession]:
        """Return a session whose LoRAs were checked, are there, and have an effect.

        Raises:
            RendererError: When something of it is not as it must be.
        """
        loras = checked_loras(source)
        secrets = (token_of(settings, self.token_key),)
        with (
            SessionLog(folder, secrets) as log,
            as_renderer_errors(),
            self.service(settings, len(loras)) as service,
            contextlib.ExitStack() as stack,
        ):
            hosts = functools.cache(lambda base: stack.enter_context(connected(base, self.waiting)))
            for lora in loras:
                log(f"LoRA {lora.name}: {lora.proof}")
            addresses = tuple(self._weights(settings, lora, folder) for lora in loras)
            every_s = settings.number("renderers.pollSeconds")
            session = HostedSession(
                source=source,
                service=service,
                identity=self._identity(service),
                addresses=addresses,
                hosts=hosts,
                patience=lambda limit: Patience(self.waiting, every_s, limit),
                limit_s=settings.number("renderers.timeoutSeconds"),
                folder=folder,
                log=log,
                price=functools.partial(self.price, settings),
                secrets=secrets,
            )
            prove_effect(session.draw, self.probe, len(loras))
            yield session
            session.close()

    def _weights(self, settings: Settings, lora: CheckedLora, folder: Path) -> str:
        """Return where the service finds the weights."""
        template = settings.text(f"renderers.{self.name}.loraUrl")
        if template is None:
            return self.upload(settings, lora)
        if _PLACEHOLDER not in template:
            raise RendererError(
                f"renderers.{self.name}.loraUrl names no {_PLACEHOLDER}, so it would be the same "
                "for every LoRA"
            )
        address = template.replace(_PLACEHOLDER, lora.sha256)
        parts = urlsplit(address)
        where = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme != "https" and not is_loopback(where):
            raise RendererError(f"renderers.{self.name}.loraUrl must be an https address")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        with connected(where, self.waiting) as client:
            data = fetched(client, path, folder)
        found = hashlib.sha256(data).hexdigest()
        if found != lora.sha256:
            raise RendererError(
                f"{where} has other weights than the release: sha256 {found[:12]}…, expected "
                f"{lora.sha256[:12]}…"
            )
        return address

    def _identity(self, service: DrawingService) -> RendererIdentity:
        details = {
            "service": service.address,
            **service.details,
            "version": service.version,
            "revision": _REVISION,
        }
        return RendererIdentity(
            name=self.name,
            version=service.version,
            fingerprint=digest_of(details),
            details=details,
            unproven=(f"which base model {self.name} draws with: it cannot be seen from here",),
        )
