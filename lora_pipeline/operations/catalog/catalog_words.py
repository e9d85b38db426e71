"""Show the controlled words that are in force, and add new ones."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import msgspec

from lora_pipeline.catalog.assets.reading import read_assets
from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.catalog.word_entries import NewWord, empty_catalog, with_word
from lora_pipeline.catalog.word_findings import tag_problems
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import require_slug, require_tag
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED
from lora_pipeline.workspace.root import Workspace

Kind = Literal["asset-type", "style", "scenario", "palette", "tag", "tag-group"]
_OF_CHECKPOINTS = frozenset({"style", "scenario", "tag", "tag-group"})


def show_catalog(
    workspace: Workspace, *, project: str | None = None, checkpoint: str = ""
) -> Result:
    """Show asset types, styles, scenarios, palettes and tags, and how often art uses them.

    The project's words stand over the shared ones of the same id, and a checkpoint's own over
    both.

    Args:
        workspace: Where they are.
        project: The project.
        checkpoint: A base model whose own words are to count.

    Raises:
        RecordNotFoundError: When the project or the checkpoint does not exist.
        RecordError: When a catalog is not valid.
    """
    scope = workspace.scope(project)
    if checkpoint:
        workspace.records.find(Checkpoint, workspace.visible(scope), checkpoint)
    words = read_vocabulary(workspace, scope, checkpoint)
    used: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for entry in read_assets(workspace, scope).each():
        used.update(entry.tags)
        types.update([entry.spec.asset_type] if entry.spec else [])
    unknown = [str(one) for one in words.unknown_tags(sorted(used))]
    return Result(
        data={
            "project": scope.project_id,
            "checkpoint": checkpoint,
            **_words(words),
            "used": {"tags": dict(sorted(used.items())), "assetTypes": dict(sorted(types.items()))},
            "unknownTags": unknown,
        },
        reasoning=f"{len(words.tags)} tags in {len(words.groups)} groups are in force",
        warnings=[f"tags of art that no catalog has: {', '.join(unknown)}"] if unknown else [],
    )


def add_word(
    workspace: Workspace,
    kind: Kind,
    word: str,
    *,
    label: str = "",
    description: str = "",
    tokens: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    colors: tuple[str, ...] = (),
    default_tags: tuple[str, ...] = (),
    exclusive: bool = False,
    requires_alpha: bool = False,
    tileable: bool = False,
    multi_frame: bool = False,
    counts: str = "",
    suite: str = "",
    checkpoint: str = "",
    project: str | None = None,
    scope: Literal["project", "baseline"] = "project",
) -> Result:
    """Add a word to a catalog; the catalog is made when it is not there.

    Args:
        workspace: Whose catalog.
        kind: What it is.
        word: Its id; of a tag ``group:value``.
        label: Its name for people; made from the id when left out.
        description: What belongs to it.
        tokens: What stands for it in captions and prompts; of a tag one.
        aliases: Other spellings that mean it.
        colors: Colours of a palette, ``#RRGGBB``.
        default_tags: Tags of every new asset of an asset type.
        exclusive: Whether an image may carry one tag of the group only.
        requires_alpha: Whether images of the asset type must be transparent.
        tileable: Whether they must repeat without a seam.
        multi_frame: Whether an asset of it has several frames.
        counts: How many images a LoRA of it needs, ``MINIMUM:FROM-TO``.
        suite: Id of its evaluation suite.
        checkpoint: A base model that alone has the word.
        project: The project.
        scope: ``baseline`` for a word that all projects share.

    Raises:
        ArgumentInvalidError: When the id is none, or something is said that such a word has not.
        RecordExistsError: When the catalog has the word.
        RecordNotFoundError: When the project or the checkpoint does not exist.
        RecordError: When the catalog is not valid.
        LockedError, RecordConflictError, StorageError: As every write.
    """
    place = SHARED if scope == "baseline" else workspace.scope(project)
    new = _new_word(kind, word, label, {
        "description": description, "tokens": tokens, "aliases": aliases, "colors": colors,
        "default_tags": default_tags, "exclusive": exclusive, "requires_alpha": requires_alpha,
        "tileable": tileable, "multi_frame": multi_frame, "counts": counts, "suite": suite,
    })  # fmt: skip
    vocabulary = read_vocabulary(workspace, place, checkpoint)
    now = workspace.now()
    empty = empty_catalog(kind, now)
    name = empty.KIND
    if checkpoint:
        if kind not in _OF_CHECKPOINTS:
            raise ArgumentInvalidError(f"a checkpoint has no {kind}s of its own")
        workspace.records.find(Checkpoint, workspace.visible(place), checkpoint)
        name = f"{checkpoint}/{name}"
    changes = Changes(workspace)
    if workspace.records.exists(type(empty), place, name):
        loaded = workspace.records.read(type(empty), place, name)
        made = with_word(loaded.record, new, vocabulary.groups)
        changes.update(loaded, msgspec.structs.replace(made, updated_at=now))
    else:
        changes.create(with_word(empty, new, vocabulary.groups), place, name)
    return Result(
        data={"kind": kind, "word": word, "scope": place.name, "project": place.project_id,
              "checkpoint": checkpoint},
        reasoning=f"Added {kind.replace('-', ' ')} {word} to the catalogs of {place}",
        warnings=[
            f"default tags: {problem.message}; {problem.fix}"
            for problem in tag_problems(default_tags, vocabulary)
        ],
        suggestions=["lora catalog show"],
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )  # fmt: skip


def _new_word(kind: Kind, word: str, label: str, said: dict[str, Any]) -> NewWord:
    if kind == "tag":
        require_tag(word)
    elif kind == "tag-group":
        require_tag(f"{word}:value")
    else:
        require_slug(word, kind.replace("-", " "))
    given = {name: value for name, value in said.items() if value}
    return NewWord(kind, word, label.strip(), given)


def _words(words: Vocabulary) -> dict[str, Any]:
    return {
        "assetTypes": [one.to_dict() for one in words.asset_types.values()],
        "styles": [one.to_dict() for one in words.styles.values()],
        "scenarios": [one.to_dict() for one in words.scenarios.values()],
        "palettes": [one.to_dict() for one in words.palettes.values()],
        "groups": [one.to_dict() for one in words.groups.values()],
    }
