"""Where the bytes of an image may be found: the work tree, Git LFS, the history of Git.

An image is known by its SHA-256. Bytes with another digest are another image, wherever they
stand; they are never shown in its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from lora_pipeline.datasets.image_files import ASSETS_ROOT, ImageFiles, image_files
from lora_pipeline.datasets.records import Item
from lora_pipeline.engine.images import image_limits
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.images.sniff import is_lfs_pointer
from lora_pipeline.workspace.git import history as git_history
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.root import Workspace

MISSING = "file missing"
_NOT_FETCHED = "not fetched from Git LFS"
_CHANGED = "file changed since"
_TOO_LARGE = "file too large to read"
_ELSEWHERE = "assetsRoot not set here"
_UNSAFE = "path not safe"
# The reason that helps most comes first; a file that is merely not there says least.
_TELLING = (_NOT_FETCHED, _TOO_LARGE, _CHANGED, _UNSAFE, _ELSEWHERE, MISSING)


class ImageSource(Protocol):
    """A place that may hold the bytes of images."""

    def read(self, item: Item) -> bytes | str:
        """Return the bytes of an image, or why they are not to be had."""


class WorkTree(msgspec.Struct, frozen=True):
    """The files as they stand now.

    Attributes:
        files: Finds them.
        max_bytes: Longest file that is read.
    """

    files: ImageFiles
    max_bytes: int

    def read(self, item: Item) -> bytes | str:
        """Return the file of an item when it still is that image."""
        try:
            path = self.files.locate(item.path)
        except PipelineError:
            return _ELSEWHERE if item.path.startswith(ASSETS_ROOT) else _UNSAFE
        return _read(path, item, self.max_bytes)


class LfsStore(msgspec.Struct, frozen=True):
    """What Git LFS keeps on this machine, whichever branch is checked out.

    Attributes:
        objects: Its folder, by SHA-256.
        max_bytes: Longest file that is read.
    """

    objects: Path
    max_bytes: int

    def read(self, item: Item) -> bytes | str:
        """Return the content with the digest of an item."""
        if len(item.sha256) != 64:
            return MISSING
        path = self.objects / item.sha256[:2] / item.sha256[2:4] / item.sha256
        return _read(path, item, self.max_bytes)


class Commit(msgspec.Struct, frozen=True):
    """The files of one commit.

    Attributes:
        root: Top of the work tree.
        commit: Id of the commit.
        data_root: Root of the paths of records, as a path from the top of the work tree.
        max_bytes: Longest file that is read.
    """

    root: Path
    commit: str
    data_root: str
    max_bytes: int

    def read(self, item: Item) -> bytes | str:
        """Return the file of an item as the commit has it."""
        if item.path.startswith(ASSETS_ROOT):
            return _ELSEWHERE
        if unsafe_reason(item.path):
            return _UNSAFE
        name = f"{self.data_root}/{item.path}"
        data = git_history.file_in(self.root, self.commit, name, max_bytes=self.max_bytes)
        return MISSING if data is None else _judged(data, item)


def image_sources(workspace: Workspace, *commits: str) -> tuple[ImageSource, ...]:
    """Return the places of a workspace, the cheapest first.

    Args:
        workspace: The workspace.
        *commits: Ids of the commits whose files count too.
    """
    limit = image_limits(workspace.settings).max_bytes
    found: list[ImageSource] = [WorkTree(image_files(workspace), limit)]
    root = git.repository_root(workspace.root)
    if root is None:
        return tuple(found)
    objects = git_history.lfs_objects(root)
    if objects is not None:
        found.append(LfsStore(objects, limit))
    data_root = git_history.name_in(root, workspace.data_root)
    found += [Commit(root, one, data_root, limit) for one in commits]
    return tuple(found)


def read_image(sources: Sequence[ImageSource], item: Item) -> bytes | str:
    """Return the bytes of an image from the first place that has them, or why none has."""
    reasons: list[str] = []
    for source in sources:
        found = source.read(item)
        if isinstance(found, bytes):
            return found
        reasons.append(found)
    return min(reasons, key=_TELLING.index, default=MISSING)


def _read(path: Path, item: Item, max_bytes: int) -> bytes | str:
    try:
        if path.stat().st_size > max_bytes:
            return _TOO_LARGE
        return _judged(path.read_bytes(), item)
    except OSError:
        return MISSING


def _judged(data: bytes, item: Item) -> bytes | str:
    if is_lfs_pointer(data):
        return _NOT_FETCHED
    # Manifests of other tools may state no digest; the path is all there is to go by then.
    same = not item.sha256 or hashlib.sha256(data).hexdigest() == item.sha256
    return data if same else _CHANGED
