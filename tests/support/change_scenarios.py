"""Changes to a workspace that tests interrupt, race and run again."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from lora_pipeline.catalog.records import CatalogWord, Project, Styles
from lora_pipeline.foundation.errors import RecordConflictError, RecordExistsError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.workspace_builders import make_workspace, reopen

SCOPE = Scope("neon_city")
IMAGE = b"image" * 500
BLOB = b"blob" * 100


def prepare(folder: Path) -> None:
    """Make a workspace with one project, and an image outside of it."""
    make_workspace(folder / "workspace", git=False, project="neon_city")
    (folder / "image.png").write_bytes(IMAGE)


def change(folder: Path) -> list[str]:
    """Bring an image, a blob and a catalog, and point at them from the project."""
    return change_in(reopen(folder / "workspace"), folder / "image.png")


def change_in(workspace: Workspace, image: Path) -> list[str]:
    """Do the same in an open workspace; what is there already is not brought again."""
    files_folder = workspace.data_root / SCOPE.folder / "files"
    changes = Changes(workspace)
    changes.copy_file(image, files_folder / "image.png")
    changes.write_file(files_folder / "blob", BLOB)
    if not workspace.records.exists(Styles, SHARED, "styles"):
        changes.create(styles(workspace.now()), SHARED, "styles")
    loaded = workspace.records.read(Project, SCOPE, "project")
    changes.update(loaded, msgspec.structs.replace(loaded.record, notes="points at all of it"))
    return changes.apply()


def styles(now: str) -> Styles:
    """Return a catalog of one style."""
    word = CatalogWord(id="flat", label="Flat")
    return Styles(id="styles", created_at=now, updated_at=now, styles=(word,))


def count_up(workspace: Workspace) -> int:
    """Read a number from the project's notes, write the next one, and return it."""
    while True:
        loaded = workspace.records.read(Project, SCOPE, "project")
        number = int(loaded.record.notes or 0) + 1
        changes = Changes(workspace)
        changes.update(loaded, msgspec.structs.replace(loaded.record, notes=str(number)))
        try:
            changes.apply()
        except (RecordConflictError, RecordExistsError):
            continue  # somebody else was faster: read again
        return number


def main() -> None:
    """Count up in a workspace (``FOLDER TIMES``), as one of several processes."""
    workspace = reopen(Path(sys.argv[1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    made = [count_up(workspace) for _ in range(int(sys.argv[2]))]
    sys.stdout.write(" ".join(map(str, made)) + "\n")


if __name__ == "__main__":
    main()
