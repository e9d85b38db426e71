"""The history of a LoRA: what became active when, by whom, and on what evidence."""

from __future__ import annotations

from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.releases.history import active_after, broken_link, open_emergency
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.workspace.root import Workspace


def show_history(
    workspace: Workspace,
    lora: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Show the history of a LoRA with the digests that each entry rests on.

    The chain is computed anew: an entry that was edited, removed or put elsewhere shows.

    Args:
        workspace: Where it is.
        lora: Id of the LoRA.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When the LoRA does not exist.
    """
    record = find_lora(workspace, lora, project=project, scope=scope).record
    broken = broken_link(record.history)
    count = len(record.history)
    emergency = open_emergency(record.history)
    return Result(
        data={
            "loraId": record.id,
            "activeReleaseId": record.active_release_id,
            "activeByHistory": active_after(record.history),
            "emergency": emergency.to_dict() if emergency else None,
            "entries": [one.to_dict() for one in record.history],
            "chain": broken or "whole",
        },
        reasoning=f"{count} entr{'y' if count == 1 else 'ies'} of {lora}, "
        + (f"and the chain is broken: {broken}" if broken else "the chain is whole"),
        suggestions=() if count else (f"lora show {lora}",),
        refusal=Refusal("history_broken", broken, "git log -p on the record shows who changed it")
        if broken
        else None,
    )
