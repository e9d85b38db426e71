"""An HTTP server on loopback that does what it is written to do, and fails as tests tell it.

Derive from ``FaultyServer``, write ``answer``, and run it with ``running``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.loopback import Misbehaving, QuietHandler, form_of, listening

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
class FaultyServer(Misbehaving):
    """State that all such servers have; they know one more fault, ``empty`` (no body).

    Attributes:
        headers: Headers of every request.
    """

    headers: list[dict[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        """Return what is answered."""
        raise NotImplementedError


@contextlib.contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server on a free port for the time of the block."""
    with listening(_Handler, server_state=server) as server.address:
        yield server


class _Handler(QuietHandler):
    server_state: FaultyServer

    def do_GET(self) -> None:  # noqa: N802
        """Answer."""
        self._handle("GET", None)

    def do_POST(self) -> None:  # noqa: N802
        """Answer."""
        self._handle("POST", self._body())

    def do_PUT(self) -> None:  # noqa: N802
        """Answer."""
        self._handle("PUT", self._body())

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        if "multipart" in kind:
            return form_of(kind, data)
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
            self.cut()
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
