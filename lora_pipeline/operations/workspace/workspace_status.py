"""Where things stand, and which command comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lora_pipeline.catalog.records import Asset, Project
from lora_pipeline.catalog.rights.training import may_train, taken_back
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.record import Record
from lora_pipeline.foundation.result import Result
from lora_pipeline.releases.records import Lora
from lora_pipeline.releases.standing import next_for_lora
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace

R = TypeVar("R", bound=Record)
_UNFINISHED = ("created", "queued", "training")
MAX_SUGGESTIONS = 4


def show_status(workspace: Workspace, *, project: str | None = None) -> Result:
    """Say for each project where its assets, datasets, LoRAs and runs stand.

    A record that cannot be read is counted and named; it hides nothing else.

    Args:
        workspace: Where it is.
        project: The project; all of them when left out.

    Raises:
        RecordNotFoundError: When that project does not exist.
    """
    chosen = project or workspace.project
    scopes = [workspace.scope(chosen)] if chosen else workspace.records.scopes()
    reports = [_Reading(workspace, scope).report() for scope in scopes]
    shown = [one for one in reports if one["project"] or one["loras"] or one["unreadable"]]
    unreadable = sum(len(one["unreadable"]) for one in shown)
    steps = _steps(workspace, shown, unreadable)
    return Result(
        data={"root": str(workspace.root), "scopes": shown},
        reasoning=_reasoning(shown),
        warnings=[_unreadable_words(unreadable)] if unreadable else [],
        suggestions=steps,
    )


def _reasoning(reports: list[dict[str, Any]]) -> str:
    projects = [one["project"] for one in reports if one["project"]]
    return f"{len(projects)} project{'' if len(projects) == 1 else 's'}"


def _unreadable_words(count: int) -> str:
    return "1 record cannot be read" if count == 1 else f"{count} records cannot be read"


def _steps(workspace: Workspace, reports: list[dict[str, Any]], unreadable: int) -> list[str]:
    if unreadable:
        return ["lora validate"]
    if not workspace.records.project_ids():
        return ["lora project create my_game"]
    several = sum(1 for one in reports if one["project"]) > 1
    steps = [
        f"{step} --project {one['project']}" if several and one["project"] else step
        for one in reports
        for step in one["next"]
    ]
    return list(dict.fromkeys(steps))[:MAX_SUGGESTIONS]


@dataclass
class _Reading:
    """The records of one scope, read as far as they can be."""

    workspace: Workspace
    scope: Scope
    unreadable: list[dict[str, str]] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return where the scope stands, JSON-ready."""
        project = next(iter(self._all(Project)), None)
        assets = {one.id: one for one in self._all(Asset)}
        known = set(self.workspace.records.ids(Asset, self.scope))
        datasets = [_dataset(one, assets, known, project) for one in self._all(Manifest)]
        now = self.workspace.now()
        taken = {one.id for one in assets.values() if taken_back(one, now)}
        loras = self._loras([one["id"] for one in datasets], taken)
        states = Counter(one.versions[-1].status for one in assets.values() if one.versions)
        unfinished = [
            _run(self.workspace, one) for one in self._all(Run) if one.state in _UNFINISHED
        ]
        report: dict[str, Any] = {
            "project": self.scope.project_id or "",
            "assets": dict(sorted(states.items())),
            "withdrawn": sum(1 for one in assets.values() if one.rights.withdrawn_at),
            "datasets": datasets,
            "loras": loras,
            "unfinishedRuns": unfinished,
            "unreadable": self.unreadable,
        }
        return {**report, "next": self._next(report)}

    def _all(self, kind: type[R]) -> Iterator[R]:
        for record_id in self.workspace.records.ids(kind, self.scope):
            try:
                yield self.workspace.records.read(kind, self.scope, record_id).record
            except PipelineError as error:
                path = self.workspace.records.path(kind.KIND, self.scope, record_id)
                self.unreadable.append(
                    {"path": self.workspace.relative(path), "message": error.message}
                )

    def _loras(self, datasets: list[str], taken: set[str]) -> list[dict[str, Any]]:
        evaluations, reviews = list(self._all(Evaluation)), list(self._all(Review))
        return [
            {
                "id": lora.id,
                "active": lora.active_release_id,
                "enabled": lora.enabled,
                "strength": lora.strength,
                "releases": dict(sorted(Counter(one.status for one in lora.releases).items())),
                "answersWanted": list(self._answers_wanted(lora, taken)),
                "next": next_for_lora(lora, evaluations, reviews, datasets),
            }
            for lora in self._all(Lora)
        ]

    def _answers_wanted(self, lora: Lora, taken: set[str]) -> tuple[str, ...]:
        if not taken or not lora.active_release_id:
            return ()
        # Most calls need not pay for these.
        from lora_pipeline.releases.evidence.gathering import EvidenceReader
        from lora_pipeline.releases.impact import answers_wanted

        reader = EvidenceReader(self.workspace, self.workspace.records)
        try:
            loaded = self.workspace.records.read(Lora, self.scope, lora.id)
            return answers_wanted(reader, loaded, taken)
        except PipelineError:
            return ()  # what cannot be read is counted where it is read

    def _next(self, report: dict[str, Any]) -> list[str]:
        steps = [
            f"lora release answer {one['id']} {one['active']} {'|'.join(one['answersWanted'])} "
            "--reason …"
            for one in report["loras"]
            if one["answersWanted"]
        ]
        steps += [one["next"] for one in report["unfinishedRuns"]]
        steps += [f"lora dataset build {one['id']}" for one in report["datasets"] if one["drift"]]
        steps += [one["next"] for one in report["loras"] if one["next"]]
        if self.scope == SHARED:
            return steps
        return steps + _first_steps(report)


def _first_steps(report: dict[str, Any]) -> list[str]:
    """Return what a young project does next, in the order of the work."""
    states = report["assets"]
    steps = [] if states else ["lora asset import DIR --asset-type TYPE"]
    if states.get("review"):
        steps.append("lora asset list --status review")
    if states.get("approved") and not report["datasets"]:
        steps.append("lora dataset build --asset-type TYPE")
    if report["datasets"] and not report["loras"]:
        steps.append("lora create ID --checkpoint ID --asset-type TYPE")
    return steps


def _dataset(
    manifest: Manifest, assets: dict[str, Asset], known: set[str], project: Project | None
) -> dict[str, Any]:
    reasons = [_drift(manifest, item, assets, known, project) for item in manifest.items]
    return {
        "id": manifest.id,
        "images": len(manifest.items),
        "contentHash": manifest.content_hash,
        "drift": dict(sorted(Counter(filter(None, reasons)).items())),
    }


def _drift(
    manifest: Manifest,
    item: Item,
    assets: dict[str, Asset],
    known: set[str],
    project: Project | None,
) -> str:
    """Return why an image would no longer be chosen, or an empty string."""
    asset = assets.get(item.asset_id)
    if asset is None:
        if item.asset_id in known:
            return "asset cannot be read"
        # A shared dataset draws on the assets of projects; those are not looked at here.
        return "asset is gone" if manifest.scope == "project" else ""
    if project is not None and (objection := may_train(asset, project.rights)):
        return objection.summary
    version = next((one for one in asset.versions if one.id == item.asset_version_id), None)
    if version is None:
        return "version is gone"
    wanted = manifest.selection.status
    return "" if version.status == wanted else f"no longer {wanted}"


def _run(workspace: Workspace, run: Run) -> dict[str, Any]:
    from lora_pipeline.operations.training.run_lookup import (
        state_now,  # 30 ms that most calls need not pay
    )

    state = state_now(workspace, run)
    verb = "resume" if state == "interrupted" else "log"
    return {
        "next": f"lora run {verb} {run.id}",
        "id": run.id,
        "loraId": run.lora_id,
        "releaseId": run.release_id,
        "state": state,
        "startedAt": run.started_at or run.created_at,
        "stepsDone": run.steps_done,
        "stepsPlanned": run.steps_planned,
    }
