"""List and show assets, and what people decide about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lora_pipeline.catalog.assets import changes as asset_changes
from lora_pipeline.catalog.assets.decisions import Decided, decide
from lora_pipeline.catalog.assets.filter import AssetEntry, AssetFilter
from lora_pipeline.catalog.assets.reading import ProjectAssets, read_assets
from lora_pipeline.catalog.records import ProjectRights, VersionStatus
from lora_pipeline.catalog.rights.training import license_of, may_train
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.catalog.asset_choice import chosen_assets
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace

_WAITING = ("draft", "review")
_DONE = {"approved": "Approved", "rejected": "Rejected", "deprecated": "Deprecated"}
_VERB = {"approved": "approve", "rejected": "reject", "deprecated": "deprecate"}


def list_assets(
    workspace: Workspace,
    *,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
) -> Result:
    """List assets with their type, tags, status and rights.

    Args:
        workspace: Where they are.
        project: The project.
        tags: Tags that an asset must have, its spec's included.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.

    Raises:
        SelectionEmptyError: When nothing is left; names the filter that left nothing.
        RecordError: When a record is not valid.
    """
    assets = read_assets(workspace, workspace.scope(project))
    wanted = AssetFilter(
        tags=tags, asset_types=asset_types, statuses=statuses, titles=titles, styles=styles
    )
    of, rights = len(assets), assets.project.rights
    chosen = assets.meant(wanted) if of or wanted else ()
    rows = sorted((_row(entry, rights) for _, entry in chosen), key=_by_title)
    states = Counter(row["status"] for row in rows)
    return Result(
        data={
            "project": assets.project.id,
            "of": of,
            "statuses": dict(sorted(states.items())),
            "assets": rows,
        },
        reasoning=f"{len(rows)} of {of} assets of {assets.project.id}",
        suggestions=_next(states, any_there=bool(of)),
    )


def show_asset(workspace: Workspace, asset_id: str, *, project: str | None = None) -> Result:
    """Show one asset: what it is, where it comes from and what was decided about it.

    Args:
        workspace: Where it is.
        asset_id: Its id, or an ending of it that no other asset has.
        project: The project.

    Raises:
        RecordNotFoundError: When there is none of that id.
        RecordError: When a record is not valid.
    """
    assets = read_assets(workspace, workspace.scope(project))
    entry = assets.choose(AssetFilter(ids=(asset_id,)))[0]
    objection = may_train(entry.asset, assets.project.rights)
    return Result(
        data={
            "asset": entry.asset.to_dict(),
            "spec": entry.spec.to_dict() if entry.spec else None,
            "summary": _row(entry, assets.project.rights),
            "mayTrain": objection is None,
            "barredBy": objection.text if objection else "",
        },
        reasoning=f"{entry.title} is {entry.version.status}",
        suggestions=(
            [f"lora asset approve {entry.asset.id}", f"lora asset reject {entry.asset.id}"]
            if entry.version.status in _WAITING
            else []
        ),
    )


def approve_assets(
    workspace: Workspace,
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
    note: str = "",
) -> Result:
    """Approve assets for use in datasets.

    Without ids or statuses only those that wait (draft, review) are meant. What was withdrawn
    or may not be trained on is left out with its reason; named by its id it is refused, and
    nothing is written.

    Args:
        workspace: Where they are.
        ids: Ids, or endings of ids that only one asset has.
        everything: All that wait.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.
        note: What the reviewer says about them.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
        SettingsError: When nobody is known to act.
    """
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    return _give_status(
        workspace, "approved", wanted, project, from_file, note, everything=everything
    )


def reject_assets(
    workspace: Workspace,
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
    note: str = "",
) -> Result:
    """Reject assets: they are kept and never trained on.

    Without ids or statuses only those that wait (draft, review) are meant.

    Args:
        workspace: Where they are.
        ids: Ids, or endings of ids that only one asset has.
        everything: All that wait.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.
        note: What the reviewer says about them.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
        SettingsError: When nobody is known to act.
    """
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    return _give_status(
        workspace, "rejected", wanted, project, from_file, note, everything=everything
    )


def deprecate_assets(
    workspace: Workspace,
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
    note: str = "",
) -> Result:
    """Deprecate assets: they were right once and must no longer be used.

    Args:
        workspace: Where they are.
        ids: Ids, or endings of ids that only one asset has.
        everything: All of them.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.
        note: Why; a note is asked for.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant, or why.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
        SettingsError: When nobody is known to act.
    """
    if not note.strip():
        raise ArgumentInvalidError("why are they deprecated?", hint='--note "replaced by …"')
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    return _give_status(
        workspace, "deprecated", wanted, project, from_file, note, everything=everything
    )


def _give_status(
    workspace: Workspace,
    status: VersionStatus,
    wanted: AssetFilter,
    project: str | None,
    from_file: str,
    note: str,
    *,
    everything: bool,
) -> Result:
    waiting_only = status in ("approved", "rejected")
    assets, chosen = chosen_assets(
        workspace,
        project,
        wanted,
        everything=everything,
        from_file=from_file,
        statuses=_WAITING if waiting_only else (),
    )
    by, now = workspace.require_actor(), workspace.now()
    changes, rights = Changes(workspace), assets.project.rights
    decided = decide(
        changes,
        chosen,
        lambda asset: asset_changes.give_status(
            asset, status, by=by, at=now, note=note.strip(), rights=rights
        ),
    )
    data = {"project": assets.project.id, "status": status, "by": by, **decided.to_dict()}
    if decided.left_out and (wanted.ids or from_file or not decided.changed):
        return _barred(data, decided, status, dry_run=workspace.dry_run)
    return Result(
        data=data,
        reasoning=_reasoning(decided, status, str(assets.project.id)),
        warnings=[f"left out {one.title}: {objection.text}" for one, objection in decided.left_out],
        suggestions=_after_status(status, assets, decided),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def _barred(data: dict[str, Any], decided: Decided, status: str, *, dry_run: bool) -> Result:
    entry, objection = decided.left_out[0]
    look = f"lora asset show {entry.id}"
    more = f" (and {len(decided.left_out) - 1} more)" if len(decided.left_out) > 1 else ""
    return Result(
        data=data,
        reasoning=f"{entry.title} cannot be {status}",
        suggestions=[look],
        dry_run=dry_run,
        refusal=Refusal(
            "rights_forbid",
            f"{entry.title} cannot be {status}: {objection.text}{more}; nothing was written",
            look,
        ),
    )


def _reasoning(decided: Decided, status: str, project_id: str) -> str:
    if not decided.changed:
        return f"Nothing to {_VERB[status]}: {_counted(len(decided.unchanged))} were so already"
    return f"{_DONE[status]} {_counted(len(decided.changed))} of {project_id}"


def _after_status(status: str, assets: ProjectAssets, decided: Decided) -> list[str]:
    if status != "approved" or not decided.changed:
        return []
    changed = {one.id for one in decided.changed}
    left = len(changed) < len(assets) and any(
        entry.version.status == "review" and entry.asset.id not in changed
        for entry in assets.each()
    )
    types = sorted({one.asset_type for one in decided.changed if one.asset_type})
    build = f"lora dataset build --asset-type {','.join(types)}"
    return [build, *(["lora asset list --status review"] if left else [])]


def _row(entry: AssetEntry, rights: ProjectRights) -> dict[str, Any]:
    variant, asset = entry.variant, entry.asset
    objection = may_train(asset, rights)
    image = variant.original
    return {
        "id": asset.id,
        "title": entry.title,
        "assetType": entry.spec.asset_type if entry.spec else "",
        "style": entry.spec.style if entry.spec else "",
        "scenario": entry.spec.scenario if entry.spec else "",
        "status": entry.version.status,
        "reviewedBy": entry.version.reviewed_by,
        "tags": list(variant.tags),
        "rating": variant.rating,
        "rights": asset.rights.training,
        "license": license_of(asset),
        "withdrawnAt": asset.rights.withdrawn_at,
        "barredBy": objection.text if objection else "",
        "width": image.width if image else None,
        "height": image.height if image else None,
        "path": variant.alpha_path or variant.original_path,
    }


def _by_title(row: dict[str, Any]) -> tuple[str, str]:
    return row["title"].casefold(), row["id"]


def _next(states: Counter[str], *, any_there: bool) -> Sequence[str]:
    if not any_there:
        return ["lora asset import DIR --asset-type TYPE"]
    return ["lora asset approve --status review"] if states.get("review") else []


def _counted(number: int) -> str:
    return f"{number} asset{'' if number == 1 else 's'}"
