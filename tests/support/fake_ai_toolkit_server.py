"""An ai-toolkit server that is real but small: its HTTP interface in a thread, on loopback.

It answers as version 0.12 was seen to, odd habits included (changes answer with the state before
them, a job runs only when its queue was started, names are cleaned). ``misbehave`` makes a route
fail in ways that networks, proxies and servers have.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support import fake_trainer
from tests.support.loopback import Misbehaving, QuietHandler, form_fields, listening

TOKEN = "correct-horse-battery"
ROOT = "/srv/toolkit"


@dataclass
class FakeToolkit(Misbehaving):
    """The server's state, and what tests tell it.

    Attributes:
        looks: How often a running job is looked at before it has ended.
        ending: Status that a job ends with.
        info: What the job's row says then.
        weights: What the final file holds.
        held: While set, jobs stay running.
        leaves_nothing: While set, no job leaves weights.
        token: What lets a client in.
        on_job: Called when a job was created.
        gate: While it is not set, requests whose path begins with ``waiting`` wait.
        headers: Authorization of every request.
    """

    looks: int = 2
    ending: str = "completed"
    info: str = "Training completed"
    weights: bytes = field(default_factory=lambda: fake_trainer.weights("good"))
    held: bool = False
    leaves_nothing: bool = False
    token: str = TOKEN
    on_job: Callable[[], object] = dict
    waiting: str = ""
    gate: threading.Event = field(default_factory=threading.Event)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    data_sets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    queues: dict[str, bool] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)

    # What the routes do

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return status and document."""
        if path in self._fixed():
            return 200, self._fixed()[path]
        if path.startswith("/api/datasets/"):
            return self._data_sets(path.rpartition("/")[2], body)
        if path == "/api/jobs":
            return self._create(body) if method == "POST" else (200, self._rows(query))
        found = re.fullmatch(r"/api/queue/([^/]+)/start", path)
        if found:
            before = self.queues.get(found.group(1), True)
            self.queues[found.group(1)] = True
            return 200, {"gpu_ids": found.group(1), "is_running": before}
        found = re.fullmatch(r"/api/jobs/([^/]+)/(\w+)", path)
        if found and found.group(1) in self.jobs:
            return self._verb(self.jobs[found.group(1)], found.group(2), query)
        return 404, {"error": "Job not found"}

    def _fixed(self) -> dict[str, Any]:
        queues = [{"gpu_ids": gpu, "is_running": on} for gpu, on in self.queues.items()]
        folders = {"TRAINING_FOLDER": f"{ROOT}/output/", "DATASETS_FOLDER": f"{ROOT}/datasets"}
        return {
            "/api/auth": {"isAuthenticated": True},
            "/api/settings": folders | {"HF_TOKEN": "hf_" + "Clear0Clear1Clear2"},
            "/api/queue": {"queues": queues},
        }

    def _data_sets(self, verb: str, body: Any) -> tuple[int, Any]:
        if verb == "list":
            self.data_sets.setdefault("", {})
            return 200, [name for name in self.data_sets if name]
        if verb == "create":
            if "" not in self.data_sets:  # a fresh install, where nobody asked for the list yet
                return 500, {"error": "Failed to create dataset"}
            name = re.sub(r"[^a-z0-9]+", "_", body["name"].lower())
            self.data_sets.setdefault(name, {})
            return 200, {"success": True, "name": name}
        if verb == "upload":
            stored = self.data_sets.setdefault(body["datasetName"], {})
            names = []
            for name, data in body["files"]:
                clean = re.sub(r"[^A-Za-z0-9.-]", "_", name)
                stored[clean] = data
                names.append(clean)
            return 200, {"message": "Files uploaded successfully", "files": names}
        stored = self.data_sets.get(body["datasetName"], {})
        images = sorted(name for name in stored if name.endswith(".png"))
        return 200, {"root": f"{ROOT}/datasets/{body['datasetName']}/", "images": images}

    def _create(self, body: Any) -> tuple[int, Any]:
        if any(job["name"] == body["name"] for job in self.jobs.values()):
            return 409, {"error": "Job name already exists"}
        if not isinstance(body.get("gpu_ids"), str) or not body.get("job_config"):
            return 500, {"error": "Failed to save training data"}
        job = {
            "id": f"job-{len(self.jobs) + 1}", "name": body["name"], "gpu_ids": body["gpu_ids"],
            "job_config": json.dumps(body["job_config"]), "status": "stopped", "stop": False,
            "step": 0, "total_steps": None, "info": "", "pid": None, "looked": 0,
        }  # fmt: skip
        self.jobs[job["id"]] = job
        self.on_job()
        return 200, dict(job)

    def _rows(self, query: dict[str, str]) -> Any:
        if "id" not in query:
            return {"jobs": [dict(job) for job in reversed(self.jobs.values())]}
        job = self.jobs.get(query["id"])
        if job is None:
            return None
        self._work(job)
        return dict(job)

    def _work(self, job: dict[str, Any]) -> None:
        if job["status"] == "queued" and self.queues.get(job["gpu_ids"]):
            job.update(status="running", pid=77, info="Starting job...")
        elif job["status"] == "running" and not self.held:
            job["looked"] += 1
            steps = json.loads(job["job_config"])["config"]["process"][0]["train"]["steps"]
            job.update(step=min(steps, job["looked"]), info="Training")
            if job["looked"] > self.looks:
                job.update(status=self.ending, info=self.info)
                self.queues[job["gpu_ids"]] = False

    def _verb(self, job: dict[str, Any], verb: str, query: dict[str, str]) -> tuple[int, Any]:
        before = dict(job)
        if verb == "start":
            job.update(status="queued", info="Job queued")
        elif verb == "stop" and job["status"] == "running":
            job.update(status="stopped", info="Job stopped")
        elif verb == "mark_stopped":
            job.update(status="stopped", pid=None, info="Job stopped")
        elif verb == "log":
            text = self.log_of(job).encode()
            offset = int(query.get("offset", "0"))
            return 200, {"log": text[offset:].decode(), "offset": len(text), "reset": not offset}
        elif verb == "files":
            return 200, {"files": self.files_of(job)}
        return 200, before

    def log_of(self, job: dict[str, Any]) -> str:
        """Return the job's log so far."""
        steps = json.loads(job["job_config"])["config"]["process"][0]["train"]["steps"]
        bars = [
            f"{job['name']}:  50%|#####     | {step}/{steps} "
            f"[00:01<00:01,  1.16it/s, lr: 1.0e-04 loss: {1 / step:.3e}]"
            for step in range(1, int(job["step"]) + 1)
        ]
        ended = [f"RuntimeError: {self.info}"] if job["status"] == "error" else []
        return "\r".join(["# Running job", *bars]) + "\n" + "\n".join(ended)

    def files_of(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what stands in the job's folder."""
        folder = f"{ROOT}/output/{job['name']}"
        if self.leaves_nothing:
            return []
        names = [f"{job['name']}.safetensors", f"{job['name']}_000000001.safetensors"]
        found = [{"path": f"{folder}/{name}", "size": len(self.weights)} for name in names]
        return [*found, {"path": f"{folder}/optimizer.pt", "size": 3}]


class _Handler(QuietHandler):
    toolkit: FakeToolkit

    def do_GET(self) -> None:  # noqa: N802
        """Answer."""
        self._handle("GET", None)

    def do_POST(self) -> None:  # noqa: N802
        """Answer."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        self._handle("POST", _form(kind, data) if "multipart" in kind else json.loads(data))

    def _handle(self, method: str, body: Any) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        query = {key: one[0] for key, one in parse_qs(parts.query).items()}
        if self.toolkit.waiting and path.startswith(self.toolkit.waiting):
            self.toolkit.requests.append(f"{method} {path}")
            self.toolkit.gate.wait(30)
        with self.toolkit.lock:
            self.toolkit.requests.append(f"{method} {path}")
            self.toolkit.headers.append(self.headers.get("Authorization", ""))
            fault = self.toolkit.fault_for(f"{method} {path}")
            if fault == "cut":
                return self.cut()
            if fault and fault not in {"lost", "short", "long"}:
                return self._fail(fault)
            if path.startswith("/api/files/"):
                return self._send_file(fault)
            if self.headers.get("Authorization", "").partition(" ")[2] != self.toolkit.token:
                return self._send(401, {"error": "Unauthorized"})
            status, document = self.toolkit.answer(method, path, query, body)
            if fault == "lost":
                return self.cut()
            return self._send(status, document)

    def _fail(self, fault: str) -> None:
        if fault == "html":
            return self._send_bytes(200, b"<html>log in</html>", "text/html")
        if fault == "list":
            return self._send(200, [])
        if fault == "redirect":
            elsewhere = {"Location": "http://127.0.0.1:9/elsewhere"}
            return self._send_bytes(302, b"", "text/plain", elsewhere)
        status, _, wait = fault.partition(":")
        extra = {"Retry-After": wait} if wait else {}
        words = json.dumps({"error": f"no, says {TOKEN}"}).encode()
        return self._send_bytes(int(status), words, "application/json", extra)

    def _send_file(self, fault: str) -> None:
        data = self.toolkit.weights
        announced = len(data) + {"short": 0, "long": 10}.get(fault, 0)
        sent = data[: len(data) // 2] if fault == "short" else data
        self._send_bytes(200, sent, "application/octet-stream", {}, announced)

    def _send(self, status: int, document: Any) -> None:
        self._send_bytes(status, json.dumps(document).encode(), "application/json")

    def _send_bytes(
        self,
        status: int,
        data: bytes,
        kind: str,
        extra: dict[str, str] | None = None,
        announced: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if announced is None else announced))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)
        if announced not in {None, len(data)}:
            self.cut()


def _form(kind: str, data: bytes) -> dict[str, Any]:
    fields = list(form_fields(kind, data))
    files = [(file_name, payload) for _, file_name, payload in fields if file_name]
    texts = {name: payload.decode() for name, file_name, payload in fields if not file_name}
    return {"files": files, **texts}


@contextlib.contextmanager
def running_toolkit() -> Iterator[FakeToolkit]:
    """Run the server on a free port for the time of the block."""
    toolkit = FakeToolkit()
    with listening(_Handler, toolkit=toolkit) as toolkit.address:
        yield toolkit
