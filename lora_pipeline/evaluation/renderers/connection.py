"""How renderers over HTTP are reached: whose server it is, with which key, and what went wrong.

What a server says is material, not truth: nothing of it reaches a person unredacted, and what it
says it drew is checked by whoever asked.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lora_pipeline.evaluation.renderers.interface import RenderProblem
from lora_pipeline.foundation.errors import RendererError, ServiceError
from lora_pipeline.foundation.extras import missing_modules
from lora_pipeline.training.hosted.http_client import EXTRA, MODULES, Manner, ServiceClient
from lora_pipeline.workspace.settings import LOCAL_FILE, Settings

_FIRST_LOOK_S, _SLOWER = 0.1, 1.6


class Waiting(msgspec.Struct, frozen=True):
    """How waiting is done; tests give their own.

    Attributes:
        sleep: Waits.
        clock: A clock that only goes forward, in seconds.
    """

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


# For questions whose answer is only told: who asks does not want to wait for a server.
HASTE = Waiting(sleep=lambda _: None)


@dataclass
class Patience:
    """Looks again and again, ever less often, until too long nothing was new.

    Attributes:
        waiting: How waiting is done.
        every_s: Longest time between two looks.
        limit_s: Longest time without news.
    """

    waiting: Waiting
    every_s: float
    limit_s: float
    _pause: float = _FIRST_LOOK_S
    _news: float = field(init=False)

    def __post_init__(self) -> None:
        self._news = self.waiting.clock()

    def renew(self) -> None:
        """Note that something was new."""
        self._news = self.waiting.clock()

    @property
    def over(self) -> bool:
        """Whether it has been too long."""
        return self.waiting.clock() - self._news > self.limit_s

    def wait(self) -> None:
        """Wait until the next look."""
        self.waiting.sleep(min(self._pause, self.every_s))
        self._pause = min(self._pause * _SLOWER, max(self.every_s, _FIRST_LOOK_S))


def extra_problem(name: str) -> RenderProblem | None:
    """Return that the library for HTTP is missing, or None."""
    if not missing_modules(MODULES):
        return None
    return RenderProblem(
        f"renderer {name} needs {', '.join(MODULES)}", f"pip install 'lora-pipeline[{EXTRA}]'"
    )


def address_problem(settings: Settings, key: str, example: str) -> RenderProblem | None:
    """Return that no usable address is set, or None."""
    base = settings.text(key)
    if base is None:
        return RenderProblem(f"{key} is not set", f"set {key} in {LOCAL_FILE}, such as {example}")
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return RenderProblem(
            f"{key} is {base}, which is no http address", f"set {key} to the like of {example}"
        )
    return None


def token_of(settings: Settings, key: str) -> str:
    """Return the secret whose variable a setting names, or empty when it is not set."""
    return os.environ.get(settings.require_text(key), "").strip()


def require_token(settings: Settings, key: str) -> str:
    """Return the secret whose variable a setting names.

    Raises:
        RendererError: When the variable is not set.
    """
    token = token_of(settings, key)
    if not token:
        variable = settings.require_text(key)
        raise RendererError(
            f"the environment variable {variable} is not set",
            hint=f"export {variable}=…, or name another variable with {key}",
        )
    return token


@contextlib.contextmanager
def connected(
    base: str,
    waiting: Waiting,
    *,
    token: str = "",
    variable: str = "",
    scheme: str = "Bearer",
    answer_s: float = 60.0,
) -> Iterator[ServiceClient]:
    """Return a client for a server that draws; leaving the block closes it."""
    hint = "see the server's own log"
    manner = Manner(scheme=scheme, answer_s=answer_s, brings="an image", hint=hint)
    client = ServiceClient(base, token=token, variable=variable, manner=manner, sleep=waiting.sleep)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def as_renderer_errors() -> Iterator[None]:
    """Say what went wrong with a server as what it is here: a picture that did not come."""
    try:
        yield
    except ServiceError as error:
        raise RendererError(error.message, hint=error.hint) from error


def require_mapping(answer: Any, server: str, path: str) -> dict[str, Any]:
    """Return an answer that has to be a JSON object.

    Raises:
        RendererError: When it is another document; the server is not what it should be.
    """
    if isinstance(answer, dict):
        return answer
    raise RendererError(f"{server} answers {path} with another document than its interface has")


def fetched(client: ServiceClient, path: str, folder: Path, *, length: int | None = None) -> bytes:
    """Return the bytes at a path of a server, whole.

    Raises:
        ServiceError: When they cannot be had.
    """
    target = folder / "fetched"
    try:
        client.download(path, target, bytes_expected=length)
        return target.read_bytes()
    finally:
        target.unlink(missing_ok=True)
