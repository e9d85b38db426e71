"""A careful HTTP client for services that train: bounded, patient, and never sending twice.

Reading is repeated with back-off. What changes something at the service is repeated only when it
surely did not happen: no connection, or an answer that says "not now" (429, 503).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    PipelineError,
    ServiceRefusedError,
    ServiceUnreachableError,
)
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.loopback import is_loopback
from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.training.hosted.answers import retry_after, said_in

if TYPE_CHECKING:
    import httpx2

EXTRA, MODULES = "hosted", ("httpx2",)
_TRIES = 5
_LONGEST_WAIT_S, _LONGEST_RETRY_AFTER_S = 30.0, 300.0
_CONNECT_S = 10.0
_LARGEST_ANSWER = 32 * 1024 * 1024
_LARGEST_FILE = 16 * 1024 * 1024 * 1024
# 520 and above: a proxy on the way that does not reach the service.
_PASSING = frozenset({408, 429, 502, 503, 504, 520, 521, 522, 523, 524, 530})
_NOT_DONE = frozenset({429, 503})


class Manner(msgspec.Struct, frozen=True):
    """How a service wants to be spoken to.

    Attributes:
        scheme: What stands before the token: ``Bearer``, ``Key`` or ``Basic``.
        answer_s: Longest silence before an answer counts as lost.
        brings: What its files are, for messages.
        hint: What to do when the service said no and nothing better is known.
    """

    scheme: str = "Bearer"
    answer_s: float = 60.0
    brings: str = "weights"
    hint: str = "lora run log shows what was asked before"


class Exchanged(msgspec.Struct, frozen=True):
    """An answer that was read whole: status, headers, and JSON or nothing."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ServiceClient:
    """Requests to one service.

    Args:
        base: Its address, ``http://host:port``.
        token: Sent as ``Authorization`` to this address and nowhere else.
        variable: Environment variable that the token comes from, for messages.
        manner: How this service wants to be spoken to.
        first_wait_s: How long is waited before the second try; doubled before each further.
        sleep: Waits; tests give their own.
    """

    def __init__(
        self,
        base: str,
        *,
        token: str = "",
        variable: str = "",
        manner: Manner | None = None,
        first_wait_s: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        require_extra(EXTRA, MODULES)
        import httpx2

        self.base = base.rstrip("/")
        self._token, self._variable = token, variable
        self._manner = manner or Manner()
        self._first_wait_s, self._sleep = first_wait_s, sleep
        # Redirects are not followed: another address has no business with token or images.
        self._client = httpx2.Client(
            headers={"Authorization": f"{self._manner.scheme} {token}"} if token else {},
            timeout=httpx2.Timeout(self._manner.answer_s, connect=_CONNECT_S),
            follow_redirects=False,
            trust_env=not is_loopback(base),
            verify=_trusted(),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def read(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Return the JSON at a path; asked again when the service does not answer.

        Raises:
            ServiceUnreachableError, ServiceRefusedError: When it cannot be had.
        """
        return self._json("GET", path, repeat=True, params=params)

    def act(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for a change and return the JSON that answers it.

        Raises:
            ServiceUnreachableError: When it is not known whether it happened, or it surely did
                not and the service stays busy.
            ServiceRefusedError: When the service said no.
        """
        return self._json(method, path, repeat=False, json=body)

    def tell(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        """Ask for a change whose answer says nothing.

        Raises:
            ServiceUnreachableError, ServiceRefusedError: As for ``act``.
        """

        def once() -> None:
            with self._client.stream(method, self.base + path, json=body) as answer:
                self._require_success(answer, read=True)

        self._repeated(once, path, repeat=False)

    def upload(
        self,
        path: str,
        fields: Mapping[str, str],
        uploads: Sequence[tuple[str, Path]],
        *,
        field: str = "files",
    ) -> Any:
        """Post files under one field and return the JSON answer.

        Sent again after a failure: the same names hold the same bytes.

        Raises:
            ServiceUnreachableError, ServiceRefusedError: When they could not be sent.
        """
        parts = [
            (field, (name, source.read_bytes(), "application/octet-stream"))
            for name, source in uploads
        ]
        return self._json("POST", path, repeat=True, data=dict(fields), files=parts)

    def put(self, path: str, source: Path) -> None:
        """Put a file at a path, as it is; again after a failure, for the place is its own.

        Raises:
            ServiceUnreachableError, ServiceRefusedError: When it could not be sent.
        """
        kind = {"Content-Type": "application/octet-stream"}

        def once() -> None:
            data = source.read_bytes()
            with self._client.stream("PUT", self.base + path, content=data, headers=kind) as answer:
                self._require_success(answer, read=True)

        self._repeated(once, path, repeat=True)

    def download(
        self, path: str, target: Path, *, bytes_expected: int | None, sha256: str = ""
    ) -> None:
        """Write what stands at a path to a file, whole or not at all.

        Its length is compared with what was promised or is announced, and its digest where the
        service tells one.

        Raises:
            ServiceUnreachableError: When it does not come whole, however often it is asked for.
            ServiceRefusedError: When the service said no, or sends something else.
        """

        def once() -> None:
            # Packed on the way, the length that is announced would not be that of the file.
            plain = {"Accept-Encoding": "identity", "Cache-Control": "no-cache"}
            with self._client.stream("GET", self.base + path, headers=plain) as answer:
                self._require_success(answer, read=True)
                _require_bytes(answer, path, self._manner.brings)
                _write(answer, target, bytes_expected, sha256)

        self._repeated(once, path, repeat=True)

    def exchange(
        self, method: str, path: str, *, repeat: bool, headers: Mapping[str, str], content: bytes
    ) -> Exchanged:
        """Send a request as another library made it, and return the answer; no body is no error.

        Raises:
            ServiceUnreachableError, ServiceRefusedError: As for ``read`` and ``act``.
        """

        def once() -> Exchanged:
            with self._client.stream(
                method, self.base + path, headers=dict(headers), content=content
            ) as answer:
                body = _bounded(answer)
                self._require_success(answer, body=body)
                if body:
                    _parsed(answer, body, self.base + path.partition("?")[0])
                return Exchanged(answer.status_code, dict(answer.headers), body)

        return self._repeated(once, path, repeat=repeat)  # type: ignore[no-any-return]

    def _json(self, method: str, path: str, *, repeat: bool, **options: Any) -> Any:
        def once() -> Any:
            with self._client.stream(method, self.base + path, **options) as answer:
                body = _bounded(answer)
                self._require_success(answer, body=body)
                return _parsed(answer, body, f"{self.base}{path}")

        return self._repeated(once, path, repeat=repeat)

    def _repeated(self, once: Callable[[], Any], path: str, *, repeat: bool) -> Any:
        import httpx2

        wait = self._first_wait_s
        for left in reversed(range(_TRIES)):
            asked: float | None = None
            try:
                return once()
            except _NotNowError as refusal:
                failure, again, asked = (
                    refusal.words,
                    repeat or refusal.not_done,
                    refusal.wait,
                )
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure, again = f"no connection: {_words(error)}", True
            except _CutShortError as error:
                failure, again = str(error), repeat
            except httpx2.HTTPError as error:
                failure, again = f"the connection failed: {_words(error)}", repeat
            if not again or not left:
                raise ServiceUnreachableError(
                    f"{self.base} does not answer {path.partition('?')[0]}: {failure}",
                    hint="see whether it runs and can be reached from here",
                )
            self._sleep(wait if asked is None else min(asked, _LONGEST_RETRY_AFTER_S))
            wait = min(wait * 2, _LONGEST_WAIT_S)
        raise AssertionError("unreachable")

    def _require_success(
        self, answer: httpx2.Response, *, body: bytes = b"", read: bool = False
    ) -> None:
        status = answer.status_code
        if 200 <= status < 300:
            return
        if read:
            body = _bounded(answer)
        said = redacted(said_in(body), (self._token,))
        words = f"{status}{f': {said}' if said else ''}"
        # 500 is what some servers answer to a wrong request: repeated for reading only.
        if status in _PASSING or status == 500:
            raise _NotNowError(words, status in _NOT_DONE, retry_after(answer))
        raise AnsweredNoError(
            f"{self.base} refused {answer.request.url.path} ({words})",
            status=status,
            body=body,
            hint=self._hint(status),
        )

    def _hint(self, status: int) -> str:
        if status in {401, 403}:
            return f"put the token that it takes into the environment variable {self._variable}"
        if 300 <= status < 400:
            return "it sends us elsewhere, which is not followed: set the address that it names"
        if status == 402:
            return "see to the account's credit; nothing was started"
        return self._manner.hint


class AnsweredNoError(ServiceRefusedError):
    """An answer that is no, for callers that can read more from it than the status.

    Attributes:
        status: HTTP status.
        body: What came with it, unredacted; not for people as it is.
    """

    def __init__(self, message: str, *, status: int, body: bytes, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.status, self.body = status, body


class _NotNowError(Exception):
    def __init__(self, words: str, not_done: bool, wait: float | None) -> None:  # noqa: FBT001
        super().__init__(words)
        self.words, self.not_done, self.wait = words, not_done, wait


class _CutShortError(Exception):
    """A file that came with another length than was promised."""


@functools.cache
def _trusted() -> Any:
    """Return who is trusted to speak for a host; reading that takes 50 ms, so it is done once."""
    import httpx2

    return httpx2.create_ssl_context()


def _bounded(answer: httpx2.Response) -> bytes:
    parts, size = [], 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise ServiceRefusedError(
                f"{answer.request.url.host} answers with more than {_LARGEST_ANSWER >> 20} MB"
            )
        parts.append(part)
    return b"".join(parts)


def _parsed(answer: httpx2.Response, body: bytes, where: str) -> Any:
    if answer.status_code == 204:
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        kind = answer.headers.get("content-type", "no type").partition(";")[0]
        raise ServiceRefusedError(
            f"{where} answers {answer.status_code} with {kind} instead of JSON",
            hint="see whether this is the address of the service, and not of a login page",
        ) from error


def _require_bytes(answer: httpx2.Response, path: str, wanted: str) -> None:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if kind in {"text/html", "application/json", "text/plain"}:
        raise ServiceRefusedError(
            f"{answer.request.url.host} answers {path.partition('?')[0]} with {kind} "
            f"instead of {wanted}",
            hint="the same command again, once the service is well",
        )


def _write(answer: httpx2.Response, target: Path, expected: int | None, sha256: str) -> None:
    announced = answer.headers.get("content-length", "")
    if expected is None and announced.isdigit():
        expected = int(announced)
    with contextlib.ExitStack() as stack:
        stack.enter_context(files.disk_refusals())
        stream = stack.enter_context(files.open_atomic(target))
        size, digest = 0, hashlib.sha256()
        for part in answer.iter_bytes():
            size += len(part)
            if expected is not None and size > expected:
                raise _CutShortError(f"more than the {expected} bytes that were promised came")
            if size > _LARGEST_FILE:
                raise ServiceRefusedError(
                    f"{answer.request.url.host} sends more than {_LARGEST_FILE >> 30} GB"
                )
            digest.update(part)
            stream.write(part)
        if expected is not None and size != expected:
            raise _CutShortError(f"{size} of {expected} bytes came")
        if sha256 and digest.hexdigest() != sha256:
            raise _CutShortError(f"sha256:{digest.hexdigest()[:12]}… came, not {sha256[:12]}…")


def _words(error: Exception) -> str:
    if isinstance(error, PipelineError):
        return error.message
    return " ".join(str(error).split())[:200] or type(error).__name__
