"""A check-up as text that can be shown to strangers: no names, no paths of homes, no secrets."""

from __future__ import annotations

import platform
import re
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lora_pipeline import __version__
from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.workspace.documents import documents
from lora_pipeline.workspace.health.machine import Check
from lora_pipeline.workspace.root import Workspace

_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|[\w.+-]+@[\w-]+")


def bundle_of(workspace: Workspace, checks: Sequence[Check]) -> str:
    """Return a report in Markdown: versions, checks, settings by name, records by kind.

    E-mail addresses, the names of this machine and of its user, and what looks like a secret are
    taken out; of settings only the source is told.
    """
    counts = Counter(document.place.kind for document in documents(workspace))
    lines = [
        "# lora doctor",
        "",
        _versions(),
        "",
        "| check | state | found |",
        "|---|---|---|",
        *(f"| {one.name} | {one.state} | {_cell(one.message)} |" for one in checks),
        "",
        "| setting | from |",
        "|---|---|",
        *(
            f"| {one.setting.key} | {_cell(one.source)} |"
            for one in workspace.settings.explain()
            if one.source != "default"
        ),
        "",
        "| records | number |",
        "|---|---|",
        *(f"| {kind} | {count} |" for kind, count in sorted(counts.items())),
    ]
    return _anonymous("\n".join(lines) + "\n", workspace.root)


def _versions() -> str:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"lora-pipeline {__version__} · Python {platform.python_version()} · {system}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _anonymous(text: str, root: Path) -> str:
    text = redacted(text)
    home = Path.home()
    for path, word in ((root, "WORKSPACE"), (home, "HOME")):
        if len(path.parts) > 1:
            text = text.replace(str(path), word)
    for name, word in ((socket.gethostname(), "MACHINE"), (home.name, "USER")):
        if len(name) > 2:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", word, text)
    return _ADDRESS.sub("PERSON", text)
