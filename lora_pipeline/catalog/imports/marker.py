"""``lora-export.json``: what an export of ours leaves in its folder.

The next export knows by it which files are its own and whether anybody changed them; an import
takes from it what the folder's own layout cannot say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.catalog.imports.folder import EXPORT_NAME
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import FileMissingError, ImportSourceError, PipelineError

FORM = 1  # a new one when the files that an export writes change their form
_WHAT = "lora dataset export"


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file that an export wrote: its POSIX path below the folder, and its bytes."""

    name: str
    sha256: str


class ExportMarker(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What an export wrote.

    Attributes:
        written_by: What this file is, for people who find it.
        form: Form of the export's files.
        layout: Whose layout it is.
        dataset_id: The manifest.
        content_hash: What the manifest held.
        plan: Digest of everything that decides about the files; the same plan, the same files.
        pictures: How images were brought to their form; the same, and they need not be again.
        complete: False while files are being written.
        files: Every file of the export but this one.
        images: What is said of each image, by columns of an import, where the layout has no
            file that says it.
        masks: Files that are no art: they say where the loss of an image counts.
    """

    written_by: str = _WHAT
    form: int = FORM
    layout: str
    dataset_id: str
    content_hash: str
    plan: str
    pictures: str
    complete: bool
    files: tuple[ExportedFile, ...]
    images: tuple[dict[str, Any], ...] = ()
    masks: tuple[str, ...] = ()

    def changed(self, folder: Path) -> list[str]:
        """Return the files that are not what was written: changed, or gone."""
        return [one.name for one in self.files if not _is(folder / one.name, one.sha256)]

    def holds(self, folder: Path, name: str) -> bool:
        """Return whether a file is of the export and as it was written."""
        written = {one.name: one.sha256 for one in self.files}
        return name in written and _is(folder / name, written[name])

    def encoded(self) -> bytes:
        """Return its bytes."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        document |= {key: list(document.get(key, ())) for key in ("files", "images")}
        return strict_json.dumps(document, one_line_each=("files", "images"))


def read_marker(folder: Path) -> ExportMarker | None:
    """Return what an export left in a folder, or None when there was none.

    Raises:
        ImportSourceError: When the file is there and cannot be read.
    """
    path = folder / EXPORT_NAME
    if not path.is_file():
        return None
    try:
        marker = msgspec.convert(strict_json.load(path), ExportMarker)
    except (PipelineError, msgspec.ValidationError) as error:
        reason = error.message if isinstance(error, PipelineError) else str(error)
        raise ImportSourceError(
            f"{path} is not what an export wrote: {reason}",
            hint="remove it if the folder is no export any more",
        ) from error
    if marker.form > FORM:
        raise ImportSourceError(f"{path} was written by a newer lora", hint="update lora")
    return marker


def _is(path: Path, sha256: str) -> bool:
    try:
        return not path.is_symlink() and sha256_of_file(path) == sha256
    except FileMissingError:
        return False
