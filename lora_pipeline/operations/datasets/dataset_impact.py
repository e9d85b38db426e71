"""Say what assets are part of: every manifest, release and active LoRA that they touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lora_pipeline.catalog.records import Asset
from lora_pipeline.catalog.rights.training import taken_back
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.impact_outcome import (
    impact_facts,
    impact_steps,
    impact_warnings,
)
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.impact import Impact, impact_of, subject_of
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_ENDING = 6  # ids are told by their ends, as with every command about assets


def show_impact(
    workspace: Workspace,
    assets: tuple[str, ...] = (),
    *,
    withdrawn: bool = False,
    project: str | None = None,
) -> Result:
    """Say which manifests, releases and active LoRAs some assets are part of.

    A release is judged by the manifest that it was trained on; one that was rebuilt since is
    looked for in the Git history, and what cannot be found is said.

    Args:
        workspace: Where they are.
        assets: Ids, or endings of ids that only one asset has.
        withdrawn: All assets that were withdrawn, or whose licence has ended.
        project: The project of the assets; else all.

    Raises:
        ArgumentInvalidError: When no asset is named, or an ending fits several.
        RecordNotFoundError: When an asset is in no catalog, and in nothing that was trained on.
    """
    if bool(assets) == withdrawn:
        raise ArgumentInvalidError(
            "name assets, or ask for all that were withdrawn",
            hint="lora dataset impact ID…, or lora dataset impact --withdrawn",
        )
    scopes = _scopes(workspace, project)
    gone: list[str] = []
    if withdrawn:
        found = list(_withdrawn(workspace, scopes))
    else:
        found, gone = _named(workspace, scopes, assets)
    if withdrawn and not found:
        return Result(data=_nothing(), reasoning="Nothing was withdrawn, and no licence has ended")
    reader = EvidenceReader(workspace, workspace.records)
    impact = impact_of(reader, subject_of(found, gone))
    _require_known(workspace, scopes, impact, gone)
    now = workspace.now()
    still = [asset.id for asset in found if taken_back(asset, now) is None]
    return Result(
        data={**impact_facts(workspace, impact), "notWithdrawn": still},
        reasoning=_sentence(impact),
        warnings=impact_warnings(impact),
        suggestions=impact_steps(workspace, impact, still),
    )


def _scopes(workspace: Workspace, project: str | None) -> list[Scope]:
    if project or workspace.project:
        return [workspace.scope(project)]
    return [scope for scope in workspace.records.scopes() if scope.project_id]


def _named(
    workspace: Workspace, scopes: Sequence[Scope], given: Sequence[str]
) -> tuple[list[Asset], list[str]]:
    known = {
        asset_id: scope for scope in scopes for asset_id in workspace.records.ids(Asset, scope)
    }
    found: dict[str, Asset] = {}
    gone: list[str] = []
    for one in given:
        fitting = [one] if one in known else _endings(known, one)
        if len(fitting) > 1:
            raise ArgumentInvalidError(
                f"{one} may be any of {len(fitting)} assets: {', '.join(fitting[:4])}",
                hint="give more of the id",
            )
        if fitting:
            asset_id = fitting[0]
            found[asset_id] = workspace.records.read(Asset, known[asset_id], asset_id).record
        else:
            gone.append(one)  # its record may be gone; what was trained on it is not
    return list(found.values()), gone


def _endings(known: dict[str, Scope], given: str) -> list[str]:
    if len(given) < _ENDING:
        return []
    return [one for one in known if one.endswith(given.upper())]


def _withdrawn(workspace: Workspace, scopes: Sequence[Scope]) -> Iterator[Asset]:
    now = workspace.now()
    for scope in scopes:
        for asset_id in workspace.records.ids(Asset, scope):
            data = strict_json.read_bytes(workspace.records.path(Asset.KIND, scope, asset_id))
            # Few are: a hundred thousand records need not be parsed to find them.
            if b'"withdrawnAt"' in data or b'"expiresOn"' in data:
                asset = workspace.records.read(Asset, scope, asset_id).record
                if taken_back(asset, now):
                    yield asset


def _require_known(
    workspace: Workspace, scopes: Sequence[Scope], impact: Impact, gone: Sequence[str]
) -> None:
    trained = {one for release in impact.releases for one in release.assets}
    trained |= {one for manifest in impact.manifests for one in manifest.assets}
    for asset_id in gone:
        if asset_id in trained:
            continue
        known = [one for scope in scopes for one in workspace.records.ids(Asset, scope)]
        near = did_you_mean(asset_id, known)
        raise RecordNotFoundError(
            f"no asset {asset_id!r}, neither in a catalog nor in anything that was trained on",
            hint=f"did you mean {near}?" if near else "lora asset list shows ids and titles",
        )


def _sentence(impact: Impact) -> str:
    count = len(impact.subject.ids)
    active = sum(1 for one in impact.releases if one.active)
    parts = [
        _counted(len(impact.manifests), "manifest"),
        _counted(len(impact.releases), "release")
        + (f", {active} of them active" if active else ""),
    ]
    return f"{_counted(count, 'asset')} in {' and '.join(parts)}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _nothing() -> dict[str, list[str]]:
    keys = ("assets", "manifests", "releases", "notFound", "runs", "sameImage", "copies", "answers",
            "notWithdrawn")  # fmt: skip
    return {key: [] for key in keys}
