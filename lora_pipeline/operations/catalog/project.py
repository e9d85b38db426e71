"""Create, list and show projects."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from lora_pipeline.catalog.assets.reading import read_assets
from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Project, ProjectDefaults, ProjectRights
from lora_pipeline.catalog.rights.license import require_license
from lora_pipeline.catalog.starter import starter_catalogs
from lora_pipeline.foundation.errors import RecordExistsError
from lora_pipeline.foundation.ids import require_slug
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import FOLDERS, Scope
from lora_pipeline.workspace.root import Workspace


def create_project(
    workspace: Workspace,
    project_id: str,
    *,
    name: str = "",
    style: str = "flat",
    scenario: str = "plain",
    allowed_licenses: tuple[str, ...] = (),
    provenance_required: bool = False,
    unknown_rights: Literal["allow", "exclude"] = "allow",
    notes: str = "",
) -> Result:
    """Create a project with catalogs that people can start from.

    Args:
        workspace: Where it goes.
        project_id: Its id, a slug.
        name: Its name for people; made from the id when left out.
        style: Default style of its specs.
        scenario: Default scenario of its specs.
        allowed_licenses: Licences that may be trained on; none means any.
        provenance_required: Whether source, author and licence must be known.
        unknown_rights: What happens to art whose training right nobody stated.
        notes: Anything worth keeping.

    Raises:
        RecordExistsError: When there is one of that id.
        ArgumentInvalidError: When an id is not a slug, or a licence looks like a misspelt SPDX id.
    """
    require_slug(project_id, "project")
    require_slug(style, "style")
    require_slug(scenario, "scenario")
    scope, now = Scope(project_id), workspace.now()
    if workspace.records.exists(Project, scope, "project"):
        raise RecordExistsError(
            f"project {project_id} exists already", hint=f"lora project show {project_id}"
        )
    project = Project(
        id=project_id,
        name=name.strip() or project_id.replace("_", " ").replace("-", " ").title(),
        created_at=now,
        updated_at=now,
        defaults=ProjectDefaults(style=style, scenario=scenario),
        rights=ProjectRights(
            allowed_licenses=tuple(dict.fromkeys(map(require_license, allowed_licenses))),
            provenance_required=provenance_required,
            unknown_training=unknown_rights,
        ),
        notes=notes,
    )
    changes = Changes(workspace)
    for catalog in starter_catalogs(now, style=style, scenario=scenario):
        # Somebody may have written catalogs first; they are theirs.
        if not workspace.records.exists(type(catalog), scope, catalog.KIND):
            changes.create(catalog, scope, catalog.KIND)
    changes.create(project, scope, "project")
    return Result(
        data={"project": project.to_dict()},
        reasoning=f"Created project {project_id}",
        suggestions=[
            f"lora --project {project_id} catalog show",
            f"lora --project {project_id} asset import DIR --asset-type ui_icon",
        ],
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def list_projects(workspace: Workspace) -> Result:
    """List the projects with how much they hold.

    Raises:
        RecordError: When a project's record is not valid.
    """
    rows = [_counts(workspace, project_id) for project_id in workspace.records.project_ids()]
    return Result(
        data={"projects": rows},
        reasoning=f"{len(rows)} projects",
        suggestions=[] if rows else ["lora project create ID"],
    )


def show_project(workspace: Workspace, project_id: str | None = None) -> Result:
    """Show a project: its defaults, what art must bring, and where its assets stand.

    Args:
        workspace: Where it is.
        project_id: The project; the one in use when left out.

    Raises:
        RecordNotFoundError: When it does not exist.
        RecordError: When one of its records is not valid.
    """
    scope = workspace.scope(project_id)
    assets = read_assets(workspace, scope)
    states: Counter[str] = Counter()
    withdrawn = 0
    for entry in assets.each():
        states[entry.version.status] += 1
        withdrawn += bool(entry.asset.rights.withdrawn_at)
    waiting = states.get("review", 0)
    return Result(
        data={
            "project": assets.project.to_dict(),
            "assets": dict(sorted(states.items())),
            "withdrawn": withdrawn,
            "records": _counts(workspace, str(scope.project_id)),
            "catalogs": _word_counts(workspace, scope),
        },
        reasoning=f"Project {scope.project_id} has {states.total()} assets",
        suggestions=["lora asset list --status review"] if waiting else [],
    )


def _counts(workspace: Workspace, project_id: str) -> dict[str, Any]:
    scope = Scope(project_id)
    project = workspace.records.read(Project, scope, "project").record
    folder = workspace.data_root / scope.folder
    return {
        "id": project_id,
        "name": project.name,
        "updatedAt": project.updated_at,
        **{
            kind: sum(1 for _ in (folder / FOLDERS[kind]).glob("*.json"))
            for kind in ("asset", "dataset", "lora", "checkpoint")
        },
    }


def _word_counts(workspace: Workspace, scope: Scope) -> dict[str, int]:
    words = read_vocabulary(workspace, scope)
    return {
        "assetTypes": len(words.asset_types),
        "styles": len(words.styles),
        "scenarios": len(words.scenarios),
        "palettes": len(words.palettes),
        "tags": len(words.tags),
    }
