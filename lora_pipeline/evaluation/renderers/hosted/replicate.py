"""The renderer ``replicate``: a model at Replicate that draws with LoRA weights."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lora_pipeline.evaluation.renderers.connection import (
    connected,
    require_mapping,
    require_token,
)
from lora_pipeline.evaluation.renderers.hosted.renderer import HostedRenderer
from lora_pipeline.evaluation.renderers.hosted.replicate_inputs import ModelInputs
from lora_pipeline.evaluation.renderers.hosted.service import JobView, State
from lora_pipeline.evaluation.renderers.interface import CellRequest, Strengths
from lora_pipeline.evaluation.renderers.lora_file import CheckedLora
from lora_pipeline.foundation.errors import RendererError
from lora_pipeline.foundation.loopback import is_confidential
from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.training.hosted.http_client import ServiceClient
from lora_pipeline.workspace.settings import Settings

_MODEL = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::([0-9a-f]{40,64}))?")
_STATES: Mapping[str, State] = {
    "starting": "waiting", "queued": "waiting", "processing": "running", "succeeded": "ended",
    "failed": "failed", "canceled": "failed", "aborted": "failed",
}  # fmt: skip


@dataclass
class ReplicateRenderer(HostedRenderer):
    """Draws at Replicate."""

    name: str = "replicate"
    summary: str = "a model at Replicate that draws with LoRA weights, for money"
    token_key: str = "trainers.replicate.tokenVariable"  # noqa: S105 - a name
    address_key: str = "trainers.replicate.baseUrl"

    def price(self, settings: Settings, width: int, height: int) -> float | None:  # noqa: ARG002
        """Return what one image costs."""
        return settings.number("renderers.replicate.pricePerImage") or None

    @contextlib.contextmanager
    def service(self, settings: Settings, loras: int) -> Iterator[ReplicateDrawing]:
        """Return a connection, with the model's own description read."""
        with self._client(settings) as client:
            drawing = _drawing(client, settings.require_text("renderers.replicate.model"))
            drawing.inputs.require_takes(loras)
            yield drawing

    def upload(self, settings: Settings, lora: CheckedLora) -> str:
        """Send the weights to Replicate's files and return their address there."""
        with self._client(settings) as client:
            answer = client.upload("/v1/files", {}, [(lora.name, lora.path)], field="content")
            answer = require_mapping(answer, client.base, "/v1/files")
            told = (answer.get("checksums") or {}).get("sha256")
            if told is not None and str(told).lower() != lora.sha256:
                raise RendererError("Replicate received other weights than were sent")
            if answer.get("size") not in {None, lora.report.bytes}:
                raise RendererError(f"Replicate received {answer['size']} bytes of the weights")
            address = (answer.get("urls") or {}).get("get")
        if not isinstance(address, str) or not is_confidential(address):
            raise RendererError("Replicate does not say where it keeps the weights")
        return address

    @contextlib.contextmanager
    def _client(self, settings: Settings) -> Iterator[ServiceClient]:
        with connected(
            settings.require_text(self.address_key),
            self.waiting,
            token=require_token(settings, self.token_key),
            variable=settings.require_text(self.token_key),
        ) as client:
            yield client


@dataclass
class ReplicateDrawing:
    """A model at Replicate.

    Attributes:
        client: Speaks to it.
        inputs: What the model takes.
        version: Id of its version.
    """

    client: ServiceClient
    inputs: ModelInputs
    version: str

    @property
    def address(self) -> str:
        """Where it is."""
        return self.client.base

    @property
    def details(self) -> Mapping[str, Any]:
        """Which model it is."""
        return {"model": self.inputs.model}

    def body(self, cell: CellRequest, loras: Sequence[str], strengths: Strengths) -> dict[str, Any]:
        """Return what asks for a cell."""
        return self.inputs.body(cell, loras, strengths)

    def submit(self, body: Mapping[str, Any]) -> str:
        """Ask for a picture."""
        asked = {"version": self.version, "input": body}
        answer = require_mapping(
            self.client.act("POST", "/v1/predictions", asked), self.address, "/v1/predictions"
        )
        if not isinstance(answer.get("id"), str):
            raise RendererError("Replicate took the job and did not say its id")
        return str(answer["id"])

    def find(self, body: Mapping[str, Any]) -> str | None:
        """Return the newest of the account's recent jobs that asks for exactly that."""
        answer = self.client.read("/v1/predictions")
        rows = answer.get("results") if isinstance(answer, dict) else None
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and row.get("input") == body and row.get("id"):
                return str(row["id"])
        return None

    def look(self, job_id: str) -> JobView:
        """Return how a job stands."""
        path = f"/v1/predictions/{quote(job_id, safe='')}"
        answer = require_mapping(self.client.read(path), self.address, path)
        status = str(answer.get("status"))
        state = _STATES.get(status, "failed")
        output = answer.get("output")
        pictures = output if isinstance(output, list) else [output] if output else []
        reason = str(answer.get("error") or status)
        return JobView(
            state=state,
            message=redacted(" ".join(reason.split()))[:200],
            pictures=tuple(map(str, pictures)) if state == "ended" else (),
            place=status,
        )

    def stop(self, job_id: str) -> None:
        """Stop a job."""
        self.client.tell("POST", f"/v1/predictions/{quote(job_id, safe='')}/cancel")


def _drawing(client: ServiceClient, named: str) -> ReplicateDrawing:
    match = _MODEL.fullmatch(named)
    if match is None:
        raise RendererError(
            f"renderers.replicate.model is {named!r}, which is neither owner/name nor "
            "owner/name:version"
        )
    model, version = match[1], match[2]
    path = f"/v1/models/{model}" + (f"/versions/{version}" if version else "")
    answer = require_mapping(client.read(path), client.base, path)
    described = answer if version else answer.get("latest_version")
    described = described if isinstance(described, dict) else {}
    schemas = ((described.get("openapi_schema") or {}).get("components") or {}).get("schemas") or {}
    properties = (schemas.get("Input") or {}).get("properties")
    if not isinstance(properties, dict) or not isinstance(described.get("id"), str):
        raise RendererError(f"{model} at Replicate does not say what it takes")
    return ReplicateDrawing(client, ModelInputs(model, properties, schemas), described["id"])
