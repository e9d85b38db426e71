"""Cells drawn by a ComfyUI server: sent, waited for, fetched, and known again after anything.

Each cell is one job under an id that follows from the cell, so that a grid that was killed finds
its job again. A server that restarted has forgotten it; then, and only then, it is sent again.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.comfyui_request import FOLDER, Workflow
from lora_pipeline.evaluation.renderers.comfyui_server import ComfyServer, Ended
from lora_pipeline.evaluation.renderers.connection import Patience, as_renderer_errors
from lora_pipeline.evaluation.renderers.interface import CellRequest
from lora_pipeline.evaluation.renderers.pictures import pixels_of, write_picture
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    PipelineError,
    RendererError,
    ServiceRefusedError,
    ServiceUnreachableError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_NAMES = uuid.UUID("3f0b6d1e-7c0f-4f57-9a55-3d7c3b8a5c11")
_MOST_SENDINGS = 3
_LOOKS_UNTIL_GONE = 2
_LONGEST_DOWN_S = 300.0


@dataclass
class ComfySession:
    """A server that has the workflow, the base and the LoRA.

    Attributes:
        server: The server.
        workflow: What is drawn.
        identity: What draws, and on what.
        fingerprint: Returns the fingerprint of what draws now.
        patience: Makes a new measure of waiting, with a limit.
        limit_s: Longest time without news of a job.
        folder: Private folder of the grid; its name is the evaluation's.
        log: Takes lines for the grid's log.
        cautions: What a person should know.
    """

    server: ComfyServer
    workflow: Workflow
    identity: RendererIdentity
    fingerprint: Callable[[], str]
    patience: Callable[[float], Patience]
    limit_s: float
    folder: Path
    log: Callable[[str], None]
    cautions: tuple[str, ...] = ()
    alive: bool = True
    _client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    _witness: str = ""

    def render(self, cell: CellRequest, target: Path) -> None:
        """Draw one cell as a PNG at ``target``.

        Raises:
            RendererError: When no image came.
        """
        write_picture(self.draw(cell, with_lora=cell.strength > 0), target)

    def draw(self, cell: CellRequest, *, with_lora: bool) -> Pixels:
        """Return the pixels of a cell.

        Raises:
            RendererError: When no picture came.
            ImageRefusedError: When another one came than was asked for.
        """
        request = self.workflow.request(cell, with_lora=with_lora)
        with as_renderer_errors():
            return pixels_of(self._bytes(cell, request), cell)

    def _bytes(self, cell: CellRequest, request: Mapping[str, dict[str, Any]]) -> bytes:
        key = f"{self.folder.name}/{digest_of(request)}"
        sendings = 0
        for attempt in itertools.count():
            prompt_id = str(uuid.uuid5(_NAMES, f"{key}/{attempt}"))
            name = f"{cell.cell_id}-{prompt_id[:8]}"
            asked = self.workflow.saved_as(request, name)
            ended = self._known(prompt_id)
            if ended is not None and (ended.error or ended.graph != asked):
                continue  # that one was tried before; its entry stays in the server's history
            if ended is None:
                if sendings == _MOST_SENDINGS:
                    break
                sendings += 1
                ended = self._run(asked, prompt_id)
            data = None if ended is None else self._picture(ended, name)
            if data is not None:
                self._witness = prompt_id
                self.log(f"{cell.cell_id}: job {prompt_id}, {len(data)} bytes")
                return data
        raise RendererError(
            f"ComfyUI lost the job {_MOST_SENDINGS} times", hint="see the server's own log"
        )

    def _known(self, prompt_id: str) -> Ended | None:
        patience = self.patience(min(self.limit_s, _LONGEST_DOWN_S))
        while True:
            try:
                return self.server.ended(prompt_id)
            except ServiceUnreachableError:
                if patience.over:
                    self.alive = False
                    raise
                patience.wait()

    def _run(self, graph: Mapping[str, Any], prompt_id: str) -> Ended | None:
        """Send a job unless it is there, and wait for it; None when the server forgot it."""
        try:
            if self.server.queued(prompt_id) is None:
                with contextlib.suppress(ServiceUnreachableError):
                    # Whether it took it is seen in its queue and history.
                    self.server.submit(graph, prompt_id, self._client_id)
            ended = self._wait(prompt_id)
        except BaseException:
            # Nobody would take the picture; whoever else draws there need not wait for it.
            with contextlib.suppress(PipelineError):
                self.server.cancel(prompt_id)
            raise
        if ended is not None and ended.error:
            raise RendererError(f"ComfyUI: {ended.error}")
        return ended

    def _wait(self, prompt_id: str) -> Ended | None:
        patience, down = self.patience(self.limit_s), self.patience(_LONGEST_DOWN_S)
        place: tuple[str, int] | None = None
        missing = 0
        while True:
            try:
                ended = self.server.ended(prompt_id)
                if ended is not None:
                    return ended
                before, place = place, self.server.queued(prompt_id)
            except ServiceUnreachableError:
                if down.over or patience.over:
                    self.alive = False
                    raise
                patience.wait()
                continue
            down.renew()
            if place != before:
                patience.renew()
            missing = missing + 1 if place is None else 0
            if missing == _LOOKS_UNTIL_GONE:
                self._explain_absence()
                return None
            if patience.over:
                raise RendererError(_too_long(place, self.limit_s))
            patience.wait()

    def _explain_absence(self) -> None:
        """Say what it means that a job is neither queued nor done."""
        if self._witness and self.server.ended(self._witness) is not None:
            raise RendererError("somebody took the job out of ComfyUI's queue")
        # A server that knows none of our jobs any more was started anew: perhaps another one.
        if self.identity.fingerprint and self.fingerprint() != self.identity.fingerprint:
            self.alive = False
            raise RendererError("ComfyUI was restarted with other versions or settings")
        self.log("the server has forgotten its jobs, this one is sent again")

    def _picture(self, ended: Ended, name: str) -> bytes | None:
        """Return the picture of a job; None when its file is not there any more."""
        output = ended.outputs.get(self.workflow.roles.output)
        images = output.get("images") if isinstance(output, dict) else None
        if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], dict):
            raise RendererError(
                f"ComfyUI ended the job with {len(images) if isinstance(images, list) else 'no'} "
                "pictures, one was asked for"
            )
        where = images[0]
        own = str(where.get("filename", "")).startswith(f"{name}_")
        if not own or where.get("subfolder") != FOLDER or where.get("type") != "output":
            raise RendererError(
                f"ComfyUI names a picture that is not ours: {where.get('filename')}"
            )
        try:
            data = self.server.picture(where, self.folder)
        except ServiceRefusedError as error:
            if getattr(error, "status", None) != 404:
                raise
            self.log(f"{where.get('filename')} is not there any more, it is drawn again")
            return None
        if not data:
            raise RendererError("ComfyUI sent an empty picture")
        return data


def _too_long(place: tuple[str, int] | None, limit_s: float) -> str:
    if place is not None and place[0] == "waiting":
        jobs = "1 job" if place[1] == 1 else f"{place[1]} jobs"
        return f"nothing moved in ComfyUI's queue for {limit_s:g} s, {jobs} of others stand before"
    return f"ComfyUI did not end the job within {limit_s:g} s"
