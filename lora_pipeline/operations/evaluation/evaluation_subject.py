"""What is evaluated: the LoRA, the release, the suite and the base model that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lora_pipeline.catalog.checkpoints import digest_checkpoint, list_files
from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.weight_files import place_of_weights, weights_path
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.renderers.interface import LoraFile, RenderSource
from lora_pipeline.evaluation.suites import (
    LoadedSuite,
    read_suite,
    suite_digest,
    suite_id_for,
    with_prompts,
)
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    PipelineError,
    RecordError,
    RecordInvalidError,
    RecordNotFoundError,
)
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


class Target(msgspec.Struct, frozen=True):
    """A release of a LoRA.

    Attributes:
        lora: The LoRA's record.
        release: One of its releases.
    """

    lora: Loaded[Lora]
    release: Release

    @property
    def words(self) -> str:
        """Both ids, as commands take them."""
        return f"{self.lora.record_id} {self.release.id}"


class Subject(msgspec.Struct, frozen=True):
    """All that a grid is made of.

    Attributes:
        target: The release.
        weights_sha256: Digest of its weights, as recorded.
        checkpoint: The base model's record.
        suite: The suite; its digest differs from the file's when prompts were given.
    """

    target: Target
    weights_sha256: str
    checkpoint: Checkpoint
    suite: LoadedSuite


def find_target(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    project: str | None,
    scope: ScopeName,
) -> Target:
    """Return the release that was named; without a release id, the newest one.

    ``lora`` alone may also be the id of a release that only one LoRA has.

    Raises:
        RecordNotFoundError: When there is none.
        ArgumentInvalidError: When several LoRAs have a release of that id.
    """
    try:
        loaded = find_lora(workspace, lora, project=project, scope=scope)
    except RecordNotFoundError:
        found = None if release else _by_release(workspace, lora, project, scope)
        if found is None:
            raise
        return found
    if release:
        return Target(loaded, require_release(loaded.record, release))
    if not loaded.record.releases:
        raise RecordNotFoundError(
            f"{lora} has no release yet", hint=f"lora train --lora {lora} --dataset ID"
        )
    return Target(loaded, max(loaded.record.releases, key=lambda one: one.created_at))


def find_evaluation(workspace: Workspace, target: Target, evaluation_id: str) -> Loaded[Evaluation]:
    """Return the evaluation of a release: the one named, else the newest complete, else the newest.

    Raises:
        RecordNotFoundError: When there is none.
    """
    own = [
        loaded
        for loaded in workspace.records.all(Evaluation, target.lora.scope)
        if (loaded.record.lora_id, loaded.record.release_id)
        == (target.lora.record_id, target.release.id)
        and evaluation_id in ("", loaded.record_id)
    ]
    if not own:
        named = f"evaluation {evaluation_id!r}" if evaluation_id else "evaluation"
        raise RecordNotFoundError(
            f"no {named} of {target.words}", hint=f"lora eval grid {target.words}"
        )
    return max(
        own,
        key=lambda one: (one.record.status == "complete", one.record.created_at, one.record_id),
    )


def subject_of(
    workspace: Workspace, target: Target, *, suite_id: str, prompts: Sequence[str]
) -> Subject:
    """Return what a grid of a release is made of.

    Raises:
        RecordNotFoundError: When suite or checkpoint do not exist.
        RecordInvalidError: When a digest that everything rests on was never recorded.
        ArgumentInvalidError: When the prompts break a rule.
    """
    lora, release = target.lora.record, target.release
    sha256 = (release.weights.sha256 if release.weights else "") or release.sha256
    if len(sha256) != 64:
        raise RecordInvalidError(
            f"{target.words} has no weights with a recorded digest",
            hint=f"lora release register {lora.id} FILE",
        )
    checkpoint = workspace.records.find(
        Checkpoint, workspace.visible(target.lora.scope), lora.checkpoint_id
    ).record
    if not checkpoint.digest:
        raise RecordInvalidError(
            f"checkpoint {checkpoint.id} has no recorded digest",
            hint=f"lora checkpoint verify {checkpoint.id}",
        )
    chosen = suite_id or suite_id_for(workspace, target.lora.scope, lora.asset_types)
    suite = read_suite(workspace, chosen)
    if prompts:
        changed = with_prompts(suite.suite, prompts)
        suite = LoadedSuite(changed, suite_digest(changed), f"{suite.source}, other prompts")
    return Subject(target, sha256, checkpoint, suite)


def render_source(
    workspace: Workspace, subject: Subject, *, with_base: bool = True
) -> RenderSource:
    """Return the files that a renderer loads, after their digests were checked.

    Args:
        workspace: Where they are.
        subject: What is rendered.
        with_base: False where the renderer has its base elsewhere; then it need not be here.

    Raises:
        FileMissingError, DigestMismatchError, SettingsError: When they are not here, or are not
            the ones that were recorded.
    """
    checkpoint = subject.checkpoint
    companions = checkpoint.companions if with_base else {}
    return RenderSource(
        checkpoint_path=_checkpoint_path(workspace, checkpoint)
        if with_base
        else _base_if_here(workspace, checkpoint),
        architecture=checkpoint.architecture,
        loras=(lora_file(workspace, subject),),
        companions={
            name: weights_path(workspace, weights, name=f"{name} of {checkpoint.id}")
            for name, weights in companions.items()
        },
        checkpoint_id=checkpoint.id,
        base_digests=_digests_of_files(checkpoint),
        root=workspace.root,
    )


def lora_file(workspace: Workspace, subject: Subject, strength: float = 1.0) -> LoraFile:
    """Return the weights of a release, after their digest was checked.

    Args:
        workspace: Where they are.
        subject: The release.
        strength: What it is used at in a cell of strength 1.

    Raises:
        FileMissingError, DigestMismatchError: When they are not here, or are not the ones that
            were recorded.
        RecordInvalidError: When the record does not say where they are.
    """
    target = subject.target
    if target.release.weights is None:
        raise RecordInvalidError(
            f"{target.words} does not say where its weights are",
            hint=f"lora release register {target.lora.record_id} FILE",
        )
    path = weights_path(workspace, target.release.weights, name=f"weights of {target.words}")
    return LoraFile(path, subject.weights_sha256, strength)


def earlier_evaluations(
    workspace: Workspace, scope: Scope
) -> tuple[list[Loaded[Evaluation]], list[str]]:
    """Return every evaluation that ``scope`` sees, and what could not be read."""
    found: list[Loaded[Evaluation]] = []
    warnings: list[str] = []
    for place in workspace.visible(scope):
        for record_id in workspace.records.ids(Evaluation, place):
            try:
                found.append(workspace.records.read(Evaluation, place, record_id))
            except RecordError as error:
                warnings.append(f"evaluation {record_id} was left aside: {error.message}")
    return found, warnings


def _checkpoint_path(workspace: Workspace, checkpoint: Checkpoint) -> Path:
    name = f"checkpoint {checkpoint.id}"
    if checkpoint.weights is None:
        raise RecordInvalidError(
            f"{name} does not say where its weights are",
            hint=f"lora checkpoint add {checkpoint.id} --path FOLDER",
        )
    path = weights_path(workspace, checkpoint.weights, name=name)
    if path.is_dir():
        found = digest_checkpoint(list_files(path), workspace.events).digest
        if found != checkpoint.digest:
            raise DigestMismatchError(
                f"{name} is {short(found)} here, recorded is {short(checkpoint.digest)}",
                hint=f"lora checkpoint verify {checkpoint.id}",
            )
    return path


def _base_if_here(workspace: Workspace, checkpoint: Checkpoint) -> Path:
    """Return where the base would be on this machine; its keys are compared when it is there."""
    if checkpoint.weights is None:
        return workspace.runtime / "nowhere"
    try:
        return place_of_weights(workspace, checkpoint.weights)
    except PipelineError:
        return workspace.runtime / "nowhere"


def _digests_of_files(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the SHA-256 of each single file that the record calls this base or a part of it."""
    every = [checkpoint.weights, *checkpoint.companions.values()]
    found = [one.sha256.lower() for one in every if one is not None and len(one.sha256) == 64]
    found.append(checkpoint.digest.removeprefix("sha256:"))
    return tuple(dict.fromkeys(one for one in found if one))


def _by_release(
    workspace: Workspace, release_id: str, project: str | None, scope: ScopeName
) -> Target | None:
    places = [SHARED]
    if scope == "project" and (workspace.records.project_ids() or project):
        places = workspace.visible(workspace.scope(project))
    found = [
        Target(loaded, release)
        for place in places
        for loaded in workspace.records.all(Lora, place)
        for release in loaded.record.releases
        if release.id == release_id
    ]
    if len(found) > 1:
        raise ArgumentInvalidError(
            f"{len(found)} LoRAs have a release {release_id}",
            hint="name the LoRA too: " + ", ".join(target.words for target in found[:4]),
        )
    return found[0] if found else None
