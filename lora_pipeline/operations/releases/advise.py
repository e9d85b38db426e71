"""Say what came and went since a LoRA was trained, and whether it is worth training anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.datasets.build import Draft, draft_dataset
from lora_pipeline.datasets.diff.changes import Change, Difference, compare
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.rules import stored_rule
from lora_pipeline.foundation.errors import PipelineError, SelectionEmptyError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.releases.evidence.facts import TrainedManifest, Unproven
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.evidence.rights import rights_facts
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

Advice = Literal["withdrawn", "retrain", "evaluate", "current", "untrained", "not_proven"]
_MOST_STEPS = 4


def advise(
    workspace: Workspace,
    lora: str = "",
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Say which approved images match a LoRA's own rule since it was trained, and which are gone.

    The rule is that of the manifest which the active release was trained on, wherever that
    manifest is found now; without an active release, the newest one counts. Nothing is written.

    Args:
        workspace: Where they are.
        lora: One LoRA; else all of the project, and the shared ones.
        project: The project; else the one in use.
        scope: ``baseline`` to look at shared LoRAs only.

    Raises:
        RecordNotFoundError: When the LoRA or the project does not exist.
        RecordError: When a LoRA is not a valid record.
    """
    if lora:
        loras = [find_lora(workspace, lora, project=project, scope=scope)]
    else:
        places = [SHARED]
        if scope == "project" and (project or workspace.records.project_ids()):
            places = workspace.visible(workspace.scope(project))
        loras = [one for place in places for one in workspace.records.all(Lora, place)]
    reader = EvidenceReader(workspace, workspace.records)
    found = [_advice(workspace, reader, one) for one in loras]
    steps = [step for one in found for step in one["next"]]
    return Result(
        data={"loras": found},
        reasoning=_sentence(found),
        suggestions=tuple(dict.fromkeys(steps))[:_MOST_STEPS],
    )


def _advice(workspace: Workspace, reader: EvidenceReader, loaded: Loaded[Lora]) -> dict[str, Any]:
    lora = loaded.record
    release = _trained_release(lora)
    facts: dict[str, Any] = {
        "loraId": lora.id, "scope": lora.scope, "releaseId": release.id if release else "",
        "active": bool(release and release.id == lora.active_release_id),
        "datasetId": "", "advice": "untrained", "reason": "no release was trained yet",
        "images": 0, "came": [], "went": [], "changed": 0, "rules": [], "withdrawn": [],
        "ending": [], "next": [],
    }  # fmt: skip
    if release is None:
        return facts
    dataset_id = str(release.training.get("datasetId", ""))
    facts["datasetId"] = dataset_id
    try:
        trained = reader.manifests.trained(loaded.scope, release)
        if not isinstance(trained, TrainedManifest):
            return facts | {"advice": "not_proven", "reason": trained.reason}
        return facts | _compared(workspace, loaded, release, trained)
    except PipelineError as error:
        # What is wrong with one catalog says nothing about another LoRA.
        step = [error.hint] if error.hint else []
        return facts | {"advice": "not_proven", "reason": error.message, "next": step}


def _trained_release(lora: Lora) -> Release | None:
    active = lora.release(lora.active_release_id) if lora.active_release_id else None
    usable = [one for one in lora.releases if one.status != "deprecated"]
    return active or max(usable, key=lambda one: one.created_at, default=None)


def _compared(
    workspace: Workspace,
    loaded: Loaded[Lora],
    release: Release,
    trained: TrainedManifest,
) -> dict[str, Any]:
    manifest = trained.manifest
    place = Scope(manifest.project_id or None)
    draft = _draft(workspace, place, manifest)
    now = replace(
        manifest,
        items=draft.items if draft else (),
        content_hash=draft.content_hash if draft else "",
    )
    difference = compare(manifest, now)
    rights = rights_facts(workspace.records, trained, workspace.now())
    withdrawn = () if isinstance(rights, Unproven) else rights.withdrawn
    ending = () if isinstance(rights, Unproven) else rights.ending
    newer = _trained_since(loaded.record, release, now.content_hash)
    facts = {
        "images": len(manifest.items),
        "came": [_image(one.after) for one in difference.of_kind("came") if one.after],
        "went": [_gone(one, draft) for one in difference.of_kind("went")],
        "changed": difference.count("changed"),
        "rules": _other_rules(workspace, place, manifest),
        "withdrawn": [{"assetId": one.asset_id, "reason": one.text} for one in withdrawn],
        "ending": [{"assetId": one.asset_id, "reason": one.text} for one in ending],
    }
    advice, reason = _judged(facts, difference, release, newer)
    return facts | {
        "advice": advice,
        "reason": reason,
        "next": _steps(workspace, loaded, release, newer, place, advice),
    }


def _draft(workspace: Workspace, place: Scope, manifest: Manifest) -> Draft | None:
    try:
        return draft_dataset(workspace, place, stored_rule(manifest), manifest.items)
    except SelectionEmptyError:
        return None  # every image went


def _trained_since(lora: Lora, release: Release, content_hash: str) -> Release | None:
    """Return a later release that was trained on what there is now."""
    later = [
        one
        for one in lora.releases
        if one.created_at >= release.created_at
        and one.id != release.id
        and one.status != "deprecated"
        and content_hash
        and one.training.get("manifestHash") == content_hash
    ]
    return max(later, key=lambda one: one.created_at, default=None)


def _judged(
    facts: Mapping[str, Any], difference: Difference, release: Release, newer: Release | None
) -> tuple[Advice, str]:
    came, went = len(facts["came"]), len(facts["went"])
    if facts["withdrawn"]:
        return "withdrawn", f"{len(facts['withdrawn'])} of its images must no longer be used"
    if not (came or went or facts["changed"]):
        return "current", f"{release.id} was trained on all that its rule chooses"
    if newer is not None:
        return "evaluate", f"{newer.id} was trained on what there is now"
    of = f", {came / facts['images']:.0%} of what it knows" if came and facts["images"] else ""
    return "retrain", f"{difference.summary()}{of}"


def _steps(
    workspace: Workspace,
    loaded: Loaded[Lora],
    release: Release,
    newer: Release | None,
    place: Scope,
    advice: Advice,
) -> list[str]:
    lora_id, dataset = loaded.record_id, str(release.training.get("datasetId", ""))
    steps = {
        "withdrawn": ["lora dataset impact --withdrawn"],
        "evaluate": [f"lora eval grid {lora_id} {newer.id}"] if newer else [],
    }.get(advice, [])
    if advice in ("retrain", "withdrawn") and newer is None:
        steps = [
            *steps,
            with_place(workspace, place, f"lora dataset build {dataset}"),
            f"lora train --lora {lora_id} --dataset {dataset}",
        ]
    elif advice == "withdrawn" and newer is not None:
        steps = [*steps, f"lora eval grid {lora_id} {newer.id}"]
    return steps


def _other_rules(workspace: Workspace, place: Scope, manifest: Manifest) -> list[str]:
    """Return in what the rule of today's manifest of that id differs from the one trained on."""
    if not workspace.records.exists(Manifest, place, manifest.id):
        return []
    present = workspace.records.read(Manifest, place, manifest.id).record
    return list(compare(manifest, present).rules)


def _gone(change: Change, draft: Draft | None) -> dict[str, str]:
    left = draft.left_out if draft else ()
    why = next((one.reason.text for one in left if one.asset_id == change.asset_id), "")
    return {**(_image(change.before) if change.before else {}), "reason": why or "is not there"}


def _image(item: Item) -> dict[str, str]:
    return {"assetId": item.asset_id, "path": item.path, "caption": item.caption}


def _sentence(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "There is no LoRA"
    asking = [one["loraId"] for one in found if one["advice"] not in ("current", "untrained")]
    if not asking:
        return "Every LoRA knows all that its rule chooses"
    return f"{', '.join(asking)} {'asks' if len(asking) == 1 else 'ask'} for attention"
