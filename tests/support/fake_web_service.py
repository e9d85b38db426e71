"""A web service in a thread, on loopback, that can be told to misbehave.

Derive from ``FakeWebService`` and answer requests; faults, recorded requests, files of wrong
lengths and cut connections are here.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.loopback import Misbehaving, QuietHandler, form_of, listening


@dataclass(frozen=True)
class Asked:
    """One request, with its body read: JSON, a form, or bytes."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeWebService(Misbehaving):
    """A service's state, and what tests tell it.

    Attributes:
        secret: Repeated in refusals, as careless servers do.
        tokens: Authorization of every request.
        gate: Lets go on what waits at ``held`` and ``late``.
        held: Requests that begin with this ``METHOD /path`` wait before anything is done.
        late: Their answers wait: it is done, and nobody knows yet.
    """

    secret: str = ""
    tokens: list[str] = field(default_factory=list)
    held: str = "-"
    late: str = "-"
    waiting: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def answer(self, asked: Asked) -> tuple[int, Any] | tuple[int, Any, dict[str, str]]:
        """Return status, document and perhaps further headers; bytes are sent as a file."""
        raise NotImplementedError

    def refusal(self, status: int) -> Any:
        """Return the document that comes with a refusal."""
        return {"error": f"no, says {self.secret}", "status": status}


class _Handler(QuietHandler):
    service: FakeWebService

    def do_GET(self) -> None:  # noqa: N802
        """Answer."""
        self._handle()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def _handle(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        path, service = unquote(parts.path), self.service
        asked = Asked(
            self.command, path,
            {key: one[0] for key, one in parse_qs(parts.query).items()},
            {key.lower(): value for key, value in self.headers.items()},
            _body(self.headers.get("Content-Type", ""), data),
        )  # fmt: skip
        with service.lock:
            service.requests.append(f"{self.command} {path}")
            service.tokens.append(self.headers.get("Authorization", ""))
            fault = service.fault_for(f"{self.command} {path}")
        route = f"{self.command} {path}"
        self._wait_at(service.held, route)
        if fault == "cut":
            return self.cut()
        if fault and fault not in {"lost", "short", "long"}:
            return self._fail(fault)
        with service.lock:
            status, document, *more = service.answer(asked)
        extra = more[0] if more else {}
        self._wait_at(service.late, route)
        if fault == "lost":
            return self.cut()
        if isinstance(document, bytes):
            return self._send_file(status, document, fault, extra)
        data = b"" if document is None else json.dumps(document).encode()
        return self._send(status, data, "application/json", extra)

    def _wait_at(self, place: str, route: str) -> None:
        if route.startswith(place):
            self.service.waiting.set()
            self.service.gate.wait(30)

    def _fail(self, fault: str) -> None:
        if fault == "html":
            return self._send(200, b"<html>log in</html>", "text/html")
        if fault == "list":
            return self._send(200, b"[]", "application/json")
        if fault == "redirect":
            elsewhere = {"Location": "http://127.0.0.1:9/elsewhere"}
            return self._send(302, b"", "text/plain", elsewhere)
        code, _, wait = fault.partition(":")
        extra = {"Retry-After": wait} if wait else {}
        words = json.dumps(self.service.refusal(int(code))).encode()
        return self._send(int(code), words, "application/json", extra)

    def _send_file(self, status: int, data: bytes, fault: str, extra: dict[str, str]) -> None:
        announced = len(data) + (10 if fault == "long" else 0)
        sent = data[: len(data) // 2] if fault == "short" else data
        self._send(status, sent, "application/octet-stream", extra, announced)

    def _send(
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
        with contextlib.suppress(OSError):
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
        if announced not in {None, len(data)}:
            self.cut()


def _body(kind: str, data: bytes) -> Any:
    if "multipart" in kind:
        return form_of(kind, data)
    if "ndjson" in kind:
        return [json.loads(line) for line in data.splitlines()]
    if "json" in kind and data:
        return json.loads(data)
    return data


S = TypeVar("S", bound=FakeWebService)


@contextlib.contextmanager
def running(service: S) -> Iterator[S]:
    """Run a service on a free port for the time of the block."""
    with listening(_Handler, service=service) as service.address:
        try:
            yield service
        finally:
            service.gate.set()
