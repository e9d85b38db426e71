"""The small pictures of a comparison, from wherever their bytes may be found."""

from __future__ import annotations

from lora_pipeline.datasets.diff.page import Pictures, pictured_items
from lora_pipeline.datasets.diff.view import DiffView
from lora_pipeline.datasets.image_sources import image_sources
from lora_pipeline.datasets.thumbnails import thumbnails
from lora_pipeline.workspace.root import Workspace


def pictures_of(workspace: Workspace, view: DiffView, most: int) -> Pictures:
    """Return the pictures of the images that a page shows, at most ``most``."""
    items = pictured_items(view)
    commits = [side.commit for side in (view.after, view.before) if side.commit]
    found = thumbnails(
        workspace,
        items[:most],
        image_sources(workspace, *dict.fromkeys(commits)),
        background=view.background,
    )
    by_digest = {item.sha256: one for item, one in zip(items[:most], found, strict=True)}
    return Pictures(by_digest, len(items))
