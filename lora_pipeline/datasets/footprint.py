"""Every file that a build was made from: as long as none changes, it makes the same again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.datasets.build import Draft
from lora_pipeline.foundation.files import walk
from lora_pipeline.workspace.git.repository import head_files
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import LOCAL_FILE, PIPELINE_FILE

# Below a scope: bytes that records name, and that a build looks at one by one.
_NO_RECORDS = frozenset({"files", "evals"})


def build_footprint(
    workspace: Workspace, draft: Draft, stagings: tuple[Path, ...] = ()
) -> Iterator[str]:
    """Yield every file and folder that a draft depends on, whether it is there or not.

    More than need be: every record of the workspace counts, so nobody has to know which one a
    rule looks at.

    Args:
        workspace: The workspace.
        draft: What was built; its images were all as they should be.
        stagings: Folders that were looked at too.
    """
    yield from (f"{workspace.root}/{name}" for name in ("config", PIPELINE_FILE, LOCAL_FILE))
    yield from walk(str(workspace.data_root), without=_NO_RECORDS)
    yield from draft.index.files
    yield from head_files(workspace.root)
    for folder in stagings:
        yield from walk(str(folder))
