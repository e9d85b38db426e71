"""Replicate, real but small: the part of its HTTP interface that trainings need, on loopback."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import fake_trainer
from tests.support.fake_web_service import Asked, FakeWebService, running

TOKEN = "r8_" + "Clear0Clear1Clear2Clear3"
VERSION = "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2"
TRAINER = "ostris/flux-dev-lora-trainer"
PAGE = 2


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return a tar as a training leaves it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@dataclass
class FakeReplicate(FakeWebService):
    """The service's state.

    Attributes:
        looks: How often a training is looked at before it has ended.
        ending: State that it ends with.
        error: What it says then.
        weights: What is in the archive, by name.
        stays: While set, trainings stay under way.
        forgets_inputs: While set, trainings are shown without their inputs.
        expired: So many addresses of weights are dead before one is good.
        seconds: Time between start and end of a training.
    """

    secret: str = TOKEN
    looks: int = 2
    ending: str = "succeeded"
    error: str | None = None
    weights: Mapping[str, bytes] = field(
        default_factory=lambda: {
            "output/flux_train_replicate/config.yaml": b"job: custom_job\n",
            "output/flux_train_replicate/lora.safetensors": fake_trainer.weights("good"),
        }
    )
    archive: bytes = b""
    stays: bool = False
    forgets_inputs: bool = False
    expired: int = 0
    seconds: float = 600.0
    leaves: Any = "weights"
    trainings: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploaded: int = 0

    def __post_init__(self) -> None:
        self.models[TRAINER] = self._model(TRAINER, "public")

    def refusal(self, status: int) -> Any:
        """Return a problem as RFC 7807 has it."""
        return {"title": "No", "detail": f"no, says {self.secret}", "status": status}

    def images(self) -> dict[str, bytes]:
        """Return what is in the one zip that is there."""
        ((_, data),) = [(key, one["data"]) for key, one in self.files.items()]
        with zipfile.ZipFile(io.BytesIO(data)) as parcel:
            return {name: parcel.read(name) for name in parcel.namelist()}

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Return status and document."""
        if asked.path.startswith("/weights/"):
            return self._weights(asked.path)
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"title": "Unauthenticated", "detail": "no such token", "status": 401}
        if asked.path == "/v1/account":
            return 200, {"type": "user", "username": "studio", "name": "A", "github_url": None}
        for pattern, verb in (
            (r"/v1/files(?:/(?P<id>\w+))?", self._files),
            (r"/v1/models(?:/(?P<id>[\w-]+/[\w-]+))?", self._models),
            (r"/v1/models/(?P<id>[\w-]+/[\w-]+)/versions/(?P<version>\w+)", self._version),
            (r"/v1/models/[\w/-]+/versions/(?P<version>\w+)/trainings", self._create),
            (r"/v1/trainings(?:/(?P<id>\w+))?(?P<cancel>/cancel)?", self._trainings),
        ):
            found = re.fullmatch(pattern, asked.path)
            if found:
                return verb(asked, found.groupdict())
        return 404, {"title": "Not found", "status": 404}

    def _files(self, asked: Asked, names: dict[str, str | None]) -> tuple[int, Any]:
        if asked.method == "DELETE":
            return (204, None) if self.files.pop(str(names["id"]), None) else (404, {})
        name, data = asked.body["content"]
        self.uploaded += 1
        file_id = f"file{self.uploaded}"
        self.files[file_id] = {"data": data, "metadata": json.loads(asked.body["metadata"])}
        return 201, {
            "id": file_id, "name": name, "content_type": "application/zip", "size": len(data),
            "etag": "", "checksums": {}, "metadata": {}, "created_at": _now(), "expires_at": None,
            "urls": {"get": f"{self.address}/v1/files/{file_id}"},
        }  # fmt: skip

    def _models(self, asked: Asked, names: dict[str, str | None]) -> tuple[int, Any]:
        if asked.method == "POST":
            key = f"{asked.body['owner']}/{asked.body['name']}"
            if key in self.models:
                return 409, {"title": "Conflict", "status": 409}
            self.models[key] = self._model(key, asked.body["visibility"])
            return 201, self.models[key]
        model = self.models.get(str(names["id"]))
        return (200, model) if model else (404, {"title": "Not found", "status": 404})

    def _version(self, _: Asked, names: dict[str, str | None]) -> tuple[int, Any]:
        if names["version"] != VERSION:
            return 404, {"title": "Not found", "status": 404}
        return 200, _version(VERSION)

    def _create(self, asked: Asked, names: dict[str, str | None]) -> tuple[int, Any]:
        destination = asked.body["destination"]
        if destination not in self.models:
            return 404, {"title": "Not found", "detail": "no such destination", "status": 404}
        number = len(self.trainings) + 1
        training = {
            "id": f"training{number}", "model": TRAINER, "version": names["version"],
            "status": "starting", "input": asked.body["input"], "output": None, "logs": "",
            "error": None, "created_at": _now(), "started_at": None, "completed_at": None,
            "urls": {}, "looked": 0,
        }  # fmt: skip
        self.trainings[training["id"]] = training
        return 201, self._shown(training)

    def _trainings(self, asked: Asked, names: dict[str, str | None]) -> tuple[int, Any]:
        if names["id"] is None:
            return 200, self._page(int(asked.query.get("cursor", "0")))
        training = self.trainings.get(str(names["id"]))
        if training is None:
            return 404, {"title": "Not found", "detail": "no such training", "status": 404}
        if names["cancel"]:
            training.update(status="canceled", completed_at=_now(self.seconds))
        else:
            self._work(training)
        return 200, self._shown(training)

    def _page(self, start: int) -> Any:
        rows = [self._shown(one) for one in reversed(self.trainings.values())]
        more = f"https://api.replicate.com/v1/trainings?cursor={start + PAGE}"
        return {
            "previous": None,
            "next": more if start + PAGE < len(rows) else None,
            "results": rows[start : start + PAGE],
        }

    def _shown(self, training: dict[str, Any]) -> dict[str, Any]:
        hidden: dict[str, Any] = {"input": {}} if self.forgets_inputs else {}
        return {key: one for key, one in training.items() if key != "looked"} | hidden

    def _work(self, training: dict[str, Any]) -> None:
        if training["status"] not in {"starting", "processing"}:
            return
        training.update(status="processing", started_at=training["started_at"] or _now())
        if self.stays:
            return
        training["looked"] += 1
        steps = training["input"]["steps"]
        step = min(steps, training["looked"])
        training["logs"] += (
            f"\rflux_train_replicate:  50%|#####     | {step}/{steps} "
            f"[00:01<00:01,  1.16it/s, lr: 1.0e-04 loss: {1 / step:.3e}]\n"
        )
        if training["looked"] > self.looks:
            address = f"{self.address}/weights/{training['id']}-0.tar?signature=abcdef"
            good = {"version": f"studio/lora:{VERSION}", "weights": address}
            training.update(
                status=self.ending,
                error=self.error,
                output=good if self.leaves == "weights" else self.leaves,
                completed_at=_now(self.seconds),
            )

    def _weights(self, path: str) -> tuple[int, Any]:
        number = int(path.rpartition("-")[2].removesuffix(".tar"))
        if number < self.expired:
            # Whoever asks for the training again is told another address.
            for training in self.trainings.values():
                if training["output"]:
                    address = f"{self.address}/weights/{training['id']}-{number + 1}.tar"
                    training["output"]["weights"] = address
            return 403, {"error": "Request has expired"}
        return 200, self.archive or tar_of(self.weights)

    def _model(self, key: str, visibility: str) -> dict[str, Any]:
        owner, _, name = key.partition("/")
        return {
            "url": f"https://replicate.com/{key}", "owner": owner, "name": name,
            "visibility": visibility, "run_count": 1, "latest_version": _version(VERSION),
        }  # fmt: skip


def _version(version: str) -> dict[str, Any]:
    return {
        "id": version, "created_at": "2025-06-04T10:00:00Z", "cog_version": "0.9",
        "openapi_schema": {},
    }  # fmt: skip


def _now(later_s: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later_s)).isoformat().replace("+00:00", "Z")


@contextlib.contextmanager
def running_replicate() -> Iterator[FakeReplicate]:
    """Run Replicate on a free port for the time of the block."""
    with running(FakeReplicate()) as service:
        yield service
