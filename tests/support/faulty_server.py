"""An HTTP server on loopback that does what it is written to do, and fails as tests tell it.

Derive from ``FaultyServer``, write ``answer``, and run it with ``running``.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

S = TypeVar("S", bound="FaultyServer")


@dataclass(frozen=True)
class Reply:
    """What is answered.

    Attributes:
        status: HTTP status.
        body: A document, or bytes as they are.
        kind: Content type of bytes.
    """

    status: int = 200
    body: Any = None
    kind: str = "application/octet-stream"


@dataclass
class FaultyServer:
    """State that all such servers have.

    Attributes:
        address: Where it is, once it runs.
        requests: ``METHOD /path`` of every request, in order.
        headers: Headers of every request.
    """

    address: str = ""
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def misbehave(self, route: str, *faults: str) -> None:
        """Let the next requests that begin with ``METHOD /path`` fail, one for each fault.

        Faults: a status (``500``), one with Retry-After (``429:3``), ``html``, ``list``,
        ``redirect``, ``cut`` (nothing was done), ``lost`` (done, but the answer is lost),
        ``short`` and ``long`` (a body of another length than announced), ``empty``.
        """
        self.faults.setdefault(route, []).extend(faults)

    def count(self, route: str) -> int:
        """Return how many requests began with ``METHOD /path``."""
        return sum(1 for one in self.requests if one.startswith(route))

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        """Return what is answered."""
        raise NotImplementedError

    def fault_for(self, request: str) -> str:
        """Return how this request is to fail, or nothing."""
        for route, faults in self.faults.items():
            if faults and request.startswith(route):
                return faults.pop(0)
        return ""


@contextlib.contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server on a free port for the time of the block."""
    handler = type("Handler", (_Handler,), {"server_state": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    server.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets, and waiting costs 40 ms
    server_state: FaultyServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self._handle("GET", None)

    def do_POST(self) -> None:
        """Answer."""
        self._handle("POST", self._body())

    def do_PUT(self) -> None:
        """Answer."""
        self._handle("PUT", self._body())

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        if "multipart" in kind:
            return _form(kind, data)
        return json.loads(data) if "json" in kind and data else data

    def _handle(self, method: str, body: Any) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        query = {key: one[0] for key, one in parse_qs(parts.query).items()}
        state = self.server_state
        with state.lock:
            state.requests.append(f"{method} {path}")
            state.headers.append({key.lower(): value for key, value in self.headers.items()})
            fault = state.fault_for(f"{method} {path}")
            known = fault in {"", "lost", "short", "long", "empty"}
            reply = state.answer(method, path, query, body) if known else Reply()
        if fault in {"cut", "lost"}:
            self._cut()
        elif known:
            self._send(reply, fault)
        else:
            self._fail(fault)

    def _send(self, reply: Reply, fault: str) -> None:
        data, kind = reply.body, reply.kind
        if not isinstance(data, bytes):
            data, kind = json.dumps(data).encode(), "application/json"
        announced = len(data)
        if fault == "short":
            data = data[: len(data) // 2]
        elif fault == "long":
            announced = len(data) // 2
        elif fault == "empty":
            data, announced = b"", 0
        self.send_response(reply.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data)
        if fault in {"short", "long"}:
            self.close_connection = True

    def _fail(self, fault: str) -> None:
        status, _, retry_after = fault.partition(":")
        kind, data = "application/json", b'{"detail": "told to fail"}'
        code = int(status) if status.isdigit() else 200
        if status == "html":
            kind, data = "text/html", b"<html><body>Sign in</body></html>"
        elif status == "list":
            data = b"[]"
        self.send_response(302 if status == "redirect" else code)
        if status == "redirect":
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _form(kind: str, data: bytes) -> dict[str, Any]:
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + data)
    form: dict[str, Any] = {}
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        name = str(part.get_param("name", header="content-disposition"))
        form[name] = (part.get_filename(), payload) if part.get_filename() else payload.decode()
    return form
