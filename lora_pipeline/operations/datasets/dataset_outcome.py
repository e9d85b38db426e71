"""What ``dataset build`` came to, as every face tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from lora_pipeline.catalog.catalogs import read_every_tag
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.catalog.word_findings import findings_of_images
from lora_pipeline.datasets.build import Draft
from lora_pipeline.datasets.captions.wording import Caption
from lora_pipeline.datasets.diff.changes import Difference, compare
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.datasets.rules import DatasetRule, changed_settings, stored_rule
from lora_pipeline.datasets.selection import LeftOut
from lora_pipeline.datasets.staging.folder import Staging
from lora_pipeline.foundation.errors import RecordError, RepositoryError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.caption_warnings import caption_warnings
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.record_bytes import record_from
from lora_pipeline.workspace.root import Workspace

_EXPLAINED = 5  # assets named in a warning


class Built(msgspec.Struct, frozen=True):
    """A manifest that was built, and all that is told of it.

    Attributes:
        manifest: The manifest.
        draft: What it was made from.
        rule: The rule that made it.
        scope: Where it stands.
        before: The manifest that stood there, or None.
        head: The manifest as the last commit has it, or None.
        staging: The folder that trainers read, when it was asked for.
        written: What was, or would be, written; empty when nothing changed.
    """

    manifest: Manifest
    draft: Draft
    rule: DatasetRule
    scope: Scope
    before: Manifest | None
    head: Manifest | None
    staging: Staging | None
    written: tuple[str, ...]


def build_result(
    workspace: Workspace, built: Built, vocabulary: Vocabulary, *, explain: bool
) -> Result:
    """Return the result of a build."""
    manifest, draft = built.manifest, built.draft
    since = compare(built.head, manifest) if built.head else None
    where = workspace.relative(workspace.records.path(Manifest.KIND, built.scope, manifest.id))
    words = findings_of_images(
        (item.tags for item in manifest.items), read_every_tag(workspace, built.scope), where
    )
    data: dict[str, Any] = {
        "datasetId": manifest.id,
        "scope": manifest.scope,
        "projectId": manifest.project_id or None,
        "path": where,
        "contentHash": manifest.content_hash,
        "images": len(manifest.items),
        "heldOut": sum(1 for item in manifest.items if item.split == "held_out"),
        "considered": draft.considered,
        "matching": draft.matching,
        "leftOut": _counted(draft.barred),
        "notMatching": _counted(one for one in draft.left_out if not one.matches),
        "changed": built.before != manifest,
        "ruleChanges": _rule_changes(built),
        "sinceHead": _summary(since),
        "findings": [finding.to_dict() for finding in (*draft.findings, *words)],
        "staging": _staged(workspace, built.staging),
    }
    if explain:
        data["explained"] = [_explained(one) for one in draft.left_out]
    return Result(
        data=data,
        reasoning=_reasoning(built),
        warnings=(
            *_warnings(built, vocabulary),
            *(f"{one.message}; {one.fix}" for one in words[:_EXPLAINED]),
            *_about_captions(workspace, built),
        ),
        suggestions=_suggestions(workspace, built),
        written=built.written,
        dry_run=workspace.dry_run,
    )


def _staged(workspace: Workspace, staging: Staging | None) -> dict[str, Any] | None:
    if staging is None:
        return None
    return {
        "folder": workspace.relative(staging.folder),
        "images": len(staging.images),
        "made": staging.made,
    }


def manifest_at(
    workspace: Workspace, scope: Scope, dataset_id: str, revision: str, *, strict: bool = True
) -> Manifest | None:
    """Return a manifest as it was at a revision, or None when it was not there.

    Args:
        workspace: The workspace.
        scope: Where the manifest stands.
        dataset_id: Its id.
        revision: Any name that Git has for a commit.
        strict: False when a workspace without Git, or an old manifest that is not valid any
            more, is no reason to stop.

    Raises:
        RepositoryError: When there is no repository or no such revision.
        RecordError: When what stood there is not valid.
    """
    path = workspace.records.path(Manifest.KIND, scope, dataset_id)
    try:
        data = git.file_at(workspace.root, revision, path)
        if data is None:
            return None
        return record_from(Manifest, data, f"{path.name} at {revision}")
    except (RepositoryError, RecordError):
        if strict:
            raise
        return None


def trace(caption: Caption) -> list[dict[str, Any]]:
    """Return where each word of a caption comes from, and which ones were left out."""
    words = [{"text": one.text, "source": one.source, "used": True} for one in caption.words]
    words += [{"text": one.text, "source": one.source, "used": False} for one in caption.repeated]
    return words


def _counted(left_out: Iterable[LeftOut]) -> list[dict[str, Any]]:
    counts = Counter((one.reason.code, one.reason.summary) for one in left_out)
    return [
        {"code": code, "summary": summary, "images": count}
        for (code, summary), count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    ]


def _explained(one: LeftOut) -> dict[str, Any]:
    return {
        "assetId": one.asset_id,
        "title": one.title,
        "code": one.reason.code,
        "reason": one.reason.text,
        "matches": one.matches,
    }


def _summary(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    document = difference.to_dict()
    del document["changes"]
    return {**document, "summary": difference.summary()}


def _rule_changes(built: Built) -> list[dict[str, Any]]:
    if built.before is None:
        return []
    changed = changed_settings(stored_rule(built.before), built.rule)
    return [
        {"name": name, "before": before, "after": after}
        for name, (before, after) in changed.items()
    ]


def _reasoning(built: Built) -> str:
    name, images = built.manifest.id, len(built.manifest.items)
    if built.before == built.manifest:
        return f"Dataset {name} is as it was: {images} images"
    if built.before is None:
        return f"Built dataset {name}: {images} images"
    changes = compare(built.before, built.manifest).summary()
    return f"Built dataset {name} again: {images} images, {changes.replace('  ', ', ')}"


def _warnings(built: Built, vocabulary: Vocabulary) -> tuple[str, ...]:
    manifest, warnings = built.manifest, []
    for type_id in manifest.selection.asset_types:
        counts = getattr(vocabulary.asset_types.get(type_id), "image_counts", None)
        if counts is not None and len(manifest.items) < counts.minimum:
            warnings.append(
                f"{len(manifest.items)} images are few: {type_id} asks for {counts.minimum}, "
                f"{counts.recommended_from} to {counts.recommended_to} are recommended"
            )
    warnings += [
        f"no catalog has the tag {unknown}"
        for unknown in vocabulary.unknown_tags(manifest.selection.not_tags)
    ]
    warnings += _lost(built)
    held_out = sum(1 for item in manifest.items if item.split == "held_out")
    if manifest.split_rule.held_out and not held_out:
        share = f"{manifest.split_rule.held_out:.0%}"
        warnings.append(f"the held-out share of {share} chose none of these images")
    if held_out == len(manifest.items):
        warnings.append("every image is held out; there is nothing to train on")
    findings = built.draft.findings
    warnings += [f"{one.message} — {one.fix}" for one in findings[:_EXPLAINED]]
    if len(findings) > _EXPLAINED:
        warnings.append(f"… and {len(findings) - _EXPLAINED} more files; --explain lists them")
    return tuple(warnings)


def _about_captions(workspace: Workspace, built: Built) -> list[str]:
    if not built.written:
        return []  # they are as they were when they were told
    command = with_place(workspace, built.scope, f"lora caption lint {built.manifest.id}")
    return caption_warnings(workspace, built.scope, built.manifest, command)


def _lost(built: Built) -> list[str]:
    """Say which ids of the rule's list have no asset any more."""
    wanted = built.rule.selection.asset_ids
    if wanted is UNSET:
        return []
    there = {one.asset_id for one in built.draft.left_out}
    there |= {item.asset_id for item in built.manifest.items}
    lost = [asset_id for asset_id in wanted if asset_id not in there]
    if not lost:
        return []
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return [f"the rule lists {lost[0]}{more}, and no asset has that id"]


def _suggestions(workspace: Workspace, built: Built) -> tuple[str, ...]:
    name, scope = built.manifest.id, built.scope
    loras = [
        lora_id
        for place in workspace.visible(scope)
        for lora_id in workspace.records.ids(Lora, place)
    ]
    lora = loras[0] if len(loras) == 1 else "LORA"
    return (
        with_place(workspace, scope, f"lora dataset check {name}"),
        with_place(workspace, scope, f"lora train --lora {lora} --dataset {name}"),
    )
