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

from lora_pipeline.evaluation.pixels import is_constant
from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.comfyui.request import Workflow
from lora_pipeline.evaluation.renderers.comfyui.server import ComfyServer, Ended
from lora_pipeline.evaluation.renderers.connection import Patience, as_renderer_errors
from lora_pipeline.evaluation.renderers.drawing_session import LONGEST_DOWN_S, DrawingSession
from lora_pipeline.evaluation.renderers.interface import CellRequest, RenderSource, Strengths
from lora_pipeline.evaluation.renderers.pictures import pixels_of
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    ImageRefusedError,
    PipelineError,
    RendererError,
    ServiceUnreachableError,
)
from lora_pipeline.training.hosted.http_client import AnsweredNoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_NAMES = uuid.UUID("3f0b6d1e-7c0f-4f57-9a55-3d7c3b8a5c11")
_MOST_SENDINGS = 3
_LOOKS_UNTIL_GONE = 2


@dataclass
class ComfySession(DrawingSession):
    """A server that has the workflow, the base and the LoRAs.

    Attributes:
        source: What is drawn with.
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

    source: RenderSource
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

    def draw(self, cell: CellRequest, strengths: Strengths) -> Pixels:
        """Return the pixels of a cell, each LoRA at its strength; without any for the base.

        Raises:
            RendererError: When no picture came.
            ImageRefusedError: When another one came than was asked for.
        """
        request = self.workflow.request(cell, strengths)
        with as_renderer_errors():
            return self._drawn(cell, request)

    def _drawn(self, cell: CellRequest, request: Mapping[str, dict[str, Any]]) -> Pixels:
        key = f"{self.folder.name}/{digest_of(request)}"
        sendings = 0
        for attempt in itertools.count():
            prompt_id = str(uuid.uuid5(_NAMES, f"{key}/{attempt}"))
            asked = self.workflow.saved_as(request, f"{cell.cell_id}-{prompt_id[:8]}")
            known = self._known(prompt_id)
            if known is not None:
                pixels = self._taken_up(known, asked, cell)
            elif sendings < _MOST_SENDINGS:
                sendings += 1
                ended = self._run(asked, prompt_id)
                pixels = None if ended is None else self._picture(ended, asked, cell)
            else:
                break
            if pixels is not None:
                self._witness = prompt_id
                self.log(f"{cell.cell_id}: job {prompt_id}")
                return pixels
        raise RendererError(
            f"ComfyUI lost the job {_MOST_SENDINGS} times", hint="see the server's own log"
        )

    def _taken_up(
        self, ended: Ended, asked: Mapping[str, dict[str, Any]], cell: CellRequest
    ) -> Pixels | None:
        """Return the picture of a job that was sent before; None when it brought no good one.

        What failed stays in the server's history, and must not fail the same cell for ever.
        """
        if ended.error or ended.graph != asked:
            return None
        try:
            pixels = self._picture(ended, asked, cell)
        except (RendererError, ImageRefusedError):
            return None
        return None if pixels is None or is_constant(pixels) else pixels

    def _known(self, prompt_id: str) -> Ended | None:
        patience = self.patience(min(self.limit_s, LONGEST_DOWN_S))
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
            taken = self.server.queued(prompt_id) is not None or self._submitted(graph, prompt_id)
            ended = self._wait(prompt_id, taken=taken)
        except BaseException:
            # Nobody would take the picture; whoever else draws there need not wait for it.
            with contextlib.suppress(PipelineError):
                self.server.cancel(prompt_id)
            raise
        if ended is not None and ended.error:
            raise RendererError(f"ComfyUI: {ended.error}")
        return ended

    def _submitted(self, graph: Mapping[str, Any], prompt_id: str) -> bool:
        """Send a job and return whether the server said that it took it."""
        try:
            self.server.submit(graph, prompt_id, self._client_id)
        except ServiceUnreachableError as error:
            self.log(f"{error.message}; its queue and history will tell")
            return False
        return True

    def _wait(self, prompt_id: str, *, taken: bool) -> Ended | None:
        patience, down = self.patience(self.limit_s), self.patience(LONGEST_DOWN_S)
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
                if taken:
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

    def _picture(
        self, ended: Ended, asked: Mapping[str, dict[str, Any]], cell: CellRequest
    ) -> Pixels | None:
        """Return the picture of a job; None when its file is not there any more."""
        node = self.workflow.roles.output
        output = ended.outputs.get(node)
        images = output.get("images") if isinstance(output, dict) else None
        if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], dict):
            raise RendererError(
                f"ComfyUI ended the job with {len(images) if isinstance(images, list) else 'no'} "
                "pictures, one was asked for"
            )
        where, prefix = images[0], str(asked[node]["inputs"]["filename_prefix"])
        named = f"{where.get('subfolder')}/{where.get('filename')}"
        if not named.startswith(f"{prefix}_") or where.get("type") != "output":
            raise RendererError(
                f"ComfyUI names a picture that is not ours: {where.get('filename')}"
            )
        try:
            data = self.server.picture(where, self.folder)
        except AnsweredNoError as error:
            if error.status != 404:
                raise
            self.log(f"{named} is not there any more, it is drawn again")
            return None
        if not data:
            raise RendererError("ComfyUI sent an empty picture")
        return pixels_of(data, cell)


def _too_long(place: tuple[str, int] | None, limit_s: float) -> str:
    if place is not None and place[0] == "waiting":
        jobs = "1 job" if place[1] == 1 else f"{place[1]} jobs"
        return f"nothing moved in ComfyUI's queue for {limit_s:g} s, {jobs} of others stand before"
    return f"ComfyUI did not end the job within {limit_s:g} s"
