"""What servers of our own on loopback share: where they run, and how they are told to fail."""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True)
class Misbehaving:
    """A server's state that tells what was asked, and that tests tell how to fail.

    Attributes:
        address: Where it is, once it runs.
        requests: ``METHOD /path`` of every request, in order.
        faults: By the beginning of ``METHOD /path``, how the next of these requests fail.
        lock: Held while a request is answered.
    """

    address: str = ""
    requests: list[str] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def misbehave(self, route: str, *faults: str) -> None:
        """Let the next requests that begin with ``METHOD /path`` fail, one for each fault.

        Faults: a status (``500``), one with Retry-After (``429:3``), ``html``, ``list``,
        ``redirect``, ``cut`` (nothing was done), ``lost`` (done, but the answer is lost),
        ``short`` and ``long`` (a body of another length than announced).
        """
        self.faults.setdefault(route, []).extend(faults)

    def count(self, route: str) -> int:
        """Return how many requests began with ``METHOD /path``."""
        return sum(1 for one in self.requests if one.startswith(route))

    def fault_for(self, request: str) -> str:
        """Return how this request is to fail, or nothing."""
        for route, faults in self.faults.items():
            if faults and request.startswith(route):
                return faults.pop(0)
        return ""


class QuietHandler(BaseHTTPRequestHandler):
    """Keeps connections, says nothing, and can cut what it was asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets, and waiting costs 40 ms

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def cut(self) -> None:
        """Close the connection without an answer."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler], **state: object) -> Iterator[str]:
    """Serve on a free port for the time of the block; yields the address.

    Args:
        handler: Answers; one is made for each connection.
        state: What the handler knows, by the names that it gives them.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), state))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def form_fields(kind: str, data: bytes) -> Iterator[tuple[str, str | None, bytes]]:
    """Yield name, file name and bytes of each field of a form with files."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + data)
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        yield (
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            payload,
        )


def form_of(kind: str, data: bytes) -> dict[str, Any]:
    """Return a form by names: a text, or name and bytes of a file."""
    return {
        name: (file_name, payload) if file_name else payload.decode()
        for name, file_name, payload in form_fields(kind, data)
    }
