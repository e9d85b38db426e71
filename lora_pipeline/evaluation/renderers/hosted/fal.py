"""The renderer ``fal``: an endpoint at fal that draws with LoRA weights, through its queue."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from lora_pipeline.evaluation.renderers.connection import (
    connected,
    require_mapping,
    require_token,
)
from lora_pipeline.evaluation.renderers.hosted.renderer import HostedRenderer
from lora_pipeline.evaluation.renderers.hosted.service import JobView, State
from lora_pipeline.evaluation.renderers.interface import CellRequest, Strengths
from lora_pipeline.evaluation.renderers.lora_file import CheckedLora
from lora_pipeline.foundation.errors import RendererError
from lora_pipeline.foundation.loopback import is_confidential
from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.training.hosted.http_client import AnsweredNoError, ServiceClient
from lora_pipeline.workspace.settings import Settings

_INITIATE = "/storage/upload/initiate?storage_type=fal-cdn-v3"
_MEGAPIXEL = 1_000_000


@dataclass
class FalRenderer(HostedRenderer):
    """Draws at fal."""

    name: str = "fal"
    summary: str = "an endpoint at fal that draws with LoRA weights, for money"
    token_key: str = "trainers.fal.keyVariable"  # noqa: S105 - a name
    address_key: str = "trainers.fal.baseUrl"

    def price(self, settings: Settings, width: int, height: int) -> float | None:
        """Return what one image costs."""
        each = settings.number("renderers.fal.pricePerMegapixel")
        return each * width * height / _MEGAPIXEL or None

    @contextlib.contextmanager
    def service(self, settings: Settings, loras: int) -> Iterator[FalDrawing]:  # noqa: ARG002
        """Return a connection to the queue; endpoints take a list of LoRAs."""
        endpoint = settings.require_text("renderers.fal.model").strip("/")
        with self._client(settings, self.address_key) as client:
            yield FalDrawing(client, endpoint)

    def upload(self, settings: Settings, lora: CheckedLora) -> str:
        """Send the weights to fal's storage and return their address there."""
        body = {"content_type": "application/octet-stream", "file_name": lora.name}
        with self._client(settings, "trainers.fal.storageUrl") as client:
            answer = require_mapping(client.act("POST", _INITIATE, body), client.base, _INITIATE)
            places = [str(answer.get(name) or "") for name in ("upload_url", "file_url")]
        if not all(map(is_confidential, places)):
            raise RendererError("fal does not say where the weights go")
        parts = urlsplit(places[0])
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        # The address is signed; it is given no key besides.
        with connected(f"{parts.scheme}://{parts.netloc}", self.waiting) as client:
            client.put(path, lora.path)
        return places[1]

    @contextlib.contextmanager
    def _client(self, settings: Settings, address_key: str) -> Iterator[ServiceClient]:
        with connected(
            settings.require_text(address_key),
            self.waiting,
            token=require_token(settings, self.token_key),
            variable=settings.require_text(self.token_key),
            scheme="Key",
        ) as client:
            yield client


@dataclass
class FalDrawing:
    """An endpoint at fal.

    Attributes:
        client: Speaks to the queue.
        endpoint: ``owner/name``, with what may come behind it.
        version: Endpoints have none.
    """

    client: ServiceClient
    endpoint: str
    version: str = "unknown"

    @property
    def address(self) -> str:
        """Where it is."""
        return self.client.base

    @property
    def details(self) -> Mapping[str, Any]:
        """Which endpoint it is."""
        return {"model": self.endpoint}

    def body(self, cell: CellRequest, loras: Sequence[str], strengths: Strengths) -> dict[str, Any]:
        """Return what asks for a cell.

        Raises:
            RendererError: When the endpoint does not take what the cell needs.
        """
        if cell.sampler != "default":
            raise RendererError(f"sampler {cell.sampler!r} does not go with {self.endpoint}")
        if cell.negative:
            raise RendererError(f"{self.endpoint} takes no negative prompt; leave it out")
        if cell.width % 16 or cell.height % 16:
            raise RendererError(
                f"{cell.width} x {cell.height} does not go with {self.endpoint}: multiples of 16 do"
            )
        return {
            "prompt": cell.prompt,
            "seed": cell.seed,
            "num_inference_steps": cell.steps,
            "guidance_scale": cell.guidance,
            "image_size": {"width": cell.width, "height": cell.height},
            "num_images": 1,
            "output_format": "png",
            "loras": [
                {"path": path, "scale": scale}
                for path, scale in zip(loras, strengths, strict=False)
            ],
        }

    def submit(self, body: Mapping[str, Any]) -> str:
        """Ask for a picture."""
        path = f"/{quote(self.endpoint)}"
        answer = require_mapping(self.client.act("POST", path, body), self.address, path)
        if not isinstance(answer.get("request_id"), str):
            raise RendererError("fal took the job and did not say its id")
        return str(answer["request_id"])

    def find(self, body: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """Return None: fal lists no requests."""
        return None

    def look(self, job_id: str) -> JobView:
        """Return how a job stands."""
        path = self._path(job_id)
        answer = require_mapping(self.client.read(f"{path}/status"), self.address, path)
        status = str(answer.get("status"))
        if status != "COMPLETED":
            state: State = "waiting" if status == "IN_QUEUE" else "running"
            return JobView(state, place=f"{status} {answer.get('queue_position', '')}")
        if answer.get("error"):
            return JobView("failed", message=_clean(answer["error"]))
        return self._result(path)

    def stop(self, job_id: str) -> None:
        """Stop a job."""
        with contextlib.suppress(AnsweredNoError):  # it has ended already
            self.client.tell("PUT", f"{self._path(job_id)}/cancel")

    def _result(self, path: str) -> JobView:
        try:
            answer = require_mapping(self.client.read(path), self.address, path)
        except AnsweredNoError as error:
            # A job that failed is told as a refusal of its result.
            return JobView("failed", message=_clean(error.message))
        if any(answer.get("has_nsfw_concepts") or []):
            return JobView("failed", message="its safety checker held the picture back")
        images = answer.get("images")
        pictures = [
            str(one["url"])
            for one in (images if isinstance(images, list) else [])
            if isinstance(one, dict) and "url" in one
        ]
        seed = answer.get("seed")
        return JobView("ended", pictures=tuple(pictures), seed=seed if type(seed) is int else None)

    def _path(self, job_id: str) -> str:
        # Requests stand below owner/name, whatever comes behind it in the endpoint.
        owner_and_name = "/".join(self.endpoint.split("/")[:2])
        return f"/{quote(owner_and_name)}/requests/{quote(job_id, safe='')}"


def _clean(reason: Any) -> str:
    return redacted(" ".join(str(reason).split()))[:200]
