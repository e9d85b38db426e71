"""YAML that every command reads, parsed once: to import its parser takes longer than most commands.

What was parsed is kept under the digest of its bytes, so it cannot be out of date. Only for
settings of this machine's user; what a gate is decided by is always parsed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline import __version__
from lora_pipeline.foundation import strict_yaml


def loads(data: bytes, name: str, kept: Path, *, keep: bool = True) -> Any:
    """Return the value of YAML text, as ``strict_yaml.loads`` does.

    Args:
        data: UTF-8 bytes.
        name: What the text is, for messages.
        kept: File that holds what the text was parsed to; not written without its folder.
        keep: Whether it may be written.

    Raises:
        RecordInvalidError, MergeConflictError: As ``strict_yaml.loads`` does.
    """
    digest = hashlib.sha256(f"{__version__}\n".encode() + data).hexdigest()
    # Whatever is wrong with a cache, it is made anew.
    with contextlib.suppress(OSError, ValueError, TypeError, msgspec.MsgspecError):
        stated, value = msgspec.json.decode(kept.read_bytes())
        if stated == digest:
            return value
    value = strict_yaml.loads(data, name)
    if not keep:
        return value
    with contextlib.suppress(OSError, TypeError):
        text = msgspec.json.encode([digest, value])
        if msgspec.json.decode(text)[1] == value:  # JSON has no infinity
            _replace(kept, text)
    return value


def _replace(file: Path, text: bytes) -> None:
    temporary = file.with_name(f".lora-tmp-{file.name}-{os.getpid()}")
    try:
        temporary.write_bytes(text)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
