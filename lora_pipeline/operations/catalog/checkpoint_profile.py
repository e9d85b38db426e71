"""Add, list and show checkpoint profiles, and say what a spec's prompt is."""

from __future__ import annotations

from typing import Any, Literal

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.profile_records import (
    CheckpointProfile,
    ProfilePrompt,
    RuntimeSafety,
)
from lora_pipeline.catalog.prompts import compile_prompt, default_profile
from lora_pipeline.catalog.records import Checkpoint, Project, Spec
from lora_pipeline.catalog.word_findings import tag_problems, word_problem
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace


def add_profile(
    workspace: Workspace,
    checkpoint_id: str,
    *,
    base_positive: str | None = None,
    base_negative: str | None = None,
    per_asset_type: tuple[str, ...] = (),
    per_asset_type_negative: tuple[str, ...] = (),
    tag_order: tuple[str, ...] = (),
    safety_positive: tuple[str, ...] = (),
    safety_negative: tuple[str, ...] = (),
    safety: bool | None = None,
    default: bool = True,
    notes: str = "",
    project: str | None = None,
    scope: Literal["project", "baseline"] = "project",
) -> Result:
    """Write a new version of the prompt dialect of a checkpoint.

    It begins with what the newest version says; what is given takes its place. Versions that
    are there are never changed: specs that name one keep it.

    Args:
        workspace: Whose records.
        checkpoint_id: The base model.
        base_positive: Words that every prompt begins with.
        base_negative: Words that every negative prompt begins with.
        per_asset_type: Words for an asset type, each ``TYPE=WORDS``.
        per_asset_type_negative: Words for its negative prompt, each ``TYPE=WORDS``.
        tag_order: Tags and tag groups in the order in which they are said.
        safety_positive: Words that every prompt ends with.
        safety_negative: Words that every negative prompt ends with.
        safety: Whether those are said.
        default: Whether specs that name no profile are spoken with it.
        notes: Anything worth keeping.
        project: The project.
        scope: ``baseline`` for a profile that all projects share.

    Raises:
        RecordNotFoundError: When the checkpoint does not exist.
        ArgumentInvalidError: When an asset type's words are not ``TYPE=WORDS``.
        RecordError: When a record is not valid.
        LockedError, RecordExistsError, StorageError: As every write.
    """
    place = SHARED if scope == "baseline" else workspace.scope(project)
    workspace.records.find(Checkpoint, workspace.visible(place), checkpoint_id)
    before = [one for one in _profiles(workspace, [place]) if one.checkpoint_id == checkpoint_id]
    newest = max(before, key=lambda one: one.version, default=None)
    version = newest.version + 1 if newest else 1
    now = workspace.now()
    old_safety = newest.runtime_safety if newest else RuntimeSafety()
    profile = CheckpointProfile(
        profile_id=f"{checkpoint_id}_v{version}",
        version=version,
        checkpoint_id=checkpoint_id,
        created_at=now,
        updated_at=now,
        default_for_checkpoint=default,
        base_positive=_else(base_positive, newest.base_positive if newest else ""),
        base_negative=_else(base_negative, newest.base_negative if newest else ""),
        per_asset_type=_per_type(newest, per_asset_type, per_asset_type_negative),
        tag_order_policy="explicit"
        if tag_order
        else (newest.tag_order_policy if newest else "checkpoint_default"),
        tag_order=tag_order or (newest.tag_order if newest else ()),
        runtime_safety=RuntimeSafety(
            enabled=old_safety.enabled if safety is None else safety,
            positive=safety_positive or old_safety.positive,
            negative=safety_negative or old_safety.negative,
        ),
        notes=notes,
    )
    changes = Changes(workspace)
    changes.create(profile, place, profile.profile_id)
    return Result(
        data={"profile": profile.to_dict(), "scope": place.name},
        reasoning=f"Added version {version} of the profile of {checkpoint_id}",
        warnings=_unknown_words(workspace, place, profile),
        suggestions=[f"lora checkpoint profile show {profile.profile_id}"],
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def list_profiles(workspace: Workspace, *, project: str | None = None) -> Result:
    """List checkpoint profiles, the newest version of each checkpoint first.

    Args:
        workspace: Where they are.
        project: The project; those that all projects share are listed too.

    Raises:
        RecordError: When a record is not valid.
    """
    visible = workspace.visible(workspace.scope(project))
    found = sorted(
        ((place, one) for place in visible for one in _profiles(workspace, [place])),
        key=lambda pair: (pair[1].checkpoint_id, -pair[1].version),
    )
    rows = [
        {
            "id": one.profile_id,
            "checkpoint": one.checkpoint_id,
            "version": one.version,
            "default": one.default_for_checkpoint,
            "scope": place.name,
            "basePositive": one.base_positive,
        }
        for place, one in found
    ]
    return Result(
        data={"profiles": rows},
        reasoning=f"{len(rows)} profiles",
        suggestions=[] if rows else ["lora checkpoint profile add CHECKPOINT"],
    )


def show_profile(workspace: Workspace, profile_id: str, *, project: str | None = None) -> Result:
    """Show one checkpoint profile and how many specs name it.

    Args:
        workspace: Where it is.
        profile_id: Its id.
        project: The project.

    Raises:
        RecordNotFoundError: When there is none of that id.
    """
    scope = workspace.scope(project)
    loaded = workspace.records.find(CheckpointProfile, workspace.visible(scope), profile_id)
    named = sum(
        spec.checkpoint_profile_id == profile_id for spec in workspace.records.each(Spec, scope)
    )
    return Result(
        data={"profile": loaded.record.to_dict(), "scope": loaded.scope.name, "specs": named},
        reasoning=f"{profile_id} is named by {named} specs",
    )


def show_prompt(workspace: Workspace, spec_id: str, *, project: str | None = None) -> Result:
    """Say what a spec's prompt is, and where each word comes from.

    The profile is the one that the spec names, else the default of its checkpoint; without any
    the checkpoint's own templates hold.

    Args:
        workspace: Where it is.
        spec_id: The spec.
        project: The project.

    Raises:
        RecordNotFoundError: When the spec, its checkpoint or its profile does not exist.
        RecordError: When a record is not valid.
    """
    scope = workspace.scope(project)
    visible = workspace.visible(scope)
    spec = workspace.records.read(Spec, scope, spec_id).record
    checkpoint = (
        workspace.records.find(Checkpoint, visible, spec.checkpoint_id).record
        if spec.checkpoint_id
        else None
    )
    profile = _profile_for(workspace, visible, spec)
    policies = workspace.records.read(Project, scope, "project").record.policies
    tag_map = policies.get("tagPromptMap", {})
    mapped = tag_map.get(spec.checkpoint_id, {}) if isinstance(tag_map, dict) else {}
    compiled = compile_prompt(
        spec,
        checkpoint,
        profile,
        read_vocabulary(workspace, scope, spec.checkpoint_id),
        mapped if isinstance(mapped, dict) else {},
    )
    return Result(
        data={
            "specId": spec.id,
            "title": spec.title,
            "checkpoint": spec.checkpoint_id,
            "profile": profile.profile_id if profile else "",
            "positive": compiled.positive,
            "negative": compiled.negative,
            "trace": [
                {"layer": one.name, "source": one.source, "order": number,
                 "positive": one.positive, "negative": one.negative}
                for number, one in enumerate(compiled.layers, start=1)
            ],
        },
        reasoning=f"{spec.title} in {len(compiled.layers)} layers",
    )  # fmt: skip


def _profiles(workspace: Workspace, places: list[Scope]) -> list[CheckpointProfile]:
    return [one for place in places for one in workspace.records.each(CheckpointProfile, place)]


def _profile_for(
    workspace: Workspace, visible: list[Scope], spec: Spec
) -> CheckpointProfile | None:
    if spec.checkpoint_profile_id:
        name = spec.checkpoint_profile_id
        return workspace.records.find(CheckpointProfile, visible, name).record
    for place in visible:
        mine = [
            one
            for one in _profiles(workspace, [place])
            if one.checkpoint_id == spec.checkpoint_id != ""
        ]
        found = default_profile(mine)
        if found is not None:
            return found
    return None


def _else(given: str | None, before: str) -> str:
    return before if given is None else given


def _per_type(
    newest: CheckpointProfile | None, positive: tuple[str, ...], negative: tuple[str, ...]
) -> dict[str, ProfilePrompt]:
    found: dict[str, dict[str, Any]] = {
        name: one.to_dict() for name, one in (newest.per_asset_type if newest else {}).items()
    }
    for key, texts in (("positive", positive), ("negative", negative)):
        for text in texts:
            asset_type, separator, words = text.partition("=")
            if not separator or not asset_type.strip():
                raise ArgumentInvalidError(
                    f"words for an asset type are TYPE=WORDS, got {text!r}",
                    hint='--for "ui_icon=game icon, centered"',
                )
            found.setdefault(asset_type.strip(), {})[key] = words.strip()
    return {name: ProfilePrompt.from_dict(one) for name, one in found.items()}


def _unknown_words(workspace: Workspace, place: Scope, profile: CheckpointProfile) -> list[str]:
    vocabulary = read_vocabulary(workspace, place, profile.checkpoint_id)
    problems = [
        problem
        for asset_type in profile.per_asset_type
        if (problem := word_problem("asset type", asset_type, vocabulary.asset_types))
    ]
    tags = [one for one in profile.tag_order if ":" in one]
    problems += [one for one in tag_problems(tags, vocabulary) if one.code == "tag_unknown"]
    groups = [one for one in profile.tag_order if ":" not in one and one not in vocabulary.groups]
    return [
        *(f"{one.message}; {one.fix}" for one in problems),
        *(f"there is no tag group {one}" for one in groups),
    ]
