"""Where the images of records stand on this machine, and what their bytes prove.

A path of a record is data: it is joined safely, and no symbolic link leads it out of its root.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.foundation.digests import digest_file
from lora_pipeline.foundation.errors import (
    FileMissingError,
    PipelineError,
    SettingsError,
    UnsafePathError,
)
from lora_pipeline.workspace.root import Workspace

ASSETS_ROOT = "assetsRoot:"
_LFS_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-\S+ \S+\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n"
)
_LONGEST_POINTER = 1024


@dataclass(frozen=True)
class Proof:
    """What is known of a file from its bytes.

    Attributes:
        bytes: Length of the image.
        sha256: Its SHA-256.
        xxh3: Its XXH3-128; empty when only a pointer was read.
        pointer: True when a Git LFS pointer stands in for the image: it proves SHA-256 and
            length, and nothing else.
    """

    bytes: int
    sha256: str
    xxh3: str
    pointer: bool = False

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
        self._data_root = data_root
        self._assets_root = assets_root
        self._checked: set[str] = set()

    def locate(self, path: str) -> Path:
        """Return the file that a record's path means, whether it is there or not.

        Raises:
            UnsafePathError: When the path leaves its root.
            SettingsError: When it stands below ``assetsRoot`` and that is not set here.
        """
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
        # Resolving every path would cost more than reading a small image. Only links can lead
        # outside, so only they are resolved.
        if self._holds_link(str(root), relative):
            return files.safe_join(root, relative)
        return root / relative

    def prove(self, path: str) -> Proof:
        """Return what the file of a record's path is, from one read.

        Raises:
            FileMissingError: When it cannot be read.
            UnsafePathError, SettingsError: As ``locate`` does.
        """
        file = self.locate(path)
        try:
            status = file.stat()
        except OSError as error:
            raise FileMissingError(f"no file {path}") from error
        if not stat.S_ISREG(status.st_mode):
            raise FileMissingError(f"{path} is no file")
        if status.st_size <= _LONGEST_POINTER and (pointer := read_pointer(file)):
            return pointer
        digest = digest_file(file)
        return Proof(digest.bytes, digest.sha256, digest.xxh3)

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


def read_pointer(file: Path) -> Proof | None:
    """Return what a Git LFS pointer says of the image, or None when the file is none."""
    try:
        with file.open("rb") as stream:
            match = _LFS_POINTER.fullmatch(stream.read(_LONGEST_POINTER + 1))
    except OSError:
        return None
    if match is None:
        return None
    return Proof(int(match.group(2)), match.group(1).decode(), "", pointer=True)


def prove_or_explain(image_files: ImageFiles, path: str) -> Proof | PipelineError:
    """Return the proof of a file, or why there is none; for work on many files at once."""
    try:
        return image_files.prove(path)
    except (FileMissingError, UnsafePathError, SettingsError) as error:
        return error


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False
