"""Replicate and fal as far as drawing needs them: their HTTP interfaces on loopback.

They draw noise that follows from what was asked, know the weights that were uploaded, count what
they would be paid for, and refuse whoever has no key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.support.evaluation_builders import png_of
from tests.support.fake_renderer import noise_picture
from tests.support.faulty_server import FaultyServer, Reply

TOKEN = "r8-correct-horse-battery"
VERSION = "a" * 64


@dataclass
class _FakeDrawing(FaultyServer):
    """What both have.

    Attributes:
        scheme: What stands before the token.
        looks: How often a job is looked at before it has ended.
        fault: How pictures or jobs go wrong.
        jobs: What was asked, by id.
        stored: Weights that were uploaded, by path.
        pictures: Pictures by path.
        stopped: Jobs that were stopped.
        on_pictures: Headers of requests for pictures.
    """

    scheme: str = "Bearer"
    looks: int = 1
    fault: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    on_pictures: list[dict[str, str]] = field(default_factory=list)

    @property
    def paid(self) -> int:
        """How many pictures were asked for."""
        return len(self.jobs)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        """Return what is answered."""
        del query
        elsewhere = self.elsewhere(path)
        if method == "PUT" and path.startswith("/signed/"):
            self.stored[path.replace("/signed/", "/files/")] = body
            elsewhere = Reply(200, b"", "text/plain")
        if elsewhere is not None:
            return elsewhere
        if self.headers[-1].get("authorization") != f"{self.scheme} {TOKEN}":
            return Reply(401, {"detail": "no valid token"})
        return self.route(method, path, body)

    def route(self, method: str, path: str, body: Any) -> Reply:
        """Return what is answered to whoever has the token."""
        raise NotImplementedError

    def elsewhere(self, path: str) -> Reply | None:
        """Answer as another host would: pictures and weights by address, without a token."""
        if path in self.pictures:
            self.on_pictures.append(self.headers[-1])
            return Reply(200, self.pictures[path], "image/png")
        if path in self.stored and self.requests[-1].startswith("GET"):
            return Reply(200, self.stored[path], "application/octet-stream")
        return None

    def take(self, body: dict[str, Any]) -> str:
        """Take a job."""
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs[job_id] = {"body": body, "looked": 0, "status": "waiting"}
        return job_id

    def work(self, job_id: str) -> dict[str, Any]:
        """Go on with a job."""
        job = self.jobs[job_id]
        job["looked"] += 1
        if job["status"] == "waiting" and job["looked"] > self.looks and self.fault != "hangs":
            job["status"] = "failed" if self._strikes(job, "fails") else "ended"
        return job

    def draw(
        self,
        job: dict[str, Any],
        size: tuple[int, int],
        path: str,
        loras: Sequence[tuple[str, float]],
    ) -> str:
        """Draw a job's picture and return its address."""
        kept = {
            key: one for key, one in job["body"].items() if "lora" not in key
        }  # what remains is the base's
        words = json.dumps(kept, sort_keys=True)
        applied = [
            (f"{words}|{hashlib.sha256(self._weights(address)).hexdigest()}", strength)
            for address, strength in loras
        ]
        if self._strikes(job, "no_effect"):
            applied = []
        elif self._strikes(job, "only_one_lora"):
            applied = applied[:1]
        width, height = size
        if self._strikes(job, "wrong_size"):
            height //= 2
        pixels = noise_picture(words, applied, width, height)
        if self._strikes(job, "black"):
            pixels = np.zeros_like(pixels)
        self.pictures[path] = png_of(pixels)
        host = "http://evil.example" if self._strikes(job, "plain_http") else self.address
        return f"{host}{path}"

    def _weights(self, address: str) -> bytes:
        return self.stored[urlsplit(address).path]

    def _strikes(self, job: dict[str, Any], fault: str) -> bool:
        return self.fault == fault and bool(
            job["body"].get("loras") or job["body"].get("lora_weights")
        )


@dataclass
class FakeReplicate(_FakeDrawing):
    """Replicate with one model that draws with LoRA weights.

    Attributes:
        properties: What the model takes.
        lies_about_upload: Whether another digest is told than what was received.
    """

    properties: dict[str, Any] = field(
        default_factory=lambda: {
            "prompt": {"type": "string"},
            "seed": {"type": "integer"},
            "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 50},
            "guidance": {"type": "number", "minimum": 0, "maximum": 10},
            "aspect_ratio": {"allOf": [{"$ref": "#/components/schemas/aspect_ratio"}]},
            "width": {"type": "integer", "minimum": 16, "maximum": 1440},
            "height": {"type": "integer", "minimum": 16, "maximum": 1440},
            "num_outputs": {"type": "integer", "minimum": 1, "maximum": 4},
            "output_format": {"enum": ["webp", "jpg", "png"]},
            "go_fast": {"type": "boolean", "default": True},
            "lora_weights": {"type": "string"},
            "lora_scale": {"type": "number", "minimum": -1, "maximum": 3},
            "extra_lora": {"type": "string"},
            "extra_lora_scale": {"type": "number", "minimum": -1, "maximum": 3},
        }
    )
    lies_about_upload: bool = False

    def route(self, method: str, path: str, body: Any) -> Reply:
        """Return what is answered to whoever has the token."""
        if path == "/v1/files":
            name, data = body["content"]
            self.stored[f"/files/{name}"] = data
            told = "0" * 64 if self.lies_about_upload else hashlib.sha256(data).hexdigest()
            urls = {"get": f"{self.address}/files/{name}"}
            return Reply(
                201, {"id": "f1", "size": len(data), "checksums": {"sha256": told}, "urls": urls}
            )
        if path.startswith("/v1/models/"):
            schemas = {
                "Input": {"properties": self.properties},
                "aspect_ratio": {"enum": ["1:1", "16:9", "custom"]},
            }
            described = {"id": VERSION, "openapi_schema": {"components": {"schemas": schemas}}}
            return Reply(body=described if "/versions/" in path else {"latest_version": described})
        if path == "/v1/predictions":
            return self._predictions(method, body)
        job_id = path.split("/")[3]
        if path.endswith("/cancel"):
            self.stopped.append(job_id)
            return Reply(body={"id": job_id, "status": "canceled"})
        if job_id not in self.jobs:
            return Reply(404, {"detail": "not found"})
        return Reply(body=self._prediction(job_id, self.work(job_id)))

    def _predictions(self, method: str, body: Any) -> Reply:
        if method == "GET":
            rows = [{"id": one, "input": job["body"]} for one, job in self.jobs.items()]
            return Reply(body={"results": rows[::-1]})
        if body["version"] != VERSION or set(body["input"]) - set(self.properties):
            return Reply(422, {"detail": "input: unexpected"})
        return Reply(201, {"id": self.take(body["input"]), "status": "starting"})

    def _prediction(self, job_id: str, job: dict[str, Any]) -> dict[str, Any]:
        if job["status"] == "failed":
            return {"id": job_id, "status": "failed", "error": f"CUDA error, says {TOKEN}"}
        if job["status"] == "waiting":
            return {"id": job_id, "status": "processing"}
        asked = job["body"]
        path = f"/pictures/{job_id}.png"
        loras = [
            (asked[weights], asked[scale])
            for weights, scale in (
                ("lora_weights", "lora_scale"),
                ("extra_lora", "extra_lora_scale"),
            )
            if weights in asked
        ]
        address = self.draw(job, (asked["width"], asked["height"]), path, loras)
        output = [address, address] if self._strikes(job, "two_pictures") else [address]
        return {"id": job_id, "status": "succeeded", "output": output}


@dataclass
class FakeFal(_FakeDrawing):
    """fal's queue and storage, with one endpoint."""

    scheme: str = "Key"

    def route(self, method: str, path: str, body: Any) -> Reply:
        """Return what is answered to whoever has the key."""
        del method
        if path == "/storage/upload/initiate":
            name = body["file_name"]
            return Reply(
                body={
                    "upload_url": f"{self.address}/signed/{name}?sig=abc",
                    "file_url": f"{self.address}/files/{name}",
                }
            )
        if "/requests/" not in path:
            return Reply(body={"request_id": self.take(body), "status": "IN_QUEUE"})
        _, _, rest = path.partition("/requests/")
        job_id, _, verb = rest.partition("/")
        if verb == "cancel":
            self.stopped.append(job_id)
            return Reply(202, {"status": "CANCELLATION_REQUESTED"})
        if job_id not in self.jobs:
            return Reply(404, {"detail": "Request not found"})
        return self._status(job_id) if verb == "status" else self._result(job_id)

    def _status(self, job_id: str) -> Reply:
        job = self.work(job_id)
        if job["status"] == "waiting":
            return Reply(body={"status": "IN_QUEUE", "queue_position": 0})
        return Reply(body={"status": "COMPLETED"})

    def _result(self, job_id: str) -> Reply:
        job = self.jobs[job_id]
        if job["status"] == "failed":
            return Reply(422, {"detail": f"lora: cannot be loaded, says {TOKEN}"})
        asked = job["body"]
        size = (asked["image_size"]["width"], asked["image_size"]["height"])
        loras = [(one["path"], one["scale"]) for one in asked["loras"]]
        address = self.draw(job, size, f"/pictures/{job_id}.png", loras)
        images = [{"url": address, "width": size[0], "height": size[1]}]
        return Reply(
            body={
                "images": images * (2 if self._strikes(job, "two_pictures") else 1),
                "seed": asked["seed"] + self._strikes(job, "other_seed"),
                "has_nsfw_concepts": [self._strikes(job, "held_back")],
            }
        )
