"""What decoding said of images, kept by the digest of their bytes.

An import that was interrupted, or refused for one bad file, need not be waited for twice. What is
kept is never trusted for bytes: whoever asks has just taken the digest of the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import msgspec

from lora_pipeline.foundation.images.client import ImageFacts, ImageLimits
from lora_pipeline.workspace.root import Workspace

_FORM = 1  # a new one when decoding says something else of the same bytes


class _Line(msgspec.Struct, frozen=True):
    sha256: str
    facts: msgspec.Raw


_LINE = msgspec.json.Decoder(_Line)
_FACTS = msgspec.json.Decoder(ImageFacts)


class FactsCache:
    """Facts about images by the SHA-256 of their bytes, in a file below the runtime folder.

    Only whole lines count, so a line that was cut off by an interruption is as if it were not
    there. A dry run reads it and adds nothing.
    """

    def __init__(self, workspace: Workspace, limits: ImageLimits) -> None:
        self._keeps = not workspace.dry_run
        name = f"image-facts-{_FORM}-pillow-{version('pillow')}.jsonl"
        self._path = workspace.runtime / "cache" / name
        self._limits = limits
        self._known = _read(self._path)

    def get(self, sha256: str) -> ImageFacts | None:
        """Return what is known of an image, or None when it must be decoded."""
        raw = self._known.get(sha256)
        if raw is None:
            return None
        try:
            facts = _FACTS.decode(raw)
        except msgspec.DecodeError:
            return None
        # What was allowed before may be too large by the settings of today.
        return facts if facts.width * facts.height <= self._limits.max_pixels else None

    def add(self, found: Iterable[tuple[str, ImageFacts]]) -> None:
        """Keep what decoding said; without a word when the disk refuses."""
        lines = [
            msgspec.json.encode({"sha256": sha256, "facts": facts})
            for sha256, facts in found
            if sha256 not in self._known
        ]
        if not lines or not self._keeps:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as stream:
                # A line of another process that was cut off must not swallow the first of ours.
                stream.write(b"\n" + b"\n".join(lines) + b"\n")
        except OSError:
            return


def _read(path: Path) -> dict[str, bytes]:
    known: dict[str, bytes] = {}
    try:
        with path.open("rb") as stream:
            for line in stream:
                try:
                    entry = _LINE.decode(line)
                except msgspec.DecodeError:
                    continue
                known[entry.sha256] = bytes(entry.facts)
    except OSError:
        return {}
    return known
