"""Where each kind of record stands below the data root, and what a path says about itself."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import require_slug


class Scope(msgspec.Struct, frozen=True):
    """Shared records (``baseline``) or those of one project.

    Attributes:
        project_id: The project, or None for the shared scope.
    """

    project_id: str | None = None

    @property
    def name(self) -> str:
        """``baseline`` or ``project``, as records say it."""
        return "project" if self.project_id else "baseline"

    @property
    def folder(self) -> str:
        """The scope's folder below the data root."""
        return f"projects/{self.project_id}" if self.project_id else "shared"

    def __str__(self) -> str:
        """Return the scope as people read it."""
        return f"project {self.project_id}" if self.project_id else "shared"


SHARED = Scope()


def project_scope(project_id: str) -> Scope:
    """Return the scope of one project.

    Raises:
        ArgumentInvalidError: When the id is not a slug.
    """
    return Scope(require_slug(project_id, "project"))


# kind -> folder below the scope; the file name is the record's id.
FOLDERS = {
    "checkpoint": "checkpoints",
    "checkpoint-profile": "checkpoint-profiles",
    "spec": "specs",
    "asset": "assets",
    "dataset": "datasets",
    "lora": "loras",
    "run": "runs",
    "evaluation": "evals",
    "review": "reviews",
    "acknowledgement": "acknowledgements",
    "withdrawal-answer": "answers",
    "blind-plan": "blind-plans",
    "blind-review": "blind-reviews",
    "waiver": "waivers",
    "expense": "expenses",
}
# kind -> the one file below the scope.
SINGLES = {
    "project": "project.json",
    "asset-types": "catalogs/asset-types.json",
    "styles": "catalogs/styles.json",
    "scenarios": "catalogs/scenarios.json",
    "palettes": "catalogs/palettes.json",
    "tags": "catalogs/tags.json",
}
_LONGEST_ID = 200  # file systems hold names of 255 bytes
_LISTED = {
    "asset": "lora asset list",
    "checkpoint": "lora checkpoint list",
    "dataset": "lora dataset list",
    "lora": "lora list",
    "run": "lora run list",
    "spec": "lora spec list",
}
_CHECKPOINT_CATALOG = re.compile(r"^catalogs/checkpoints/([^/]+)/(styles|scenarios|tags)\.json$")
_SCOPED = re.compile(r"^(?:shared|projects/([^/]+))/(.+)$")


class RecordPlace(msgspec.Struct, frozen=True):
    """What the path of a record says: its kind, scope and id."""

    kind: str
    scope: Scope
    record_id: str


def relative_path(kind: str, scope: Scope, record_id: str) -> str:
    """Return the POSIX path of a record below the data root.

    ``record_id`` of a single-file kind is its own kind, or ``<checkpointId>/<kind>`` for a
    checkpoint's catalog.

    Raises:
        ArgumentInvalidError: When the kind is unknown, or the id cannot be a file name.
    """
    if kind in FOLDERS:
        if "/" in record_id or not record_id.isprintable() or len(record_id) > _LONGEST_ID:
            listed = _LISTED.get(kind)
            raise ArgumentInvalidError(
                f"{record_id!r:.60} is no id of a {kind}",
                hint=f"{listed} shows them"
                if listed
                else "an id is a file name without its ending",
            )
        return f"{scope.folder}/{FOLDERS[kind]}/{record_id}.json"
    if kind in SINGLES:
        checkpoint_id, _, _ = record_id.rpartition("/")
        if checkpoint_id:
            return f"{scope.folder}/catalogs/checkpoints/{checkpoint_id}/{kind}.json"
        return f"{scope.folder}/{SINGLES[kind]}"
    raise ArgumentInvalidError(f"unknown kind of record {kind!r}")


def place_of(relative: str) -> RecordPlace | None:
    """Return what a POSIX path below the data root is, or None when it is no record's."""
    scoped = _SCOPED.match(relative)
    if not scoped:
        return None
    scope, rest = Scope(scoped.group(1)), scoped.group(2)
    for kind, single in SINGLES.items():
        if rest == single and (kind != "project" or scope.project_id):
            return RecordPlace(kind, scope, kind)
    catalog = _CHECKPOINT_CATALOG.match(rest)
    if catalog:
        checkpoint_id, kind = catalog.groups()
        return RecordPlace(kind, scope, f"{checkpoint_id}/{kind}")
    path = PurePosixPath(rest)
    for kind, folder in FOLDERS.items():
        if len(path.parts) == 2 and path.parts[0] == folder and path.suffix == ".json":
            return RecordPlace(kind, scope, path.stem)
    return None


def is_outside_records(relative: str) -> bool:
    """Return whether a path below the data root may hold anything: files, runtime state."""
    parts = PurePosixPath(relative).parts
    return "files" in parts[:-1] or parts[:1] in (("runtime",), ("migrations",))


def files_folder(data_root: Path, scope: Scope, asset_id: str) -> Path:
    """Return the folder of an asset's copied images."""
    return data_root / scope.folder / "files" / "images" / asset_id
