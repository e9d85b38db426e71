"""List, show and remove specs, the intent of assets."""

from __future__ import annotations

from collections import defaultdict

from lora_pipeline.catalog.assets.decisions import named_as
from lora_pipeline.catalog.assets.reading import read_assets
from lora_pipeline.catalog.records import Spec
from lora_pipeline.foundation.errors import ArgumentInvalidError, SelectionEmptyError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace


def list_specs(
    workspace: Workspace,
    *,
    project: str | None = None,
    asset_types: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
) -> Result:
    """List specs with how many assets each has.

    Args:
        workspace: Where they are.
        project: The project.
        asset_types: Asset types, one of which a spec must be of.
        styles: Styles, one of which it must have.

    Raises:
        SelectionEmptyError: When a filter leaves nothing over.
        RecordError: When a record is not valid.
    """
    scope = workspace.scope(project)
    results: dict[str, int] = defaultdict(int)
    for entry in read_assets(workspace, scope).each():
        results[entry.asset.spec_id] += 1
    specs = [loaded.record for loaded in workspace.records.all(Spec, scope)]
    chosen = [
        spec
        for spec in specs
        if (not asset_types or spec.asset_type in asset_types)
        and (not styles or spec.style in styles)
    ]
    if specs and not chosen:
        raise _nothing_left(specs, asset_types, styles)
    rows = [
        {
            "id": spec.id,
            "title": spec.title,
            "assetType": spec.asset_type,
            "style": spec.style,
            "scenario": spec.scenario,
            "status": spec.status,
            "tags": list(spec.tags),
            "assets": results[spec.id],
        }
        for spec in sorted(chosen, key=lambda spec: (spec.title.casefold(), spec.id))
    ]
    return Result(
        data={"project": scope.project_id, "of": len(specs), "specs": rows},
        reasoning=f"{len(rows)} of {len(specs)} specs of {scope.project_id}",
        suggestions=[] if specs else ["lora asset import DIR --asset-type TYPE"],
    )


def show_spec(workspace: Workspace, spec_id: str, *, project: str | None = None) -> Result:
    """Show one spec and the assets that were made for it.

    Args:
        workspace: Where it is.
        spec_id: Its id.
        project: The project.

    Raises:
        RecordNotFoundError: When there is none of that id.
        RecordError: When a record is not valid.
    """
    scope = workspace.scope(project)
    spec = workspace.records.read(Spec, scope, spec_id).record
    made = [one for one in read_assets(workspace, scope).each() if one.asset.spec_id == spec_id]
    return Result(
        data={
            "spec": spec.to_dict(),
            "assets": [named_as(one).to_dict() | {"status": one.version.status} for one in made],
        },
        reasoning=f"{spec.title} has {len(made)} assets",
    )


def remove_specs(
    workspace: Workspace, specs: tuple[str, ...], *, project: str | None = None
) -> Result:
    """Remove specs that no asset was made for; Git keeps what was committed.

    Args:
        workspace: Where they are.
        specs: Their ids.
        project: The project.

    Raises:
        ArgumentInvalidError: When none is named.
        RecordNotFoundError: When there is none of an id.
        RecordError: When a record is not valid.
        LockedError, RecordConflictError, StorageError: As every write.
    """
    if not specs:
        raise ArgumentInvalidError("which specs?", hint="lora spec list")
    scope = workspace.scope(project)
    chosen = [workspace.records.read(Spec, scope, one) for one in dict.fromkeys(specs)]
    made: dict[str, str] = {}
    for entry in read_assets(workspace, scope).each():
        made.setdefault(entry.asset.spec_id, entry.asset.id)
    used = {one.record_id: made[one.record_id] for one in chosen if one.record_id in made}
    if used:
        spec_id, asset_id = next(iter(used.items()))
        return Result(
            data={"project": scope.project_id, "usedBy": used},
            reasoning=f"{len(used)} specs have assets",
            dry_run=workspace.dry_run,
            refusal=Refusal(
                "spec_in_use",
                f"spec {spec_id} has assets, the first is {asset_id}; nothing was removed",
                f"lora asset deprecate {asset_id}",
            ),
        )
    changes = Changes(workspace)
    for loaded in chosen:
        changes.remove(loaded)
    count = "1 spec" if len(chosen) == 1 else f"{len(chosen)} specs"
    return Result(
        data={"project": scope.project_id, "removed": [one.record_id for one in chosen]},
        reasoning=f"Removed {count} without assets from {scope.project_id}",
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def _nothing_left(
    specs: list[Spec], asset_types: tuple[str, ...], styles: tuple[str, ...]
) -> SelectionEmptyError:
    of_type = [spec for spec in specs if not asset_types or spec.asset_type in asset_types]
    if not of_type:
        name, wanted, offered = "asset type", asset_types, {spec.asset_type for spec in specs}
    else:
        name, wanted, offered = "style", styles, {spec.style for spec in of_type}
    near = did_you_mean(wanted[0], offered)
    return SelectionEmptyError(
        f"no spec is left: {name} {' or '.join(wanted)} kept 0 of {len(of_type or specs)}",
        hint=f"did you mean {near}?" if near else f"there are: {', '.join(sorted(offered))}",
    )
