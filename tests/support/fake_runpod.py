"""RunPod as its documentation describes it, small and on loopback, with a server in its pods.

Pods are made over GraphQL and listed, asked about and deleted over REST, version 2. The server in
a pod is the fake ai-toolkit server beside this; a proxy path leads there once the pod runs.
``misbehave`` makes a route fail in ways that networks, proxies and services have.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.held_routes import HeldRoutes

KEY = "rpa_" + "FAKE0FAKE1FAKE2FAKE3"
PRICE = 0.44


@dataclass
class FakeRunPod:
    """The account's state, and what tests tell it.

    Attributes:
        coming: How many looks a pod needs until it runs.
        hidden: How many lists do not show a new pod yet.
        twins: While set, every request for a pod makes two.
        on_make: Called with the name of each new pod.
        held_routes: Where a request waits.
        graphql_error: Message that the making of a pod is refused with.
        pods: Pods by id, as REST tells them.
        made: Inputs of the requests that made pods.
        requests: ``METHOD /path`` of every request, in order.
        keys: Authorization of every request.
    """

    coming: int = 2
    hidden: int = 0
    twins: bool = False
    on_make: Callable[[str], object] = str
    held_routes: HeldRoutes = field(default_factory=HeldRoutes)
    graphql_error: str = ""
    address: str = ""
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def forget(self) -> None:
        """Begin anew, at the same address."""
        for kept in (self.pods, self.made, self.requests, self.keys, self.faults):
            kept.clear()
        self.hidden, self.twins, self.graphql_error = 0, False, ""

    def misbehave(self, route: str, *faults: str) -> None:
        """Let the next requests for ``METHOD /path…`` fail, one for each fault.

        Faults: a status (``500``), a status with Retry-After (``429:0``), ``html``, ``list``,
        ``cut`` (nothing was done) and ``lost`` (done, but the answer is lost).
        """
        self.faults.setdefault(route, []).extend(faults)

    def count(self, route: str) -> int:
        """Return how many requests began with ``METHOD /path``."""
        return sum(1 for one in self.requests if one.startswith(route))

    def alive(self) -> list[str]:
        """Return the pods that cost money."""
        return [pod_id for pod_id, pod in self.pods.items() if pod["status"] != "TERMINATED"]

    def add(self, name: str, status: str = "RUNNING", *, age: int = 0) -> str:
        """Add a pod that is there already and return its id; ``age`` is in minutes."""
        pod_id = f"pod{len(self.pods) + 1}"
        self.pods[pod_id] = {
            "id": pod_id, "name": name, "status": status, "cost": PRICE,
            "createdAt": (datetime.now(UTC) - timedelta(minutes=age)).isoformat(),
            "env": {"AI_TOOLKIT_AUTH": "seen by whoever owns the account"}, "looked": 0,
        }  # fmt: skip
        return pod_id

    def fault_for(self, request: str) -> str:
        """Return how this request is to fail, or nothing."""
        for route, faults in self.faults.items():
            if faults and request.startswith(route):
                return faults.pop(0)
        return ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:  # noqa: PLR0911
        """Return status and document."""
        if (method, path) == ("POST", "/graphql"):
            return 200, self._make(body)
        if (method, path) == ("GET", "/v2/pods"):
            rows = list(self.pods.values())
            if self.hidden and rows:
                self.hidden -= 1
                rows = rows[:-1]
            return 200, {"pods": rows}
        gpu = re.fullmatch(r"/v2/catalog/gpus/(.+)", path)
        if gpu:
            if gpu.group(1) != "NVIDIA GeForce RTX 4090":
                return 404, problem(404, "gpu type not found")
            return 200, {"id": gpu.group(1), "price": {"secure": PRICE, "community": 0.31}}
        found = re.fullmatch(r"/v2/pods/([^/]+)", path)
        pod = self.pods.get(found.group(1)) if found else None
        if pod is None:
            return 404, problem(404, "pod not found")
        if method == "DELETE":
            del self.pods[pod["id"]]
            return 204, None
        return 200, self._look(pod)

    def _make(self, body: Any) -> dict[str, Any]:
        wanted = body["variables"]["input"]
        if "podFindAndDeployOnDemand(input: $input)" not in body["query"]:
            return {"errors": [{"message": "Cannot query field"}]}
        if self.graphql_error:
            return {"errors": [{"message": self.graphql_error}], "data": None}
        self.made.append(wanted)
        pod_id = self.add(wanted["name"], "PROVISIONING")
        if self.twins:
            self.add(wanted["name"], "PROVISIONING", age=-1)
        self.on_make(wanted["name"])
        row = {"id": pod_id, "name": wanted["name"], "costPerHr": PRICE}
        return {"data": {"podFindAndDeployOnDemand": row}}

    def _look(self, pod: dict[str, Any]) -> dict[str, Any]:
        pod["looked"] += 1
        if pod["status"] in {"PROVISIONING", "STARTING"}:
            pod["status"] = "RUNNING" if pod["looked"] > self.coming else "STARTING"
        return dict(pod)


def problem(status: int, detail: str) -> dict[str, Any]:
    """Return an error as RFC 9457 has it."""
    return {"title": "Error", "status": status, "detail": detail}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: FakeRunPod

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self._handle("GET", None)

    def do_DELETE(self) -> None:
        """Answer."""
        self._handle("DELETE", None)

    def do_POST(self) -> None:
        """Answer."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._handle("POST", json.loads(data))

    def _handle(self, method: str, body: Any) -> None:
        path = unquote(urlsplit(self.path).path)
        self.service.held_routes.pass_by(f"{method} {path}")
        with self.service.lock:
            self.service.requests.append(f"{method} {path}")
            self.service.keys.append(self.headers.get("Authorization", ""))
            fault = self.service.fault_for(f"{method} {path}")
            if fault == "cut":
                return self._cut()
            if fault and fault != "lost":
                return self._fail(fault)
            if self.headers.get("Authorization", "") != f"Bearer {KEY}":
                return self._send(401, problem(401, "invalid bearer token"))
            status, document = self.service.answer(method, path, body)
            return self._cut() if fault == "lost" else self._send(status, document)

    def _fail(self, fault: str) -> None:
        if fault == "html":
            return self._send_bytes(200, b"<html>log in</html>", "text/html", {})
        if fault == "list":
            return self._send(200, [])
        status, _, wait = fault.partition(":")
        words = json.dumps(problem(int(status), f"no, says {KEY}")).encode()
        extra = {"Retry-After": wait} if wait else {}
        return self._send_bytes(int(status), words, "application/problem+json", extra)

    def _send(self, status: int, document: Any) -> None:
        data = b"" if document is None else json.dumps(document).encode()
        self._send_bytes(status, data, "application/json", {})

    def _send_bytes(self, status: int, data: bytes, kind: str, extra: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        for name, value in extra.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running_runpod() -> Iterator[FakeRunPod]:
    """Run the service on a free port for the time of the block."""
    service = FakeRunPod()
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    service.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
