"""What becomes of rights: withdrawals and policies in a studio with an active release."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lora_pipeline.catalog.records import Asset, Project, Rights
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.release_builders import SCOPE, Studio
from tests.support.workspace_builders import commit_all

WITHDRAWN_AT = "2026-02-20T12:00:00Z"


def asset_ids(studio: Studio) -> list[str]:
    """Return the ids of the studio's assets, sorted."""
    return studio.workspace.records.ids(Asset, SCOPE)


def state(studio: Studio, asset_id: str, **values: Any) -> None:
    """Write rights of an asset as an operation would have; ``values`` replace its fields."""
    loaded = studio.workspace.records.read(Asset, SCOPE, asset_id)
    rights = replace(loaded.record.rights, **values)
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, rights=rights))
    changes.apply()


def withdraw(studio: Studio, number: int = 0, *, at: str = WITHDRAWN_AT) -> str:
    """Withdraw one of the studio's assets, commit it, and return its id."""
    asset_id = asset_ids(studio)[number]
    state(studio, asset_id, withdrawn_at=at, reason="the artist asked")
    commit_all(studio.root, "Withdrew an asset")
    return asset_id


def give_back(studio: Studio, asset_id: str) -> None:
    """Write an asset as somebody would who wants the withdrawal forgotten."""
    loaded = studio.workspace.records.read(Asset, SCOPE, asset_id)
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, rights=Rights(training="allowed")))
    changes.apply()


def allow(studio: Studio, on_withdrawal: Any, *, days: int = 30, scope: Scope = SCOPE) -> None:
    """Set what may be answered to a withdrawal."""
    loaded = studio.workspace.records.read(Project, scope, "project")
    rights = replace(loaded.record.rights, on_withdrawal=on_withdrawal, retrain_within_days=days)
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, rights=rights))
    changes.apply()
    commit_all(studio.root, "Set the policy")


def withdraw_asset(workspace: Workspace, project_id: str) -> str:
    """Withdraw the first asset of a project and return its id."""
    scope = Scope(project_id)
    loaded = next(iter(workspace.records.all(Asset, scope)))
    rights = replace(loaded.record.rights, withdrawn_at=WITHDRAWN_AT, reason="the artist asked")
    changes = Changes(workspace)
    changes.update(loaded, replace(loaded.record, rights=rights))
    changes.apply()
    return loaded.record_id
