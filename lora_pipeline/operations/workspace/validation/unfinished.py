"""Steps that were left half-way, each with the command that finishes or removes it."""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.catalog.image_index import images_without_asset
from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.workspace import journal
from lora_pipeline.workspace.root import Workspace

_SHOWN = 3


def unfinished_findings(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    """Yield journals that were not finished, and specs whose asset never came."""
    yield from _journals(workspace)
    yield from _specs(workspace, records)


def _journals(workspace: Workspace) -> Iterator[Finding]:
    root, runtime = workspace.root, workspace.runtime
    try:
        waiting = journal.pending(root, runtime)
    except PipelineError as error:
        where = workspace.relative(runtime / journal.FOLDER)
        yield Finding("step_interrupted", "error", where, error.message, f"rm -r {where}")
        return
    for one in waiting:
        yield Finding(
            "step_interrupted",
            "error",
            workspace.relative(one.folder),
            f"{one.what} was interrupted half-way; records may not agree before it is finished",
            journal.FINISH,
        )
    for folder in journal.undecided(runtime):
        yield Finding(
            "left_over",
            "warning",
            workspace.relative(folder),
            "a step was prepared and never decided; nothing needs it",
            journal.FINISH,
        )


def _specs(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    """Yield specs that no asset is for: intents, unless an import was interrupted."""
    for scope in records.scopes():
        named = {loaded.record.spec_id for loaded in records.all(Asset, scope)}
        lonely = [one for one in records.all(Spec, scope) if one.record_id not in named]
        if not lonely:
            continue
        if not images_without_asset(workspace, scope):
            yield Finding(
                "spec_without_asset",
                "info",
                workspace.relative(lonely[0].path.parent),
                f"{_counted(len(lonely))} no asset yet: "
                f"{', '.join(one.record.title for one in lonely[:_SHOWN])}"
                + (" …" if len(lonely) > _SHOWN else ""),
                "lora spec remove ID, when none is to come",
            )
            continue
        for loaded in lonely:
            yield Finding(
                "spec_without_asset",
                "warning",
                workspace.relative(loaded.path),
                f"{loaded.record.title} has no asset; an import was interrupted here",
                f"import the same art again finishes it; lora spec remove {loaded.record_id} "
                "removes it",
            )


def _counted(number: int) -> str:
    return "1 spec has" if number == 1 else f"{number} specs have"
