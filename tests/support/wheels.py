"""Small real wheels in a folder, so that pip installs without a network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str] | None = None,
    scripts: Mapping[str, str] | None = None,
) -> Path:
    """Write a pure wheel that holds a module of its name, ``files`` and console scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = name.replace("-", "_")
    about = f"{plain}-{version}.dist-info"
    content = dict(files or {f"{plain}/__init__.py": ""})
    content[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content[f"{about}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if scripts:
        lines = [f"{script} = {target}" for script, target in scripts.items()]
        content[f"{about}/entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
    rows = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in content.items()]
    content[f"{about}/RECORD"] = "\n".join([*rows, f"{about}/RECORD,,", ""])
    target = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return target


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
