"""What an impact comes to: facts for programs, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_pipeline.catalog.records import ANSWERS, OnWithdrawal, Project
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.releases.impact import Impact, TouchedRelease
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace

_MAX_STEPS, _NAMED = 5, 4


def impact_facts(workspace: Workspace, impact: Impact) -> dict[str, Any]:
    """Return the JSON-ready form of an impact."""
    return {
        "assets": sorted(impact.subject.ids),
        "manifests": [
            {
                "datasetId": one.dataset_id,
                "scope": one.scope.name,
                "projectId": one.scope.project_id,
                "images": len(one.assets),
                "of": one.of,
                "assets": sorted(one.assets),
            }
            for one in impact.manifests
        ],
        "releases": [_release(one) for one in impact.releases],
        "notFound": [
            {
                "loraId": one.lora_id,
                "releaseId": one.release_id,
                "scope": one.scope.name,
                "active": one.active,
                "reason": one.reason,
            }
            for one in impact.unknown
        ],
        "runs": [
            {
                "runId": one.run_id,
                "loraId": one.lora_id,
                "state": one.state,
                "datasetId": one.dataset_id,
            }
            for one in impact.runs
        ],
        "sameImage": [
            {
                "assetId": one.asset_id,
                "projectId": one.project_id,
                "sameAs": one.same_as,
                "withdrawn": one.withdrawn,
            }
            for one in impact.twins
        ],
        "copies": [workspace.relative(folder) for folder in impact.copies],
        "answers": list(allowed_answers(workspace, impact.subject.projects)),
    }


def allowed_answers(workspace: Workspace, projects: frozenset[str]) -> tuple[str, ...]:
    """Return which answers all of some projects allow, the strictest first."""
    mildest = len(ANSWERS) - 1
    for project_id in projects:
        scope = Scope(project_id)
        allowed: OnWithdrawal = "stop"
        if workspace.records.exists(Project, scope, "project"):
            record = workspace.records.read(Project, scope, "project").record
            allowed = record.rights.on_withdrawal
        mildest = min(mildest, ANSWERS.index(allowed))
    return ANSWERS[: (mildest if projects else 0) + 1]


def impact_steps(workspace: Workspace, impact: Impact, open_ids: Sequence[str] = ()) -> list[str]:
    """Return the next commands, the most urgent first.

    Args:
        workspace: Where it is.
        impact: What is touched.
        open_ids: Assets that nobody has withdrawn: then that is what comes next.
    """
    if open_ids:
        return [f"lora asset withdraw {' '.join(open_ids[:_NAMED])} --reason …"]
    answers = "|".join(allowed_answers(workspace, impact.subject.projects))
    steps = [f"lora run cancel {one.run_id}" for one in impact.runs]
    steps += [
        _in_scope(one, f"lora release answer {one.lora_id} {one.release_id} {answers} --reason …")
        for one in impact.unanswered
    ]
    open_twins = [one.asset_id for one in impact.twins if not one.withdrawn]
    if open_twins:
        steps.append(f"lora asset withdraw {' '.join(open_twins[:_NAMED])} --reason …")
    steps += [
        with_place(workspace, one.scope, f"lora dataset build {one.dataset_id}")
        for one in impact.manifests
    ]
    last = ["lora validate"] if impact.releases else []
    return [*steps[:_MAX_STEPS], *last]


def impact_warnings(impact: Impact) -> list[str]:
    """Return what a careful person wants to know beside what is touched."""
    warnings = []
    open_twins = [one for one in impact.twins if not one.withdrawn]
    if open_twins:
        first = open_twins[0]
        more = f" and {len(open_twins) - 1} more" if len(open_twins) > 1 else ""
        warnings.append(
            f"asset {first.asset_id}{more} holds the same image and is not withdrawn: the next "
            "build would take it"
        )
    if impact.unknown:
        warnings.append(
            f"of {len(impact.unknown)} releases nobody can say what they were trained on; they "
            "may be touched as well"
            if len(impact.unknown) > 1
            else f"nobody can say what {impact.unknown[0].lora_id} "
            f"{impact.unknown[0].release_id} was trained on; it may be touched as well"
        )
    return warnings


def _release(one: TouchedRelease) -> dict[str, Any]:
    return {
        "loraId": one.lora_id,
        "releaseId": one.release_id,
        "scope": one.scope.name,
        "projectId": one.scope.project_id,
        "status": one.status,
        "active": one.active,
        "datasetId": one.dataset_id,
        "foundIn": one.where,
        "images": len(one.assets),
        "of": one.of,
        "assets": sorted(one.assets),
        "answered": one.answered,
    }


def _in_scope(one: TouchedRelease, command: str) -> str:
    return f"{command} --scope baseline" if one.scope == SHARED else command
