"""Tag and rate assets."""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.catalog.assets import changes as asset_changes
from lora_pipeline.catalog.assets.decisions import Decided, Named, decide
from lora_pipeline.catalog.assets.filter import AssetEntry, AssetFilter
from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.imports.plan import Words
from lora_pipeline.catalog.new_words import add_words
from lora_pipeline.catalog.records import Asset
from lora_pipeline.catalog.vocabulary import Clash
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import require_tag
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.catalog.asset_choice import chosen_assets
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace


def tag_assets(
    workspace: Workspace,
    *,
    add: tuple[str, ...] = (),
    remove: tuple[str, ...] = (),
    ids: tuple[str, ...] = (),
    everything: bool = False,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    from_file: str = "",
    add_tags: bool = False,
) -> Result:
    """Add tags to images and take tags off them.

    A tag that no catalog has, and a second tag of a group of which an image may have one, are
    refused: nothing is written.

    Args:
        workspace: Where they are.
        add: Tags to add, or other spellings of them.
        remove: Tags to take off.
        ids: Ids, or endings of ids that only one asset has.
        everything: All of them.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.
        add_tags: Put tags that no catalog has into the project's.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant or what is to change,
            or a tag is not one.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
    """
    if not add and not remove:
        raise ArgumentInvalidError("which tags?", hint="--add shape:star, --remove color:red")
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    assets, chosen = chosen_assets(
        workspace, project, wanted, everything=everything, from_file=from_file
    )
    vocabulary = read_vocabulary(workspace, assets.scope)
    new = tuple(require_tag(vocabulary.tag(one)) for one in add)
    old = tuple(vocabulary.tag(one) for one in remove)
    unknown = vocabulary.unknown_tags(new)
    if unknown and not add_tags:
        words = ", ".join(str(one) for one in unknown)
        return _refused(
            "tag_unknown",
            f"no catalog has {words}",
            "--add-tags puts it into the project's catalog",
            dry_run=workspace.dry_run,
        )
    changes, now = Changes(workspace), workspace.now()
    add_words(changes, assets.scope, Words(tags=tuple(one.word for one in unknown)))
    clashes: dict[str, list[Clash]] = {}

    def tagged(asset: Asset) -> Asset:
        after = asset_changes.tag(asset, add=new, remove=old, at=now)
        if after != asset:
            clashes[asset.id] = vocabulary.clashes(AssetEntry(after, None).variant.tags)
        return after

    decided = decide(changes, chosen, tagged)
    clashing = [(one, clash) for one in decided.changed for clash in clashes[one.id]]
    if clashing:
        return _clash(clashing, new, dry_run=workspace.dry_run)
    return Result(
        data={
            "project": assets.project.id,
            "added": list(new),
            "removed": list(old),
            "newWords": [one.word for one in unknown],
            **decided.to_dict(),
        },
        reasoning=_reasoning(decided, new, old, str(assets.project.id)),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def rate_assets(
    workspace: Workspace,
    stars: int,
    *,
    ids: tuple[str, ...] = (),
    everything: bool = False,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    from_file: str = "",
) -> Result:
    """Rate assets with one to five stars; none takes a rating away.

    Args:
        workspace: Where they are.
        stars: 0 to 5.
        ids: Ids, or endings of ids that only one asset has.
        everything: All of them.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant, or the stars are not
            0 to 5.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
    """
    if not 0 <= stars <= 5:
        raise ArgumentInvalidError(f"stars must be 0 to 5, got {stars}")
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    assets, chosen = chosen_assets(
        workspace, project, wanted, everything=everything, from_file=from_file
    )
    changes, now = Changes(workspace), workspace.now()
    decided = decide(changes, chosen, lambda asset: asset_changes.rate(asset, stars, at=now))
    count = len(decided.changed)
    return Result(
        data={"project": assets.project.id, "stars": stars, **decided.to_dict()},
        reasoning=f"Rated {counted(count)} of {assets.project.id} with {stars} of 5 stars",
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def counted(number: int) -> str:
    """Return a number of assets in words."""
    return f"{number} asset{'' if number == 1 else 's'}"


def _clash(clashing: Sequence[tuple[Named, Clash]], new: Sequence[str], *, dry_run: bool) -> Result:
    entry, clash = clashing[0]
    others = ",".join(dict.fromkeys(tag for _, one in clashing for tag in one.tags))
    old = ",".join(tag for tag in others.split(",") if tag not in new)
    more = f" (and {len(clashing) - 1} more assets)" if len(clashing) > 1 else ""
    return _refused(
        "tags_exclusive",
        f"{entry.title}: {clash}{more}",
        f"add --remove {old}" if old else f"an image has one tag of {clash.group}",
        dry_run=dry_run,
    )


def _refused(code: str, message: str, hint: str, *, dry_run: bool) -> Result:
    return Result(
        reasoning=message,
        suggestions=[hint],
        dry_run=dry_run,
        refusal=Refusal(code, f"{message}; nothing was written", hint),
    )


def _reasoning(decided: Decided, new: Sequence[str], old: Sequence[str], project_id: str) -> str:
    if not decided.changed:
        return f"Nothing to tag: {counted(len(decided.unchanged))} were so already"
    what = [*(f"+{tag}" for tag in new), *(f"-{tag}" for tag in old)]
    return f"Tagged {counted(len(decided.changed))} of {project_id} {' '.join(what)}"
