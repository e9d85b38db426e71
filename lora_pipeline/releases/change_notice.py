"""What is told when something else is in use from now on. Pure.

A notice holds ids, digests and numbers; its ``id`` is the digest of the entry of the history, the
same on every machine and at every try, so that whoever is told twice can see it.
"""

from __future__ import annotations

from typing import Any

from lora_pipeline.releases.records import HistoryEntry, Lora

_VERSION = 1


def change_notice(lora: Lora, entry: HistoryEntry, project: str, workspace: str) -> dict[str, Any]:
    """Return a notice, JSON-ready.

    Args:
        lora: The LoRA as it stands.
        entry: What happened.
        project: Its project; empty when it is shared.
        workspace: Name of the workspace's folder.
    """
    title, text = words_of(lora, entry)
    release = lora.release(entry.release_id)
    weights = release.weights if release else None
    return {
        "v": _VERSION,
        "id": entry.digest,
        "event": f"lora.{entry.event}",
        "workspace": workspace,
        "title": title,
        "text": text,
        "project": project,
        "lora": lora.id,
        "release": entry.release_id,
        "fromRelease": entry.from_release_id,
        "activeRelease": lora.active_release_id,
        "sha256": weights.sha256 if weights else "",
        "enabled": lora.enabled,
        "strength": lora.strength_in_use,
        "assetTypes": list(lora.asset_types),
        "checkpoint": lora.checkpoint_id,
        "at": entry.at,
        "by": entry.by,
    }


def words_of(lora: Lora, entry: HistoryEntry) -> tuple[str, str]:
    """Return a title and one line, as people read them."""
    name = f"{lora.id} {entry.release_id}".strip()
    instead = f", instead of {entry.from_release_id}" if entry.from_release_id else ""
    titles = {
        "promoted": f"{name} is active{instead}",
        "rolled_back": f"{lora.id} went back to {entry.release_id}{instead}",
        "emergency": f"{name} is active WITHOUT the gate{instead}",
        "activated": f"{lora.id} is switched on at strength {lora.strength_in_use:g}",
        "deactivated": f"{lora.id} is switched off",
        "deprecated": f"{name} must no longer be used",
    }
    return titles[entry.event], f"by {entry.by}; lora resolve {lora.id}"
