"""Build a dataset manifest: which images, which captions, and the digest of both."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Provenance, VersionStatus
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.datasets.build import Draft, draft_dataset
from lora_pipeline.datasets.footprint import build_footprint
from lora_pipeline.datasets.records import Alpha, CaptionStrategy, Manifest
from lora_pipeline.datasets.rules import DatasetRule, stored_rule
from lora_pipeline.datasets.staging.folder import stage_manifest
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.foundation.ids import did_you_mean, require_slug
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.catalog.asset_ids import listed_ids
from lora_pipeline.operations.datasets.dataset_outcome import Built, build_result, manifest_at
from lora_pipeline.operations.datasets.dataset_rule import (
    RuleOptions,
    architecture_of,
    derived_id,
    for_projects,
    rule_from,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]


def build_dataset(
    workspace: Workspace,
    dataset_id: str | None = None,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
    status: VersionStatus | None = None,
    asset_types: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
    tag_any: bool | None = None,
    not_tags: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    scenarios: tuple[str, ...] = (),
    checkpoints: tuple[str, ...] = (),
    licenses: tuple[str, ...] = (),
    since: str | None = None,
    min_rating: int | None = None,
    asset_ids: tuple[str, ...] = (),
    from_file: str | None = None,
    spec_tags: bool | None = None,
    limit: int | None = None,
    limit_each: int | None = None,
    balance: str | None = None,
    seed: int | None = None,
    caption: CaptionStrategy | None = None,
    with_tokens: bool | None = None,
    trigger_word: str | None = None,
    prefix: str | None = None,
    suffix: str | None = None,
    template: str | None = None,
    background: str | None = None,
    alpha: Alpha | None = None,
    held_out: float | None = None,
    provenance_source: str | None = None,
    provenance_author: str | None = None,
    provenance_license: str | None = None,
    provenance_url: str | None = None,
    provenance_notes: str | None = None,
    explain: bool = False,
    stage: bool = False,
) -> Result:
    """Build a dataset manifest from approved assets, or build one again by its own rule.

    With an id alone the stored rule is repeated. Options that choose images (status, asset
    types, tags, ids, …) replace the stored selection as a whole; all others, limits among
    them, change what they name. Nothing is written when nothing changed.

    Args:
        workspace: The workspace.
        dataset_id: Id of the manifest; made from asset types and tags when left out.
        project: Project whose assets are taken.
        scope: ``baseline`` for a manifest that all projects share.
        status: Approval status of the versions that are taken; ``approved`` when left out.
        asset_types: Asset types that are taken.
        tags: Tags that an image must carry.
        tag_any: Whether one of the tags is enough.
        not_tags: Tags that an image must not carry.
        styles: Styles that are taken.
        scenarios: Scenarios that are taken.
        checkpoints: Leaves out art made with other checkpoints; captions take the catalog
            words of the one that is named, or of several each spec's own.
        licenses: Licences that are taken.
        since: Day, or time in UTC, before which nothing was made that is taken.
        min_rating: Lowest rating that is taken, 0 to 5.
        asset_ids: Assets that are taken: ids, or endings that one asset has.
        from_file: Text file with such ids, one on each line; the ids are kept, not the file.
        spec_tags: Whether the tags of specs count; they do when left out.
        limit: Highest number of images, drawn by rating and lot; 0 takes the limit away.
        limit_each: Highest number of images of each tag of the balanced group.
        balance: Tag group whose tags are shown evenly; empty to stop that.
        seed: Number that the draw starts from.
        caption: What captions are made of.
        with_tokens: Whether captions hold the catalog's prompt tokens.
        trigger_word: First word of every caption.
        prefix: Words after the trigger word.
        suffix: Last words of every caption.
        template: Form of a caption: ``tags``, ``sentence``, or text with slots; a new manifest
            has the form that models of its checkpoint's architecture know.
        background: Colour that transparency is laid on, ``#RRGGBB``.
        alpha: ``background``, or ``mask``: transparency is also kept beside each image, and
            trainers weigh the loss by it.
        held_out: Share of the images that is held out of training.
        provenance_source: Where the images come from.
        provenance_author: Who made them.
        provenance_license: Licence they stand under.
        provenance_url: Where they were published.
        provenance_notes: Anything else worth keeping.
        explain: Whether every asset that is left out is listed with its reason.
        stage: Whether the folder that trainers read is made too.

    Raises:
        ArgumentInvalidError: When an option breaks its rule.
        SelectionEmptyError: When a filter leaves nothing over; names it and counts all before.
        CaptionInvalidError: When a caption would be empty or hold what it may not, or when the
            template is none.
        RecordNotFoundError: When a project, checkpoint, asset or dataset does not exist.
        FileMissingError: When the file with ids cannot be read.
        RecordConflictError: When the manifest changed meanwhile.
    """
    place = workspace.scope(project) if scope == "project" else SHARED
    options = RuleOptions(
        status=status, asset_types=asset_types, tags=tags, tag_any=tag_any, not_tags=not_tags,
        styles=styles, scenarios=scenarios, checkpoints=checkpoints, licenses=licenses,
        since=since, min_rating=min_rating, spec_tags=spec_tags, limit=limit,
        limit_each=limit_each, balance=balance, seed=seed, caption=caption,
        with_tokens=with_tokens, trigger_word=trigger_word, prefix=prefix, suffix=suffix,
        template=template, background=background, alpha=alpha, held_out=held_out,
        asset_ids=listed_ids(workspace, _projects(workspace, place, project), asset_ids, from_file),
    )  # fmt: skip
    provenance = {
        "source": provenance_source,
        "author": provenance_author,
        "license": provenance_license,
        "url": provenance_url,
        "notes": provenance_notes,
    }
    vocabulary = read_vocabulary(workspace, place)
    architecture = architecture_of(workspace, place, checkpoints)
    target, before = _target(workspace, place, dataset_id, options, vocabulary)
    stored = stored_rule(before.record) if before else None
    asked = rule_from(options, stored, vocabulary, architecture=architecture)
    rule = for_projects(asked, place, project or workspace.project)
    draft = draft_dataset(workspace, place, rule, before.record.items if before else ())
    manifest = _manifest(workspace, place, target, rule, draft, before, provenance)
    changes = Changes(workspace)
    if before is None:
        changes.create(manifest, place, target)
    elif manifest != before.record:
        changes.update(before, manifest)
    head = manifest_at(workspace, place, target, "HEAD", strict=False)
    written = list(changes.apply())
    staging = None
    if stage and not workspace.dry_run:
        staging = stage_manifest(workspace, manifest)
        written += [workspace.relative(staging.folder)] if staging.made else []
    built = Built(
        manifest=manifest,
        draft=draft,
        rule=rule,
        scope=place,
        before=before.record if before else None,
        head=head,
        staging=staging,
        written=tuple(written),
    )
    result = build_result(workspace, built, vocabulary, explain=explain)
    if written or draft.findings or from_file:
        return result
    folders = (staging.folder,) if staging else ()
    return result.repeatable(lambda: build_footprint(workspace, draft, folders))


def _projects(workspace: Workspace, scope: Scope, project: str | None) -> list[str]:
    one = scope.project_id or project or workspace.project
    return [one] if one else workspace.records.project_ids()


def _target(
    workspace: Workspace,
    scope: Scope,
    dataset_id: str | None,
    options: RuleOptions,
    vocabulary: Vocabulary,
) -> tuple[str, Loaded[Manifest] | None]:
    if dataset_id is None and not options.selects:
        raise ArgumentInvalidError(
            "which images?",
            hint="lora dataset build ID builds one again; --asset-type, --tag or --status "
            "approved say what a new one holds",
        )
    # An empty id comes from a script whose variable was not set: it must not make another dataset.
    target = (
        dataset_id
        if dataset_id is not None
        else derived_id(rule_from(options, None, vocabulary).selection)
    )
    if workspace.records.exists(Manifest, scope, target):
        return target, workspace.records.read(Manifest, scope, target)
    if not options.selects:
        raise _nothing_to_repeat(workspace, scope, target)
    return require_slug(target, "dataset"), None


def _nothing_to_repeat(workspace: Workspace, scope: Scope, target: str) -> RecordNotFoundError:
    if scope != SHARED and workspace.records.exists(Manifest, SHARED, target):
        return RecordNotFoundError(
            f"dataset {target!r} is shared, not {scope}'s own",
            hint=f"lora dataset build {target} --scope baseline",
        )
    near = did_you_mean(target, workspace.records.ids(Manifest, scope))
    return RecordNotFoundError(
        f"no dataset {target!r} in {scope} to build again",
        hint=f"did you mean {near}?"
        if near
        else "say what a new one holds: --asset-type, --tag or --status approved",
    )


def _manifest(
    workspace: Workspace,
    scope: Scope,
    target: str,
    rule: DatasetRule,
    draft: Draft,
    before: Loaded[Manifest] | None,
    provenance: dict[str, str | None],
) -> Manifest:
    now = workspace.now()
    stated = before.record.provenance if before else Provenance()
    manifest = Manifest(
        id=target,
        scope="project" if scope.project_id else "baseline",
        project_id=scope.project_id or "",
        created_at=before.record.created_at if before else now,
        updated_at=before.record.updated_at if before else now,
        items=draft.items,
        provenance=replace(
            stated, **{name: value for name, value in provenance.items() if value is not None}
        ),
        provenance_summary=draft.summary,
        selection=rule.selection,
        caption_rule=rule.captions,
        normalization=rule.normalization,
        split_rule=rule.split,
        content_hash=draft.content_hash,
    )
    if before is None or manifest == before.record:
        return manifest
    return replace(manifest, updated_at=now)
