"""Where the images of records stand on this machine, and what their bytes prove.

A path of a record is data: it is joined safely, and no symbolic link leads it out of its root.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    FileMissingError,
    SettingsError,
    UnsafePathError,
)
from lora_pipeline.foundation.file_facts import FileFacts, FileReader
from lora_pipeline.workspace.root import Workspace

ASSETS_ROOT = "assetsRoot:"
_LFS_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-\S+ \S+\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n"
)


class Proof(msgspec.Struct, frozen=True):
    """What is known of a file from its bytes.

    Attributes:
        bytes: Length of the image.
        sha256: Its SHA-256.
        xxh3: Its XXH3-128; empty when only a pointer was read.
        pointer: True when a Git LFS pointer stands in for the image: it proves SHA-256 and
            length, and nothing else.
        plain_png: True when every trainer reads the file alike as it is: see ``file_facts``.
        file: The file that was read.
    """

    bytes: int
    sha256: str
    xxh3: str
    pointer: bool = False
    plain_png: bool = False
    file: str = ""

    def agrees(self, *, sha256: str, xxh3: str = "", size: int = 0) -> bool:
        """Return whether the file is the one with that identity; empty parts are not known."""
        if self.sha256 != sha256 or (size and self.bytes != size):
            return False
        return self.pointer or not xxh3 or self.xxh3 == xxh3


class ImageFiles:
    """Finds images by the paths of records, below the data root or below ``assetsRoot``.

    Folders that were found to be no links are remembered for as long as the object lives.

    Args:
        data_root: Root of paths without a prefix.
        assets_root: Root of paths that start with ``assetsRoot:``; None when it is not set.
    """

    def __init__(self, data_root: Path, assets_root: Path | None = None) -> None:
        self._data_root = str(data_root)
        self._assets_root = None if assets_root is None else str(assets_root)
        self._checked: set[str] = set()

    def locate(self, path: str) -> Path:
        """Return the file that a record's path means, whether it is there or not.

        Raises:
            UnsafePathError: When the path leaves its root.
            SettingsError: When it stands below ``assetsRoot`` and that is not set here.
        """
        root, relative = self._place(path)
        # Resolving every path would cost more than reading a small image. Only links can lead
        # outside, so only they are resolved.
        if self._holds_link(root, relative):
            return files.safe_join(Path(root), relative)
        return Path(root, relative)

    def find(self, path: str) -> tuple[str, os.stat_result]:
        """Return the file that a record's path means, and its status.

        Raises:
            FileMissingError: When it is not there, or is no file.
            UnsafePathError, SettingsError: As ``locate`` does.
        """
        root, relative = self._place(path)
        file = f"{root}/{relative}"
        try:
            # The status that tells whether it is a link is the one that is wanted: one call.
            status = os.lstat(file)
            link = stat.S_ISLNK(status.st_mode)
            if link or self._folder_holds_link(root, relative.rpartition("/")[0]):
                target = files.safe_join(Path(root), relative)
                file, status = str(target), target.stat()
        except OSError as error:
            raise FileMissingError(f"no file {path}") from error
        if not stat.S_ISREG(status.st_mode):
            raise FileMissingError(f"{path} is no file")
        return file, status

    def prove(self, path: str) -> Proof:
        """Return what the file of a record's path is, from one read.

        Raises:
            FileMissingError: When it cannot be read.
            UnsafePathError, SettingsError: As ``locate`` does.
        """
        file, _ = self.find(path)
        try:
            return proof_of(file, FileReader().facts(file))
        except OSError as error:
            raise FileMissingError(f"cannot read {path}: {error.strerror}") from error

    def _place(self, path: str) -> tuple[str, str]:
        root, relative = self._data_root, path
        if path.startswith(ASSETS_ROOT):
            relative = path.removeprefix(ASSETS_ROOT)
            if self._assets_root is None:
                raise SettingsError(
                    "setting assetsRoot is not set on this machine",
                    hint="set assetsRoot in config/local.json, or LORA_ASSETS_ROOT",
                )
            root = self._assets_root
        reason = files.unsafe_reason(relative)
        if reason:
            raise UnsafePathError(f"path {path!r} {reason}")
        return root, relative

    def _holds_link(self, root: str, relative: str) -> bool:
        folder, _, name = relative.rpartition("/")
        return self._folder_holds_link(root, folder) or _is_link(f"{root}/{folder}/{name}")

    def _folder_holds_link(self, root: str, folder: str) -> bool:
        if not folder or f"{root}/{folder}" in self._checked:
            return False
        if self._folder_holds_link(root, folder.rpartition("/")[0]):
            return True
        if _is_link(f"{root}/{folder}"):
            return True
        self._checked.add(f"{root}/{folder}")
        return False


def image_files(workspace: Workspace) -> ImageFiles:
    """Return the finder for a workspace."""
    assets_root = workspace.settings.text("assetsRoot")
    return ImageFiles(
        workspace.data_root,
        workspace.root / Path(assets_root).expanduser() if assets_root else None,
    )


def proof_of(file: str, facts: FileFacts) -> Proof:
    """Return what a file that was read proves: itself, or the image that it points to."""
    return pointer_in(facts.head) or Proof(
        facts.size, facts.sha256, facts.xxh3, plain_png=facts.plain_png, file=file
    )


def pointer_in(head: bytes) -> Proof | None:
    """Return what a Git LFS pointer says of its image, or None when these bytes are none."""
    match = _LFS_POINTER.fullmatch(head)
    if match is None:
        return None
    return Proof(int(match.group(2)), match.group(1).decode(), "", pointer=True)


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False
