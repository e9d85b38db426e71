"""What folder names say about the images in them, when the import was told to read them.

Decides only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from lora_pipeline.catalog.imports.folder import FoundImage
from lora_pipeline.foundation.errors import ArgumentInvalidError

LayoutName = Literal["plain", "kohya"]
SKIP = "-"
_GROUP = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,62}")
_KOHYA = re.compile(r"(\d+)_(.*)", re.DOTALL)


class FolderWords(msgspec.Struct, frozen=True):
    """What the folders above an image say.

    Attributes:
        tags: A group and the word of a folder, for each that is to be a tag.
        repeats: How often kohya's scripts show the image in an epoch; 0 where nothing says.
        words: Instance and class words of kohya's folder: the caption of images without one.
        aside: Why the image is no art to import, or empty.
    """

    tags: tuple[tuple[str, str], ...] = ()
    repeats: int = 0
    words: str = ""
    aside: str = ""


def read_groups(names: Sequence[str]) -> tuple[str, ...]:
    """Return the tag groups that folder levels stand for; ``-`` passes a level over.

    Raises:
        ArgumentInvalidError: When one is no group.
    """
    for name in names:
        if name != SKIP and not _GROUP.fullmatch(name):
            raise ArgumentInvalidError(
                f"--folder-tags takes tag groups, got {name!r}",
                hint="--folder-tags color,style: art/red/flat/x.png is color:red and style:flat",
            )
    return tuple(names)


def folder_words(
    image: FoundImage, layout: LayoutName, groups: Sequence[str], *, imported: str
) -> FolderWords:
    """Return what the folders above an image say.

    Args:
        image: The image.
        layout: ``plain``: the levels are the groups' words. ``kohya``: the nearest folder is
            ``<repeats>_<words>``, and its words are the first group's.
        groups: Group of each level, ``-`` for none.
        imported: Name of the imported folder, which may be such a folder itself.
    """
    levels = PurePosixPath(image.name).parts[:-1]
    if layout == "kohya":
        return _kohya((imported, *levels), groups)
    named = zip(groups, levels, strict=False)
    return FolderWords(tags=tuple((group, level) for group, level in named if group != SKIP))


def looks_like_kohya(images: Sequence[FoundImage], imported: str) -> bool:
    """Return whether every image stands in a folder that kohya's scripts would train on."""
    return bool(images) and all(
        _KOHYA.fullmatch((imported, *PurePosixPath(image.name).parts[:-1])[-1]) for image in images
    )


def _kohya(levels: Sequence[str], groups: Sequence[str]) -> FolderWords:
    if any(level.casefold() == "reg" for level in levels[1:]):
        return FolderWords(aside="it stands in reg, for regularisation images, which are no art")
    match = _KOHYA.fullmatch(levels[-1])
    if match is None or int(match.group(1)) < 1:
        return FolderWords(
            aside=f"its folder {levels[-1]!r} is not of the form 10_words, and kohya passes it over"
        )
    words = match.group(2).strip()
    named = [(group, words) for group in groups[:1] if group != SKIP and words]
    return FolderWords(tuple(named), int(match.group(1)), words)
