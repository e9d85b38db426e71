"""Look at captions: which rules they break, and how much of them is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import msgspec

from lora_pipeline.datasets.captions.files import folder_captions
from lora_pipeline.datasets.captions.lint import (
    RULES,
    Subject,
    by_code,
    lint_captions,
    subjects_of,
)
from lora_pipeline.datasets.captions.tokens import Reading, token_findings
from lora_pipeline.datasets.lookup import find_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.foundation.findings import Finding, has_errors
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.datasets.caption_target import Target, checkpoint_of, target_of
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.releases.lookup import find_lora
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]


class Checked(msgspec.Struct, frozen=True):
    """Captions that were looked at.

    Attributes:
        name: The dataset, or the folder.
        scope: Where the dataset stands; of a folder, where words are looked for.
        subjects: The captions.
        trigger_word: The word that each must hold, or empty.
        target: What they are made for.
        readings: What its encoders make of them.
        findings: The rules that they break.
    """

    name: str
    scope: Scope
    subjects: tuple[Subject, ...]
    trigger_word: str
    target: Target
    readings: tuple[Reading, ...]
    findings: tuple[Finding, ...]


class _Wishes(msgspec.Struct, frozen=True):
    checkpoint: str | None
    trigger_word: str | None
    max_tokens: int | None


def lint_captions_of(
    workspace: Workspace,
    dataset_id: str | None = None,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
    checkpoint: str | None = None,
    lora: str | None = None,
    trigger_word: str | None = None,
    max_tokens: int | None = None,
    folder: str | None = None,
) -> Result:
    """Check captions against the rules, and count tokens for the encoders that will read them.

    Args:
        workspace: The workspace.
        dataset_id: Id or path of a manifest; every one that is visible when left out.
        project: Project to look in.
        scope: ``baseline`` for shared manifests.
        checkpoint: Checkpoint that will read the captions, instead of the manifest's.
        lora: LoRA whose checkpoint and trigger word count.
        trigger_word: Trigger word, instead of the manifest's.
        max_tokens: Tokens that the trainer reads, where it was told to read more.
        folder: Folder of images with text files beside them, instead of a manifest.

    Raises:
        RecordNotFoundError: When a manifest, checkpoint or LoRA does not exist.
        FileMissingError: When there is no such folder.
        ArgumentInvalidError: When both a manifest and a folder are named.
    """
    if dataset_id and folder:
        raise ArgumentInvalidError("name a dataset or a folder, not both")
    place = _place(workspace, project, scope, needed=not folder)
    if lora:
        record = find_lora(workspace, lora, project=project, scope=scope).record
        checkpoint = checkpoint or record.checkpoint_id
        trigger_word = trigger_word or record.trigger_word
    wishes = _Wishes(checkpoint, trigger_word, max_tokens)
    if folder:
        checked = [_check_folder(workspace, place, Path(folder), wishes)]
    else:
        checked = [
            _check_manifest(workspace, where, manifest, wishes)
            for where, manifest in _manifests(workspace, place, dataset_id)
        ]
    return _result(workspace, checked)


def _place(workspace: Workspace, project: str | None, scope: ScopeName, *, needed: bool) -> Scope:
    if scope == "baseline":
        return SHARED
    if needed or project or workspace.project or workspace.settings.text("project"):
        return workspace.scope(project)
    return SHARED


def _manifests(
    workspace: Workspace, scope: Scope, dataset_id: str | None
) -> list[tuple[Scope, Manifest]]:
    if dataset_id:
        loaded = find_manifest(workspace, scope, dataset_id)
        return [(loaded.scope, loaded.record)]
    found = [
        (place, loaded.record)
        for place in workspace.visible(scope)
        for loaded in workspace.records.all(Manifest, place)
    ]
    if not found:
        raise RecordNotFoundError(
            f"no dataset in {scope}", hint="lora dataset build --asset-type TYPE"
        )
    return found


def _check_manifest(
    workspace: Workspace, scope: Scope, manifest: Manifest, wishes: _Wishes
) -> Checked:
    name = wishes.checkpoint or checkpoint_of(manifest)
    target = target_of(workspace, scope, name, reads=wishes.max_tokens)
    trigger = wishes.trigger_word or manifest.caption_rule.trigger_word
    return _checked(manifest.id, scope, subjects_of(manifest), trigger, target, ())


def _check_folder(workspace: Workspace, scope: Scope, folder: Path, wishes: _Wishes) -> Checked:
    found = folder_captions(workspace.root / folder.expanduser())
    target = target_of(workspace, scope, wishes.checkpoint or "", reads=wishes.max_tokens)
    trigger = wishes.trigger_word or ""
    return _checked(folder.name, scope, found.subjects, trigger, target, found.findings)


def _checked(
    name: str,
    scope: Scope,
    subjects: Sequence[Subject],
    trigger: str,
    target: Target,
    before: Sequence[Finding],
) -> Checked:
    said = [one for one in subjects if one.text is not None]
    readings = target.read([one.text or "" for one in said])
    findings = [*before, *lint_captions(subjects, trigger_word=trigger)]
    findings += token_findings(said, readings)
    return Checked(name, scope, tuple(subjects), trigger, target, tuple(readings), tuple(findings))


def _result(workspace: Workspace, checked: Sequence[Checked]) -> Result:
    findings = [finding for one in checked for finding in one.findings]
    captions = sum(len(one.subjects) for one in checked)
    names = ", ".join(one.name for one in checked)
    refusal = None
    if has_errors(findings):
        worst = next(one for one in findings if one.severity == "error")
        count = sum(one.severity == "error" for one in findings)
        refusal = Refusal(
            "captions_invalid", f"{count} errors in {captions} captions of {names}", worst.fix
        )
    return Result(
        data={"checked": [_document(one) for one in checked]},
        reasoning=f"{len(findings)} findings in {captions} captions of {names}",
        suggestions=tuple(_suggestions(workspace, checked)),
        refusal=refusal,
    )


def _document(checked: Checked) -> dict[str, Any]:
    texts = {one.where: one.text for one in checked.subjects}
    return {
        "name": checked.name,
        "scope": "project" if checked.scope.project_id else "baseline",
        "projectId": checked.scope.project_id,
        "captions": len(checked.subjects),
        "triggerWord": checked.trigger_word,
        "checkpointId": checked.target.checkpoint_id or None,
        "architecture": checked.target.architecture or None,
        "targetKnown": checked.target.known,
        "encoders": [_reading(one) for one in checked.readings],
        "counts": [
            {
                "code": code,
                "severity": RULES[code].severity,
                "findings": len(group),
                "example": group[0].to_dict(),
                "fix": RULES[code].fix,
            }
            for code, group in by_code(checked.findings).items()
        ],
        "findings": [one.to_dict() | {"caption": texts.get(one.where)} for one in checked.findings],
    }


def _reading(reading: Reading) -> dict[str, Any]:
    counts = reading.counts
    return {
        "name": reading.encoder.name,
        "reads": reading.encoder.reads,
        "leads": reading.encoder.leads,
        "exact": reading.exact,
        "tokenizer": reading.tokenizer or None,
        "notExact": reading.not_exact or None,
        "shortest": min(counts, default=0),
        "median": int(median(counts)) if counts else 0,
        "longest": max(counts, default=0),
    }


def _suggestions(workspace: Workspace, checked: Sequence[Checked]) -> Iterable[str]:
    if len(checked) > 1:
        worst = max(checked, key=lambda one: len(one.findings))
        if worst.findings:
            yield with_place(workspace, worst.scope, f"lora caption lint {worst.name}")
        return
    first = next((one for one in checked[0].findings if one.where in _asset_ids(checked[0])), None)
    if first is not None:
        show = f"lora dataset show {checked[0].name} --explain {first.where}"
        yield with_place(workspace, checked[0].scope, show)


def _asset_ids(checked: Checked) -> frozenset[str]:
    return frozenset(one.asset_id for one in checked.subjects if one.asset_id)
