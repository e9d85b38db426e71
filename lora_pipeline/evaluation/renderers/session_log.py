"""The log of a session with a server, beside which nothing of it stays."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from lora_pipeline.foundation.redaction import redacted

LOG_NAME = "renderer.log"


class SessionLog:
    """Takes lines; secrets are taken out of them.

    Args:
        folder: Private folder of the grid.
        secrets: Values that must not be kept.
    """

    def __init__(self, folder: Path, secrets: tuple[str, ...] = ()) -> None:
        self.path = folder / LOG_NAME
        self._secrets = secrets

    def __enter__(self) -> Self:
        """Start the log anew."""
        self._stream = self.path.open("w", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, with the reason where the session ended badly."""
        if error is not None:
            self(f"{type(error).__name__}: {error}")
        self._stream.close()

    def __call__(self, line: str) -> None:
        """Write one line."""
        self._stream.write(f"{redacted(line, self._secrets)}\n")
        self._stream.flush()
