"""``lora asset …`` in tests."""

from __future__ import annotations

from pathlib import Path

from tests.support.workspace_builders import Answer, invoke


def import_art(studio: Path, art: Path, *options: str) -> Answer:
    """Import a folder or file as icons and return the JSON answer."""
    return invoke(
        ["asset", "import", str(art), "--asset-type", "ui_icon", *options, "--json"], studio
    )
