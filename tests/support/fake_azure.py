"""Azure ML's part of the resource manager, and blobs, small and on loopback, for the real clients.

Jobs, environments and datastores are answered as the client's own models have them; a
job that is looked at often enough has left what ``ai_toolkit_start`` leaves.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from tests.support import fake_trainer
from tests.support.fake_web_service import Asked, FakeWebService

TOKEN = "azure-" + "token-FAKE0FAKE1"
STORAGE_KEY = base64.b64encode(b"fake storage key, long enough to be one").decode()
ACCOUNT, CONTAINER = "studio", "blobs"
_WORKSPACE = "/providers/Microsoft.MachineLearningServices/workspaces/ws"
_ENDED = ("Completed", "Failed", "Canceled")


@dataclass
class FakeAzure(FakeWebService):
    """The workspace's state, and what tests tell it.

    Attributes:
        looks: How often a running job is looked at before it has ended.
        ending: Status that a job ends with.
        log: What its program printed.
        weights: What the final file holds.
        promised: Digest that is told for it, when not its own.
        jobs: Bodies of jobs by name, as they were sent.
        blobs: Files of the container by name.
    """

    secret: str = TOKEN
    looks: int = 2
    ending: str = "Completed"
    log: str = (
        "# Running job\nlora:  50%|###  | 2/4 [00:01<00:01, 1.1it/s, lr: 1e-04 loss: 5.0e-01]"
    )
    weights: bytes = field(default_factory=lambda: fake_trainer.weights("good"))
    promised: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def refusal(self, status: int) -> Any:
        """Return an error as the resource manager has it."""
        return {"error": {"code": str(status), "message": f"no, says {self.secret}"}}

    def answer(self, asked: Asked) -> tuple[int, Any] | tuple[int, Any, dict[str, str]]:
        """Return status, document and headers."""
        if asked.path.startswith(f"/{ACCOUNT}/"):
            return self._blob(asked, asked.path.removeprefix(f"/{ACCOUNT}/{CONTAINER}/"))
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, self.refusal(401)
        where = asked.path.partition(_WORKSPACE)[2]
        job = re.fullmatch(r"/jobs/([\w-]+)(/cancel)?", where)
        if job:
            return self._job(asked, job.group(1), cancel=bool(job.group(2)))
        row: dict[str, Any] = {"id": asked.path, "name": asked.path.rpartition("/")[2]}
        if where.startswith("/environments/"):
            return 200, row | {"properties": asked.body["properties"]}
        if where == "/datastores/workspaceblobstore":
            return 200, row | {"properties": _DATASTORE}
        return 404, self.refusal(404)

    def _job(self, asked: Asked, name: str, *, cancel: bool) -> tuple[int, Any]:
        if asked.method == "PUT":
            self.jobs[name] = asked.body["properties"] | {"status": "Queued", "looked": 0}
        job = self.jobs.get(name)
        if job is None:
            return 404, self.refusal(404)
        if cancel:
            job["status"] = "Canceled"
            return 200, {}
        if asked.method == "GET":
            self._work(name, job)
        told = {key: value for key, value in job.items() if key != "looked"}
        return 200, {"id": asked.path, "name": name, "type": "job", "properties": told}

    def _work(self, name: str, job: dict[str, Any]) -> None:
        job["looked"] += 1
        if job["status"] in _ENDED:
            return
        job["status"] = "Running" if job["looked"] <= self.looks else self.ending
        out = f"lora-pipeline/{name}/out"
        self.blobs[f"{out}/log.txt"] = self.log.encode()
        if job["status"] != "Completed":
            return
        digest = self.promised or hashlib.sha256(self.weights).hexdigest()
        row = {"name": f"{name}.safetensors", "bytes": len(self.weights), "sha256": digest,
               "step": None}  # fmt: skip
        self.blobs[f"{out}/{name}.safetensors"] = self.weights
        self.blobs[f"{out}/files.json"] = json.dumps({"files": [row]}).encode()
        self.blobs[f"{out}/ended.json"] = json.dumps({"status": 0, "seconds": 1800}).encode()

    def _blob(self, asked: Asked, name: str) -> tuple[int, Any] | tuple[int, Any, dict[str, str]]:
        if asked.method == "PUT":
            data = asked.body if isinstance(asked.body, bytes) else json.dumps(asked.body).encode()
            said = asked.headers.get("content-md5")
            if said and said != base64.b64encode(hashlib.md5(data).digest()).decode():
                return 400, None
            self.blobs[name] = data
            return 201, None, _HEADERS
        data = self.blobs.get(name, b"")
        if name not in self.blobs:
            return 404, None, {"x-ms-error-code": "BlobNotFound"}
        start, end = _range(asked.headers.get("x-ms-range", "bytes=0-"), len(data))
        if start >= len(data):
            return 416, None, {"x-ms-error-code": "InvalidRange"}
        told = {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        return 206, data[start : end + 1], _HEADERS | told


_HEADERS = {
    "ETag": '"0x1"', "Last-Modified": formatdate(0, usegmt=True), "x-ms-blob-type": "BlockBlob",
    "x-ms-version": "2024-11-04",
}  # fmt: skip
_DATASTORE = {
    "datastoreType": "AzureBlob", "accountName": ACCOUNT, "containerName": CONTAINER,
    "endpoint": "core.windows.net", "protocol": "https",
    "credentials": {"credentialsType": "None"},
}  # fmt: skip


def _range(text: str, length: int) -> tuple[int, int]:
    start, _, end = text.removeprefix("bytes=").partition("-")
    return int(start or 0), min(int(end or length), length - 1)
