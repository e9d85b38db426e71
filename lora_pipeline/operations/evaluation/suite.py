"""Show evaluation suites, and say which of them judges an asset type."""

from __future__ import annotations

from msgspec.structs import replace

from lora_pipeline.catalog.records import AssetTypes
from lora_pipeline.evaluation.records import Suite
from lora_pipeline.evaluation.suites import cell_count, read_suite, rules_of, suite_ids
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.foundation.result import Result
from lora_pipeline.releases.lookup import ScopeName, scope_of
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def list_suites(workspace: Workspace, *, asset_type: str = "") -> Result:
    """List the evaluation suites of this workspace and those that ship.

    Args:
        workspace: The workspace.
        asset_type: Only those for this asset type.

    Raises:
        RecordInvalidError: When one of them is not valid.
    """
    suites = [read_suite(workspace, suite_id) for suite_id in suite_ids(workspace)]
    shown = [
        {
            "id": one.suite.id,
            "summary": one.suite.summary,
            "assetTypes": list(one.suite.asset_types),
            "prompts": len(one.suite.prompts),
            "cells": cell_count(one.suite),
            "source": one.source,
            "digest": one.digest,
        }
        for one in suites
        if asset_type in ("", *one.suite.asset_types)
    ]
    return Result(
        data={"suites": shown, "total": len(suites)},
        reasoning=f"{len(shown)} of {len(suites)} suites",
        suggestions=(f"lora suite show {shown[0]['id']}",) if shown else (),
    )


def show_suite(workspace: Workspace, suite: str) -> Result:
    """Show one evaluation suite: its prompts, seeds, strengths and settings.

    Args:
        workspace: The workspace.
        suite: Its id.

    Raises:
        RecordNotFoundError: When there is none of that id.
        RecordInvalidError: When it is not valid.
    """
    one = read_suite(workspace, suite)
    return Result(
        data={
            "suite": one.suite.to_dict(),
            "digest": one.digest,
            "source": one.source,
            "cells": cell_count(one.suite),
            "rules": rules_of(one.suite),
        },
        reasoning=f"Suite {suite} renders {cell_count(one.suite)} cells",
        suggestions=(f"lora eval grid LORA RELEASE --suite {suite}",),
    )


def use_suite(
    workspace: Workspace,
    suite: str,
    *,
    asset_type: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Judge an asset type by a suite from now on: the catalog names it.

    Args:
        workspace: The workspace.
        suite: Id of the suite.
        asset_type: The asset type; else the only one that the suite is for.
        project: Whose catalog; else the project in use.
        scope: ``baseline`` for the catalog that all projects share.

    Raises:
        RecordNotFoundError: When there is no such suite, or the catalog lacks the asset type.
        RecordInvalidError: When suite or catalog are not valid.
        ArgumentInvalidError: When the suite is not for the asset type, or for several.
        LockedError, RecordConflictError, StorageError: As every write.
    """
    found = read_suite(workspace, suite).suite
    chosen = asset_type or _only(found)
    if chosen not in found.asset_types:
        raise ArgumentInvalidError(
            f"suite {suite} is for {', '.join(found.asset_types)}, not {chosen}",
            hint=f"add {chosen} to assetTypes in config/suites/{suite}.yaml",
        )
    place = scope_of(workspace, project, scope)
    loaded = _catalog_with(workspace, place, chosen)
    types = tuple(
        replace(one, suite_id=suite) if one.id == chosen else one
        for one in loaded.record.asset_types
    )
    changes = Changes(workspace)
    if types != loaded.record.asset_types:
        record = replace(loaded.record, asset_types=types, updated_at=workspace.now())
        changes.update(loaded, record)
    return Result(
        data={"suiteId": suite, "assetType": chosen, "scope": place.name},
        reasoning=f"{chosen} of {place} is judged by suite {suite}",
        suggestions=(f"lora suite show {suite}",),
        written=tuple(changes.apply()),
        dry_run=workspace.dry_run,
    )


def _only(suite: Suite) -> str:
    if len(suite.asset_types) > 1:
        raise ArgumentInvalidError(
            f"suite {suite.id} is for {', '.join(suite.asset_types)}",
            hint=f"--asset-type {suite.asset_types[0]}",
        )
    return suite.asset_types[0]


def _catalog_with(workspace: Workspace, place: Scope, asset_type: str) -> Loaded[AssetTypes]:
    if workspace.records.exists(AssetTypes, place, AssetTypes.KIND):
        loaded = workspace.records.read(AssetTypes, place, AssetTypes.KIND)
        if any(one.id == asset_type for one in loaded.record.asset_types):
            return loaded
    raise RecordNotFoundError(
        f"the catalog of {place} has no asset type {asset_type!r}",
        hint=f"lora catalog add asset-type {asset_type}, or --scope baseline for the shared one",
    )
