"""Show the controlled words that are in force."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lora_pipeline.catalog.assets import read_assets
from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.root import Workspace


def show_catalog(
    workspace: Workspace, *, project: str | None = None, checkpoint: str = ""
) -> Result:
    """Show asset types, styles, scenarios, palettes and tags, and how often art uses them.

    The project's words stand over the shared ones of the same id, and a checkpoint's own over
    both.

    Args:
        workspace: Where they are.
        project: The project.
        checkpoint: A base model whose own words are to count.

    Raises:
        RecordNotFoundError: When the project or the checkpoint does not exist.
        RecordError: When a catalog is not valid.
    """
    scope = workspace.scope(project)
    if checkpoint:
        workspace.records.find(Checkpoint, workspace.visible(scope), checkpoint)
    words = read_vocabulary(workspace, scope, checkpoint)
    entries = read_assets(workspace, scope).entries
    used = Counter(tag for entry in entries for tag in entry.tags)
    types = Counter(entry.spec.asset_type for entry in entries if entry.spec)
    unknown = [str(one) for one in words.unknown_tags(sorted(used))]
    return Result(
        data={
            "project": scope.project_id,
            "checkpoint": checkpoint,
            **_words(words),
            "used": {"tags": dict(sorted(used.items())), "assetTypes": dict(sorted(types.items()))},
            "unknownTags": unknown,
        },
        reasoning=f"{len(words.tags)} tags in {len(words.groups)} groups are in force",
        warnings=[f"tags of art that no catalog has: {', '.join(unknown)}"] if unknown else [],
    )


def _words(words: Vocabulary) -> dict[str, Any]:
    return {
        "assetTypes": [one.to_dict() for one in words.asset_types.values()],
        "styles": [one.to_dict() for one in words.styles.values()],
        "scenarios": [one.to_dict() for one in words.scenarios.values()],
        "palettes": [one.to_dict() for one in words.palettes.values()],
        "groups": [one.to_dict() for one in words.groups.values()],
    }
