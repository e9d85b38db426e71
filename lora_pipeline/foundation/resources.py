"""What ships with the package: schemas, default configuration and the demo.

In an installed wheel they stand in ``lora_pipeline/_data``; in a checkout they are the
folders ``schemas``, ``config`` and ``data`` of the repository.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = _PACKAGE / "_data"


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, such as ``resource("schemas")``."""
    base = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
    return base.joinpath(*parts)
