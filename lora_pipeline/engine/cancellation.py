"""Asking running work to stop."""

from __future__ import annotations

import threading

from lora_pipeline.foundation.errors import OperationCancelledError


class Cancellation:
    """A flag that the asker sets and the worker looks at between units of work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Ask the work to stop at its next safe point."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether the work was asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Stop here when that was asked for.

        Raises:
            OperationCancelledError: When it was.
        """
        if self.requested:
            raise OperationCancelledError("cancelled")
