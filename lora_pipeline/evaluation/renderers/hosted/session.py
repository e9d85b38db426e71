"""Cells drawn for money: one job for each picture, never two for the same.

What may exist at the service is written down before it is asked for. So a grid that was killed
takes up the picture that was being drawn, and an answer that was lost is looked for, not repeated.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lora_pipeline.evaluation.orders import OrderBook
from lora_pipeline.evaluation.pixels import is_constant
from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.connection import (
    Patience,
    as_renderer_errors,
    fetched,
)
from lora_pipeline.evaluation.renderers.drawing_session import LONGEST_DOWN_S, DrawingSession
from lora_pipeline.evaluation.renderers.hosted.service import DrawingService, JobView
from lora_pipeline.evaluation.renderers.interface import CellRequest, RenderSource, Strengths
from lora_pipeline.evaluation.renderers.pictures import pixels_of
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    ImageRefusedError,
    PipelineError,
    RendererError,
    ServiceRefusedError,
    ServiceUnreachableError,
)
from lora_pipeline.foundation.files import write_atomic
from lora_pipeline.foundation.loopback import is_confidential, is_loopback
from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.training.hosted.http_client import AnsweredNoError, ServiceClient

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

PENDING = "pending.json"


@dataclass
class HostedSession(DrawingSession):
    """A service that has the LoRAs.

    Attributes:
        source: What is drawn with.
        service: The service.
        identity: What draws.
        addresses: Where the service finds the weights of each LoRA.
        hosts: Returns a client for another host, without our token.
        patience: Makes a new measure of waiting, with a limit.
        limit_s: Longest time without news of a job.
        folder: Private folder of the grid.
        log: Takes lines for the grid's log.
        price: Returns what a picture costs, by its width and height; None where nobody said.
        cautions: What a person should know.
        secrets: Values that a service may say and nobody may read.
    """

    source: RenderSource
    service: DrawingService
    identity: RendererIdentity
    addresses: tuple[str, ...]
    hosts: Callable[[str], ServiceClient]
    patience: Callable[[float], Patience]
    limit_s: float
    folder: Path
    log: Callable[[str], None]
    price: Callable[[int, int], float | None]
    cautions: tuple[str, ...] = ()
    alive: bool = True
    secrets: tuple[str, ...] = ()

    def draw(self, cell: CellRequest, strengths: Strengths) -> Pixels:
        """Return the pixels of a cell, each LoRA at its strength; without any for the base.

        Raises:
            RendererError: When no picture came.
            ImageRefusedError: When another one came than was asked for.
        """
        body = self.service.body(cell, self.addresses, strengths)
        with as_renderer_errors():
            job_id = self._job(body, self.price(cell.width, cell.height) or 0.0)
            try:
                view = self._ended(job_id)
            except KeyboardInterrupt:
                with contextlib.suppress(PipelineError):
                    self.service.stop(job_id)
                self._forget()
                raise
            try:
                pixels = self._pixels(view, cell)
            except (RendererError, ImageRefusedError):
                self._forget()  # it is no good, and must not be taken up again
                raise
        if is_constant(pixels):
            self._forget()
        self.log(f"{cell.cell_id}: job {job_id}")
        return pixels

    def close(self) -> None:
        """Leave nothing behind but the log: the last picture has arrived."""
        self._forget()

    def _job(self, body: Mapping[str, Any], cost: float) -> str:
        """Return the job that draws this: the one that is there, else a new one."""
        digest = digest_of(body)
        pending = self._pending()
        if pending.get("request") == digest:
            found = pending.get("id") or self.service.find(body)
            if found:
                self.log(f"job {found} was asked for before, it is taken up")
                self._note(digest, found)
                return found
        self._note(digest, "")
        orders = OrderBook(self.folder)
        orders.add(cost)
        try:
            job_id = self.service.submit(body)
        except AnsweredNoError:
            orders.take_back(cost)
            raise
        except ServiceUnreachableError as error:
            found = self.service.find(body)
            if found is None:
                raise RendererError(
                    f"{error.message}; it is not known whether the picture is drawn and paid for",
                    hint="the same command again asks for it anew",
                ) from error
            job_id = found
        self._note(digest, job_id)
        return job_id

    def _ended(self, job_id: str) -> JobView:
        patience, down = self.patience(self.limit_s), self.patience(LONGEST_DOWN_S)
        last: JobView | None = None
        while True:
            try:
                view = self.service.look(job_id)
            except ServiceUnreachableError:
                if down.over or patience.over:
                    self.alive = False
                    raise
                patience.wait()
                continue
            except ServiceRefusedError:
                self._forget()  # it is not there any more; the next time it is asked for anew
                raise
            down.renew()
            if view.state in {"ended", "failed"}:
                return view
            if view != last:
                last = view
                patience.renew()
            if patience.over:
                self.service.stop(job_id)
                self._forget()
                raise RendererError(
                    f"{self.identity.name} told nothing new of the picture for {self.limit_s:g} s, "
                    "it was stopped"
                )
            patience.wait()

    def _pixels(self, view: JobView, cell: CellRequest) -> Pixels:
        if view.state == "failed":
            message = redacted(view.message, self.secrets)
            raise RendererError(f"{self.identity.name} did not draw it: {message}")
        if len(view.pictures) != 1:
            raise RendererError(
                f"{self.identity.name} brought {len(view.pictures)} pictures, one was asked for"
            )
        if view.seed is not None and view.seed != cell.seed:
            raise RendererError(
                f"{self.identity.name} drew seed {view.seed}, asked for was {cell.seed}"
            )
        parts = urlsplit(view.pictures[0])
        base = f"{parts.scheme}://{parts.netloc}"
        # A service elsewhere has no business naming a picture on this machine.
        plain = parts.scheme == "http" and not is_loopback(self.service.address)
        if plain or not is_confidential(base):
            raise RendererError(f"{self.identity.name} names a picture at no https address")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        # Another host: it is given no token.
        return pixels_of(fetched(self.hosts(base), path, self.folder), cell)

    def _pending(self) -> dict[str, str]:
        try:
            document = json.loads((self.folder / PENDING).read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def _note(self, digest: str, job_id: str) -> None:
        text = json.dumps({"request": digest, "id": job_id})
        write_atomic(self.folder / PENDING, text.encode())

    def _forget(self) -> None:
        (self.folder / PENDING).unlink(missing_ok=True)
