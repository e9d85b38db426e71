"""What stands in a folder that is imported: images, and what is left aside with its reason."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from lora_pipeline.foundation.errors import FileMissingError
from lora_pipeline.foundation.images.sniff import EXTENSIONS, OTHER_IMAGE_EXTENSIONS

CAPTION_EXTENSIONS = (".txt", ".caption")
SIDE_CAR_EXTENSIONS = (*CAPTION_EXTENSIONS, ".json")
METADATA_NAMES = ("assets.csv", "assets.json", "assets.jsonl", "metadata.csv", "metadata.jsonl")
# What an export of ours leaves in its folder.
EXPORT_NAME = "lora-export.json"
# How OneTrainer names the mask beside an image.
MASK_ENDING = "-masklabel.png"
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "icon\r"})


class FoundImage(msgspec.Struct, frozen=True):
    """A file that its name calls an image.

    Attributes:
        name: POSIX path below the imported folder, in Unicode normal form C.
        path: The file.
    """

    name: str
    path: Path


class BadFile(msgspec.Struct, frozen=True):
    """A file that cannot be imported.

    Attributes:
        file: POSIX path below the imported folder, or the metadata file's line.
        code: Stable slug.
        reason: What is wrong, in one sentence.
        hint: What to do, or empty.
    """

    file: str
    code: str
    reason: str
    hint: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the JSON-ready form."""
        return {"file": self.file, "code": self.code, "reason": self.reason, "hint": self.hint}


@dataclass
class FolderContents:
    """What a folder holds.

    Attributes:
        folder: The folder.
        images: In the order of their names.
        bad: What was meant to be an image and cannot be one.
        others: Names of files that are neither images nor describe one.
        metadata: Files that describe the images of a folder, by that folder's POSIX path.
        masks: Names of files that say where the loss of an image counts, and are no art.
    """

    folder: Path
    images: list[FoundImage] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    metadata: dict[str, list[Path]] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)

    def set_masks_aside(self, names: Iterable[str]) -> None:
        """Take files that are masks of images from among the images."""
        masks = set(names)
        self.masks += [image.name for image in self.images if image.name in masks]
        self.images[:] = [image for image in self.images if image.name not in masks]


def read_folder(source: Path) -> FolderContents:
    """Return what stands in a folder and the folders below it; or the one file that is given.

    Hidden files and folders are passed over. Links to files inside the folder are followed,
    links that lead out of it and links to folders are not. A folder in it that cannot be read is
    one of the bad files.

    Raises:
        FileMissingError: When there is no such folder, or it cannot be read.
    """
    if source.is_file():
        single = FolderContents(source.parent)
        _sort_in(single, source, source.name)
        for name in METADATA_NAMES:
            if (source.parent / name).is_file():
                single.metadata.setdefault(".", []).append(source.parent / name)
        return single
    if not source.is_dir():
        raise FileMissingError(f"no folder {source}", hint="lora asset import FOLDER")
    contents = FolderContents(source)
    for path, name in _files_below(source, contents):
        _sort_in(contents, path, name)
    _set_aside_same_names(contents)
    contents.set_masks_aside(_named_as_masks(contents.images))
    return contents


def is_there(path: Path) -> bool:
    """Return whether there is such a file; a name too long for the disk is none.

    The longest name with another ending can be longer than any disk holds.
    """
    try:
        return path.is_file()
    except OSError:
        return False


def _files_below(folder: Path, contents: FolderContents) -> Iterator[tuple[Path, str]]:
    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise FileMissingError(f"cannot read {folder}: {error.strerror}") from error
        shown = _shown(Path(error.filename).relative_to(folder).as_posix())
        reason = f"{shown} cannot be read: {error.strerror}"
        contents.bad.append(BadFile(shown, "file_missing", reason))

    for here, folders, names in os.walk(folder, onerror=refuse):
        relative = Path(here).relative_to(folder)
        for name in sorted(folders):
            if Path(here, name).is_symlink():
                shown = _shown((relative / name).as_posix())
                contents.bad.append(BadFile(shown, "unsafe_path", f"{shown} is a link to a folder"))
        folders[:] = sorted(one for one in folders if not one.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in _SYSTEM_FILES:
                yield Path(here, name), (relative / name).as_posix()


def _sort_in(contents: FolderContents, path: Path, name: str) -> None:
    extension, shown = path.suffix.lower(), _shown(name)
    if extension not in EXTENSIONS and extension not in OTHER_IMAGE_EXTENSIONS:
        if path.name.lower() in METADATA_NAMES:
            contents.metadata.setdefault(PurePosixPath(name).parent.as_posix(), []).append(path)
        elif path.name != EXPORT_NAME and not _stands_beside_an_image(path):
            contents.others.append(shown)
        return
    problem = _name_problem(contents.folder, path, name)
    if problem:
        contents.bad.append(BadFile(shown, "unsafe_path", f"{shown} {problem}"))
        return
    contents.images.append(FoundImage(unicodedata.normalize("NFC", name), path))


def _stands_beside_an_image(path: Path) -> bool:
    if path.suffix.lower() not in SIDE_CAR_EXTENSIONS:
        return False
    return any(is_there(path.with_suffix(extension)) for extension in _image_spellings())


def _image_spellings() -> Iterator[str]:
    for extension in EXTENSIONS:
        yield extension
        yield extension.upper()


def _name_problem(folder: Path, path: Path, name: str) -> str | None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        return "is a link that leads out of the folder"
    return None


def _named_as_masks(images: Iterable[FoundImage]) -> Iterator[str]:
    stems = {image.name.rpartition(".")[0] for image in images}
    for image in images:
        stem = image.name.removesuffix(MASK_ENDING)
        if stem != image.name and stem in stems:
            yield image.name


def _set_aside_same_names(contents: FolderContents) -> None:
    seen: dict[str, FoundImage] = {}
    for image in contents.images:
        first = seen.setdefault(image.name, image)
        if first is not image:
            reason = f"{image.name} stands twice, in two spellings of Unicode"
            contents.bad.append(BadFile(image.name, "unsafe_path", reason))
    # By the name without its ending: of two copies, "gem.png" comes before "gem (copy).png".
    contents.images[:] = sorted(
        seen.values(), key=lambda image: (image.name.rpartition(".")[0], image.name)
    )


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
