"""Lets a service's own Python client speak through ours, so that our rules hold for it too.

Such clients send again what may not be sent twice (fal's submits a job up to ten times when
answers are lost), wait as long as a server tells them to, follow redirects with the images in
hand, and answer a login page with a traceback. They are built on httpx; what stands in for
httpx's transport here hands every request to a ``ServiceClient``, where all of that is decided.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lora_pipeline.foundation.errors import PipelineError, ServiceRefusedError
from lora_pipeline.training.hosted.http_client import ServiceClient
from lora_pipeline.training.hosted.parcel import origin_of

if TYPE_CHECKING:
    import httpx

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What describes the body or the caller; all else of a connection is ours.
_NOT_OURS = frozenset(
    {"host", "connection", "content-length", "accept-encoding", "transfer-encoding"}
)
_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class ClientBridge:
    """What a client of httpx takes for a transport.

    Args:
        routes: Origin that the client writes to, and our connection to it; several may lead to
            one, which is how a client with fixed addresses is led to another.
        repeats: Whether a request that is no reading may be sent again after its outcome was
            lost, by method and path.
        elsewhere: Makes a connection for an origin that no route names, or returns None; the
            client's token is not sent there.
        mend: Returns a JSON answer as the client can read it.
    """

    def __init__(
        self,
        routes: Mapping[str, ServiceClient],
        *,
        repeats: Callable[[str, str], bool],
        elsewhere: Callable[[str], ServiceClient | None] = lambda _: None,
        mend: Callable[[Any], Any] = lambda document: document,
    ) -> None:
        self._routes, self._repeats = dict(routes), repeats
        self._elsewhere, self._mend = elsewhere, mend

    def __enter__(self) -> ClientBridge:
        """Return itself, as httpx wants."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for client in set(self._routes.values()):
            client.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request by our rules and return the answer, which is a success.

        Raises:
            ServiceUnreachableError, ServiceRefusedError: In all other cases.
        """
        import httpx

        url = request.url
        origin = origin_of(str(url))
        headers = {name: value for name, value in request.headers.items() if name not in _NOT_OURS}
        client = self._routes.get(origin)
        if client is None:
            headers.pop("authorization", None)
            client = self._elsewhere(origin)
            if client is None:
                raise ServiceRefusedError(
                    f"the service sends us to {origin}, which is not followed",
                    hint="set the address that it names, if it is one of yours",
                )
            self._routes[origin] = client
        answer = client.exchange(
            request.method,
            url.raw_path.decode("ascii"),
            repeat=request.method in _READING or self._repeats(request.method, url.path),
            headers=headers,
            content=request.read(),
        )
        return httpx.Response(
            answer.status,
            headers={
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in _OF_THE_BODY
            },
            content=self._mended(answer.body),
            request=request,
        )

    def _mended(self, body: bytes) -> bytes:
        return json.dumps(self._mend(json.loads(body))).encode() if body else body


@contextlib.contextmanager
def understood(service: str) -> Iterator[None]:
    """Turn what a client makes of an answer that it does not understand into a refusal.

    Clients read answers with ``KeyError``, ``ValueError`` (pydantic's too) and the like; which
    one it is says nothing to a person, and its text may hold what was sent.
    """
    try:
        yield
    except PipelineError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ServiceRefusedError(
            f"{service} answers with another document than its client knows "
            f"({type(error).__name__})",
            hint="see whether its address is right, and whether its client is up to date",
        ) from error


def mapping(answer: Any, what: str) -> dict[str, Any]:
    """Return an answer that must be a document.

    Raises:
        ServiceRefusedError: When it is something else.
    """
    if not isinstance(answer, dict):
        raise ServiceRefusedError(f"{what} is no document")
    return answer
