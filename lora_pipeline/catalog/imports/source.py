"""All that a folder says about its images: the folder itself, metadata files, side-car files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from lora_pipeline.catalog.imports.captions import CaptionKind, read_side_cars
from lora_pipeline.catalog.imports.columns import Columns
from lora_pipeline.catalog.imports.facts import FileFacts, facts_of
from lora_pipeline.catalog.imports.folder import (
    EXPORT_NAME,
    FolderContents,
    FoundImage,
    read_folder,
)
from lora_pipeline.catalog.imports.marker import ExportMarker, read_marker
from lora_pipeline.catalog.imports.metadata import (
    Described,
    Metadata,
    read_all_metadata,
    read_metadata,
)
from lora_pipeline.foundation.errors import ImportSourceError


@dataclass
class ImportSource:
    """A folder that is imported, with what describes its images.

    Attributes:
        contents: What stands in it.
        metadata: What files say about its images.
        columns: What the columns of these files mean, and which mean nothing.
        marker: What an export of ours left in it.
        encoding: Encoding of its text files, when a person said it.
    """

    contents: FolderContents
    metadata: Metadata = field(default_factory=Metadata)
    columns: Columns = field(default_factory=Columns)
    marker: ExportMarker | None = None
    encoding: str = ""

    def facts(self, image: FoundImage, captions: CaptionKind) -> FileFacts:
        """Return what is said about an image, its caption included.

        Raises:
            ImportSourceError: When a file beside it cannot be used.
        """
        described = self.metadata.images.get(image.name)
        said = described.facts if described else FileFacts()
        if self.marker and self.marker.images and described:
            return self._since_export(image, said, captions)
        return said.over(read_side_cars(image.path, encoding=self.encoding))

    def _since_export(self, image: FoundImage, said: FileFacts, captions: CaptionKind) -> FileFacts:
        assert self.marker is not None  # noqa: S101 - asked for before
        side_car = PurePosixPath(image.name).with_suffix(".txt").as_posix()
        if self.marker.holds(self.contents.folder, side_car):
            return said
        # Somebody worked on the caption: it says more than what was known at the export.
        new = read_side_cars(image.path, encoding=self.encoding)
        tags = () if captions in ("tags", "booru") else said.tags
        return new.over(replace(said, prompt="", tags=tags))


def read_source(
    source: Path, *, metadata: Path | None, columns: Columns, encoding: str
) -> ImportSource:
    """Return what stands in a folder, or beside one image, with what describes it.

    Args:
        source: The folder, or one image.
        metadata: File that describes the images; those in the folder are found without it.
        columns: What columns of metadata files mean.
        encoding: Encoding of text files; UTF-8, or what their mark says, when empty.

    Raises:
        FileMissingError: When there is no such folder or metadata file.
        ImportSourceError: When a metadata file cannot be used, or two of them describe a folder.
    """
    contents = read_folder(source)
    marker = read_marker(contents.folder)
    found = ImportSource(contents, columns=columns, marker=marker, encoding=encoding)
    if metadata is not None:
        found.metadata = read_metadata(metadata, columns=columns, encoding=encoding)
    elif marker and marker.images:
        found.metadata = _of_export(marker)
    else:
        found.metadata = read_all_metadata(
            _one_a_folder(contents), columns=columns, encoding=encoding
        )
        if marker:
            found.metadata = _without_own_captions(found.metadata, contents, marker)
    columns.require_met()
    contents.others[:] = [name for name in contents.others if not _is_ours(name, marker)]
    named = [described.facts.mask for described in found.metadata.images.values()]
    contents.set_masks_aside([*named, *(marker.masks if marker else ())])
    found.metadata = found.metadata.matched([image.name for image in contents.images])
    return found


def _one_a_folder(contents: FolderContents) -> list[tuple[str, Path]]:
    for paths in contents.metadata.values():
        if len(paths) > 1:
            names = " and ".join(path.name for path in sorted(paths))
            raise ImportSourceError(
                f"{paths[0].parent.name} holds {names}; one file must describe the images",
                hint=f"--metadata {min(paths)}",
            )
    return [
        ("" if folder == "." else folder, paths[0])
        for folder, paths in sorted(contents.metadata.items())
    ]


def _is_ours(name: str, marker: ExportMarker | None) -> bool:
    return marker is not None and any(name == one.name for one in marker.files)


def _of_export(marker: ExportMarker) -> Metadata:
    images: dict[str, Described] = {}
    for number, row in enumerate(marker.images, start=1):
        where = f"{EXPORT_NAME} image {number}"
        images[str(row.get("file", ""))] = Described(facts_of(row, where=where), where)
    return Metadata(EXPORT_NAME, images)


def _without_own_captions(
    metadata: Metadata, contents: FolderContents, marker: ExportMarker
) -> Metadata:
    # A caption that an export wrote was made of the words that stand beside it.
    files: Sequence[str] = [
        path.relative_to(contents.folder).as_posix()
        for paths in contents.metadata.values()
        for path in paths
    ]
    if not all(marker.holds(contents.folder, name) for name in files):
        return metadata
    images = {
        name: Described(replace(described.facts, caption=""), described.where)
        for name, described in metadata.images.items()
    }
    return Metadata(metadata.name, images)
