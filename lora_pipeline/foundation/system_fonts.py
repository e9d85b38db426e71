"""The font files of this machine, likeliest to hold an unusual letter first."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

_EXTENSIONS = (".ttf", ".otf", ".ttc")
_MOST = 2000  # files; a machine with more has what is looked for among these
# The beginnings of the names of fonts that hold many letters, the plainest first.
_PREFERRED = (
    "notosans-regular", "dejavusans.", "segoeui.", "helvetica.", "arial.", "liberationsans-r",
    "notosanscjk-r", "notosansjp-r", "notosanssc-r", "notosanskr-r", "sourcehansans", "wqy",
    "yugothr", "yugothm", "msyh.", "malgun.", "msgothic", "hiragino", "pingfang",
    "applesdgothicneo", "arial unicode", "arialuni", "notosans", "unifont", "freesans", "seguisym",
    "notoemoji",
)  # fmt: skip
# Cuts that are harder to read beside an upright text face; they come last.
_UNUSUAL = ("bold", "italic", "oblique", "mono", "condensed", "narrow", "light", "thin", "black")


@functools.cache
def font_files() -> tuple[Path, ...]:
    """Return the font files of this machine, in an order that is the same at every call."""
    found: list[Path] = []
    for folder in _folders():
        for place, _, names in os.walk(folder):
            found += [Path(place, name) for name in names if _is_font(name)]
            if len(found) >= _MOST:
                break
    return tuple(sorted(found, key=_rank))


def _folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        windows = Path(os.environ.get("WINDIR", r"C:\Windows"))
        local = Path(os.environ.get("LOCALAPPDATA", str(home)))
        return [windows / "Fonts", local / "Microsoft" / "Windows" / "Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), data / "fonts"]


def _is_font(name: str) -> bool:
    return name.lower().endswith(_EXTENSIONS)


def _rank(path: Path) -> tuple[bool, int, str, str]:
    name = path.name.lower()
    known = (place for place, start in enumerate(_PREFERRED) if name.startswith(start))
    unusual = any(word in name for word in _UNUSUAL)
    return unusual, next(known, len(_PREFERRED)), name, str(path)
