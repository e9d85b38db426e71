"""Routes at which a fake server stops and waits, so that a client can be killed right there."""

from __future__ import annotations

import threading

_LONGEST_S = 60.0


class HeldRoutes:
    """At most one route is held; its first request waits there until it is released."""

    def __init__(self) -> None:
        self._route = ""
        self._arrived, self._open = threading.Event(), threading.Event()

    def hold(self, route: str) -> None:
        """Let the next request that begins with ``METHOD /path`` wait."""
        self._route = route

    def wait_held(self) -> None:
        """Wait until a request has come to the held route."""
        if not self._arrived.wait(_LONGEST_S):
            raise AssertionError(f"nobody asked for {self._route}")

    def release(self) -> None:
        """Let requests through again."""
        self._route = ""
        self._open.set()

    def pass_by(self, request: str) -> None:
        """Wait when this request is held."""
        if self._route and request.startswith(self._route):
            self._arrived.set()
            self._open.wait(_LONGEST_S)
