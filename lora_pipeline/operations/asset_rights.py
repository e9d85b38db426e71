"""Say whether art may be trained on, and take it back."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from lora_pipeline.catalog import asset_changes
from lora_pipeline.catalog.asset_decisions import decide
from lora_pipeline.catalog.asset_filter import AssetFilter
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.asset_choice import chosen_assets
from lora_pipeline.operations.asset_words import counted
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace


def withdraw_assets(
    workspace: Workspace,
    *,
    reason: str,
    ids: tuple[str, ...] = (),
    everything: bool = False,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    from_file: str = "",
) -> Result:
    """Withdraw assets from training, for good, and say what they are part of.

    The images stay; no dataset takes them any more, and the gate fails LoRAs that were
    trained on them.

    Args:
        workspace: Where they are.
        reason: Why; it is kept with the asset.
        ids: Ids, or endings of ids that only one asset has.
        everything: All of them.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant, or why.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
    """
    if not reason.strip():
        raise ArgumentInvalidError("why are they withdrawn?", hint='--reason "asked for it back"')
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    assets, chosen = chosen_assets(
        workspace, project, wanted, everything=everything, from_file=from_file
    )
    changes, now = Changes(workspace), workspace.now()
    decided = decide(
        changes,
        assets,
        chosen,
        lambda asset: asset_changes.withdraw(asset, reason=reason.strip(), at=now),
    )
    touched = list(_touched(workspace, assets.scope, {entry.asset.id for entry in chosen}))
    count = len(decided.changed)
    return Result(
        data={"project": assets.project.id, "touched": touched, **decided.to_dict()},
        reasoning=(
            f"Withdrew {counted(count)} of {assets.project.id}"
            if count
            else f"Nothing to withdraw: {counted(len(decided.unchanged))} were so already"
        ),
        suggestions=_after(touched),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def state_rights(
    workspace: Workspace,
    training: Literal["allowed", "denied", "unknown"],
    *,
    ids: tuple[str, ...] = (),
    everything: bool = False,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    from_file: str = "",
    license: str = "",  # noqa: A002 - the record's own word
    consent: str = "",
    reason: str = "",
) -> Result:
    """Say whether assets may be trained on. What was withdrawn stays withdrawn.

    Args:
        workspace: Where they are.
        training: ``allowed``, ``denied`` or ``unknown``.
        ids: Ids, or endings of ids that only one asset has.
        everything: All of them.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.
        license: Licence that the right rests on.
        consent: Who consented, and where that is kept.
        reason: Why.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
    """
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    assets, chosen = chosen_assets(
        workspace, project, wanted, everything=everything, from_file=from_file
    )
    changes, now = Changes(workspace), workspace.now()
    decided = decide(
        changes,
        assets,
        chosen,
        lambda asset: asset_changes.state_rights(
            asset, training, license_id=license, consent=consent, reason=reason, at=now
        ),
    )
    data = {"project": assets.project.id, "training": training, **decided.to_dict()}
    if decided.left_out:
        entry, objection = decided.left_out[0]
        refusal = Refusal(
            "rights_forbid",
            f"{entry.title}: {objection.text}; nothing was written",
            "import the art again when it was given again",
        )
        return Result(
            data=data,
            reasoning=f"{entry.title} stays withdrawn",
            suggestions=[refusal.hint or ""],
            dry_run=workspace.dry_run,
            refusal=refusal,
        )
    return Result(
        data=data,
        reasoning=(
            f"Training rights of {counted(len(decided.changed))} "
            f"of {assets.project.id} are {training}"
        ),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def _touched(
    workspace: Workspace, scope: Scope, asset_ids: Collection[str]
) -> Iterator[dict[str, Any]]:
    for place in workspace.visible(scope):
        for manifest in workspace.records.all(Manifest, place):
            images = sum(1 for item in manifest.record.items if item.asset_id in asset_ids)
            if images:
                yield {
                    "dataset": manifest.record_id,
                    "images": images,
                    "of": len(manifest.record.items),
                    "releases": list(_releases(workspace, scope, manifest.record)),
                }


def _releases(workspace: Workspace, scope: Scope, manifest: Manifest) -> Iterator[dict[str, Any]]:
    for place in workspace.visible(scope):
        for loaded in workspace.records.all(Lora, place):
            for release in loaded.record.releases:
                if release.training.get("manifestHash") == manifest.content_hash:
                    active = release.id == loaded.record.active_release_id
                    yield {"lora": loaded.record_id, "release": release.id, "active": active}


def _after(touched: list[dict[str, Any]]) -> list[str]:
    builds = [f"lora dataset build {one['dataset']}" for one in touched]
    return [*builds, "lora validate"] if any(one["releases"] for one in touched) else builds
