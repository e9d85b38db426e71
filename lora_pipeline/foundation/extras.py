"""Optional extras: said by name when they are missing, never by a traceback."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from lora_pipeline.foundation.errors import ExtraMissingError


def missing_modules(modules: Sequence[str]) -> list[str]:
    """Return those of ``modules`` that are not installed; none is imported."""
    return [module for module in modules if not _is_there(module)]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there either
        return False


def require_extra(extra: str, modules: Sequence[str]) -> None:
    """Check that an extra is installed.

    Raises:
        ExtraMissingError: When one of its modules is not; the hint is the install command.
    """
    missing = missing_modules(modules)
    if missing:
        raise ExtraMissingError(
            f"this needs the extra {extra!r} ({', '.join(missing)} not installed)",
            hint=f"pip install 'lora-pipeline[{extra}]'",
        )
