"""A proxy before a storage server that answers wrongly, cuts connections, and keeps count."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.support.loopback import QuietHandler, listening


@dataclass(frozen=True)
class Asked:
    """A request that came by."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of its answer.

    Attributes:
        status: Answer with this status and ``body``; 0 passes the request on.
        body: The answer's body.
        cut_after: Break the connection after so many bytes of the real body.
        body_of: Changes the real body; its length is told as it then is.
    """

    status: int = 0
    body: bytes = b""
    cut_after: int | None = None
    body_of: Callable[[bytes], bytes] | None = None


@dataclass
class FaultyProxy:
    """What the proxy does, set by the test, and what it saw.

    Attributes:
        port: Where it listens.
        rule: Says what happens to a request; None lets it pass.
        asked: Every request so far.
    """

    port: int
    rule: Callable[[Asked], Fault | None] = lambda _: None
    asked: list[Asked] = field(default_factory=list)

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests of a method came whose path holds a text."""
        return sum(one.method == method and part in one.path for one in self.asked)


@contextlib.contextmanager
def faulty_proxy(upstream: int) -> Iterator[FaultyProxy]:  # noqa: C901 - one handler
    """Give a proxy before the server at a port."""

    class Handler(QuietHandler):
        def do_any(self) -> None:
            body = self._body()
            asked = Asked(self.command, self.path, dict(self.headers.items()))
            proxy.asked.append(asked)
            fault = proxy.rule(asked)
            if fault and fault.status:
                self._answer(fault.status, {"Content-Type": "application/xml"}, fault.body)
                return
            status, headers, data = self._real(body)
            if fault and fault.body_of:
                data = fault.body_of(data)
            self._answer(status, headers, data, fault.cut_after if fault else None)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any  # noqa: N815

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def _real(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            server = http.client.HTTPConnection("127.0.0.1", upstream, timeout=60)
            passed = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("transfer-encoding", "content-length", "connection")
            }
            if body or self.command in ("PUT", "POST"):
                passed["Content-Length"] = str(len(body))
            server.request(self.command, self.path, body or None, passed)
            answer = server.getresponse()
            data = answer.read()
            headers = dict(answer.getheaders())
            server.close()
            return answer.status, headers, data

        def _answer(
            self, status: int, headers: Mapping[str, str], data: bytes, cut: int | None = None
        ) -> None:
            head = self.command == "HEAD"
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if head else None
            self.send_header("Content-Length", length or str(len(data)))
            self.end_headers()
            if not head:
                self.wfile.write(data if cut is None else data[:cut])
            if cut is not None:
                self.close_connection = True

    with listening(Handler) as address:
        proxy = FaultyProxy(int(address.rpartition(":")[2]))
        yield proxy
