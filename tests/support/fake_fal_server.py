"""fal, real but small: queue, storage and files on one address, on loopback."""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import fake_trainer
from tests.support.fake_web_service import Asked, FakeWebService, running

KEY = "11112222-3333-4444-5555-666677778888:" + "abcdef0123456789"
CDN_TOKEN = "cdn-" + "0123456789abcdef"


@dataclass
class FakeFal(FakeWebService):
    """The service's state.

    Attributes:
        looks: How often a job is looked at before it has ended.
        error: What a job that failed says of itself.
        result_status: Answer to who asks for a result.
        weights: What the file holds.
        stays: While set, jobs stay under way.
        leaves: What the result is, when it is not weights.
        gone: While set, the file of the weights is not there any more.
        tells_size: Whether the result tells the file's length.
    """

    secret: str = KEY
    looks: int = 2
    error: str = ""
    result_status: int = 200
    weights: bytes = field(default_factory=lambda: fake_trainer.weights("good"))
    stays: bool = False
    leaves: Any = "weights"
    gone: bool = False
    tells_size: bool = True
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    lifecycles: list[str] = field(default_factory=list)

    def refusal(self, status: int) -> Any:  # noqa: ARG002
        """Return what fal answers when it refuses."""
        return {"detail": f"no, says {self.secret}"}

    def images(self) -> dict[str, bytes]:
        """Return what is in the one zip that is there."""
        (data,) = self.files.values()
        with zipfile.ZipFile(io.BytesIO(data)) as parcel:
            return {name: parcel.read(name) for name in parcel.namelist()}

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Return status and document."""
        if asked.path.startswith("/weights/"):
            return (404, {"detail": "no such file"}) if self.gone else (200, self.weights)
        if asked.path == "/files/upload":
            return self._upload(asked)
        if asked.headers.get("authorization") != f"Key {KEY}":
            return 401, {"detail": "Cannot access application. Authentication is required"}
        return self._known(asked)

    def _known(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/storage/auth/token":
            return 200, {
                "token": CDN_TOKEN, "token_type": "Bearer", "base_url": self.address,
                "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
            }  # fmt: skip
        found = re.fullmatch(r"/([\w-]+/[\w-]+)/requests/([\w-]+)(/status|/cancel)?", asked.path)
        if found:
            return self._job(found.group(2), found.group(3) or "")
        if asked.method == "POST" and re.fullmatch(r"/[\w-]+/[\w-]+", asked.path):
            return self._submit(asked)
        return 404, {"detail": "Not found"}

    def _upload(self, asked: Asked) -> tuple[int, Any]:
        if asked.headers.get("authorization") != f"Bearer {CDN_TOKEN}":
            return 401, {"detail": "no"}
        name = asked.headers["x-fal-file-name"]
        self.files[name] = asked.body
        self.lifecycles.append(asked.headers.get("x-fal-object-lifecycle", ""))
        return 200, {"access_url": f"{self.address}/b/lion/{name}"}

    def _submit(self, asked: Asked) -> tuple[int, Any]:
        number = f"{len(self.jobs) + 1:08d}-0000-4000-8000-000000000000"
        self.jobs[number] = {
            "app": asked.path.strip("/"), "input": asked.body, "looked": 0, "state": "IN_QUEUE",
        }  # fmt: skip
        base = f"{self.address}{asked.path}/requests/{number}"
        return 200, {
            "request_id": number, "response_url": base, "status_url": f"{base}/status",
            "cancel_url": f"{base}/cancel",
        }  # fmt: skip

    def _job(self, number: str, verb: str) -> tuple[int, Any]:
        job = self.jobs.get(number)
        if job is None:
            return 404, {"detail": "Request not found"}
        if verb == "/cancel":
            if job["state"] == "COMPLETED":
                return 400, {"status": "ALREADY_COMPLETED"}
            job.update(state="COMPLETED", error="Request was cancelled", error_type="cancelled")
            return 202, {"status": "CANCELLATION_REQUESTED"}
        if verb == "/status":
            self._work(job)
            return 200, self._status(job)
        if self.result_status != 200:
            return self.result_status, {"detail": [{"msg": "captions are missing"}]}
        return 200, self._result()

    def _work(self, job: dict[str, Any]) -> None:
        if job["state"] == "COMPLETED":
            return
        job["state"] = "IN_PROGRESS"
        if self.stays:
            return
        job["looked"] += 1
        if job["looked"] > self.looks:
            job["state"] = "COMPLETED"
            if self.error:
                job.update(error=self.error, error_type="runner_error")

    def _status(self, job: dict[str, Any]) -> dict[str, Any]:
        status: dict[str, Any] = {"status": job["state"], "request_id": "x"}
        if job["state"] == "IN_PROGRESS":
            steps = job["input"]["steps"]
            bars = [f"Step {one}/{steps}" for one in range(1, job["looked"] + 1)]
            status["logs"] = [{"message": bar, "level": "INFO"} for bar in bars]
        if job["state"] == "COMPLETED":
            status["metrics"] = {"inference_time": 12.5}
            status |= {key: job[key] for key in ("error", "error_type") if key in job}
        return status

    def _result(self) -> Any:
        if self.leaves != "weights":
            return self.leaves
        size = {"file_size": len(self.weights)} if self.tells_size else {}
        file = {"url": f"{self.address}/weights/lora.safetensors", "content_type": "x"} | size
        return {"diffusers_lora_file": file, "config_file": {"url": f"{self.address}/weights/c"}}


@contextlib.contextmanager
def running_fal() -> Iterator[FakeFal]:
    """Run fal on a free port for the time of the block."""
    with running(FakeFal()) as service:
        yield service
