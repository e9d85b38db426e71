"""Give a word or a record another id, everywhere at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    RecordExistsError,
    RecordNotFoundError,
)
from lora_pipeline.foundation.ids import did_you_mean, require_slug, require_tag
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.workspace.renaming.config_words import (
    add_config_edits,
    definitions_naming,
)
from lora_pipeline.operations.workspace.renaming.obstacles import Obstacle
from lora_pipeline.operations.workspace.renaming.plan import RenamingPlan
from lora_pipeline.operations.workspace.renaming.references import WORDS, Family, Renaming
from lora_pipeline.operations.workspace.validation.kinds import KINDS
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope, project_scope
from lora_pipeline.workspace.root import Workspace

_SHOWN = 5
_MERGEABLE = WORDS - {"tag-group"}


def rename_id(
    workspace: Workspace,
    kind: Family,
    old: str,
    new: str,
    *,
    merge: bool = False,
    keep_alias: bool = False,
    project: str | None = None,
    scope: Literal["project", "baseline"] = "project",
) -> Result:
    """Rename an id and rewrite every reference to it, all or nothing.

    What a verdict, a grid or a history binds is never rewritten: then the answer is no. Captions
    and tags of manifests stay as they were built; their rules follow the new id.

    Args:
        workspace: Whose records.
        kind: What it is the id of.
        old: The id.
        new: The id that it becomes.
        merge: Whether ``new`` may be there already: then both become one word.
        keep_alias: Whether the old spelling still means the word, at imports for example.
        project: The project that defines it.
        scope: ``baseline`` for what all projects share: then every project is rewritten.

    Raises:
        ArgumentInvalidError: When the new id is none, or is the old one.
        RecordNotFoundError: When nothing has the old id; names a near one.
        RecordExistsError: When the new id is taken.
        RecordError: When a record that is concerned is not valid.
        LockedError, RecordConflictError, StateError, StorageError: As every write.
    """
    _require_new_id(kind, old, new, merge=merge)
    renaming = Renaming(kind, old, new)
    place = _place(workspace, renaming, project, scope)
    plan = RenamingPlan(workspace, renaming, place, merge=merge, keep_alias=keep_alias)
    undefined = _require_known(plan)
    plan.merge = merge or undefined
    plan.make()
    if plan.obstacles:
        return _bound(plan)
    if undefined and not plan.rewritten:
        raise _unknown(plan)
    clashes = _clashes(plan)
    if clashes:
        return _clashing(plan, clashes)
    changes = Changes(workspace)
    _add(changes, plan)
    edited = add_config_edits(changes, renaming, _untouched(plan))
    return _done(plan, edited, changes.apply_together(str(renaming)))


def _require_new_id(kind: Family, old: str, new: str, *, merge: bool) -> None:
    if kind == "tag":
        require_tag(new)
    elif kind == "tag-group":
        require_tag(f"{new}:value")
    else:
        require_slug(new, kind.replace("-", " "))
    if old == new:
        raise ArgumentInvalidError(f"{old} is {new} already")
    if merge and kind not in _MERGEABLE:
        raise ArgumentInvalidError(
            f"two {kind.replace('-', ' ')}s are not merged: each has records of its own",
            hint="leave --merge out and choose an id that is free",
        )


def _place(workspace: Workspace, renaming: Renaming, project: str | None, scope: str) -> Scope:
    if renaming.family == "project":
        return workspace.scope(renaming.old)
    return SHARED if scope == "baseline" else workspace.scope(project)


def _require_known(plan: RenamingPlan) -> bool:
    """Check both ids; return whether the old one is used without being defined anywhere."""
    renaming, defined = plan.renaming, plan.defined
    taken = [place for place in defined.get(renaming.new, []) if plan.scope in (place, SHARED)
             or place == SHARED]  # fmt: skip
    if plan.scope in defined.get(renaming.old, []):
        if taken and not plan.merge:
            hint = "choose another id"
            if renaming.family in _MERGEABLE:
                hint += ", or --merge makes both one word"
            raise RecordExistsError(
                f"{_words(renaming)} {renaming.new} is there already, in {taken[0]}", hint=hint
            )
        if plan.merge and not taken:
            raise RecordNotFoundError(
                f"no {_words(renaming)} {renaming.new!r} to merge {renaming.old} into",
                hint="leave --merge out",
            )
        return False
    if renaming.old in defined or renaming.family not in WORDS or not taken:
        raise _unknown(plan)
    return True


def _unknown(plan: RenamingPlan) -> RecordNotFoundError:
    renaming, defined = plan.renaming, plan.defined
    elsewhere = defined.get(renaming.old, [])
    if SHARED in elsewhere:
        hint: str | None = "it is shared by all projects: --scope baseline"
    elif elsewhere:
        hint = f"--project {elsewhere[0].project_id}"
    else:
        known = [word for word, places in defined.items() if {plan.scope, SHARED} & set(places)]
        near = did_you_mean(renaming.old, known)
        hint = f"did you mean {near}?" if near else None
        if not hint and known:
            hint = "there are: " + ", ".join(sorted(known)[:8])
    return RecordNotFoundError(f"no {_words(renaming)} {renaming.old!r} in {plan.scope}", hint=hint)


def _words(renaming: Renaming) -> str:
    return {"lora": "LoRA"}.get(renaming.family, renaming.family.replace("-", " "))


def _clashes(plan: RenamingPlan) -> list[str]:
    """Return the records that would carry two tags that exclude each other."""
    if plan.renaming.family not in ("tag", "tag-group", "asset-type"):
        return []
    groups = {
        group["id"]
        for one in plan.rewritten
        if one.document.place.kind == "tags"
        for group in one.content["groups"]
        if group["exclusive"]
    }
    vocabulary = read_vocabulary(plan.workspace, plan.scope)
    groups |= {group.id for group in vocabulary.groups.values() if group.exclusive}
    found = []
    for one in plan.rewritten:
        for tags in _tag_lists(one.document.place.kind, one.content):
            for group in groups:
                twins = [tag for tag in tags if tag.partition(":")[0] == group]
                if len(twins) > 1:
                    where = plan.workspace.relative(one.document.path)
                    found.append(f"{where}: {' and '.join(twins)}")
    return found


def _tag_lists(kind: str, content: dict[str, Any]) -> list[list[str]]:
    if kind == "spec":
        return [content.get("tags", [])]
    if kind == "asset":
        return [
            variant.get("tags", [])
            for version in content["versions"]
            for variant in version["variants"]
        ]
    return []


def _add(changes: Changes, plan: RenamingPlan) -> None:
    workspace = plan.workspace
    if plan.renaming.family == "project":
        new_scope = project_scope(plan.renaming.new)
        changes.move_folder(
            workspace.data_root / plan.scope.folder, workspace.data_root / new_scope.folder
        )
    for one in plan.rewritten:
        document, target = one.document, workspace.data_root / one.path
        kind = KINDS[document.place.kind]
        if target == document.path:
            changes.rewrite(kind, target, one.content, based_on=document.digest)
        elif plan.renaming.family == "project":
            changes.rewrite(
                kind, target, one.content, based_on=document.digest, stands_at=document.path
            )
        else:
            changes.rewrite(kind, target, one.content, based_on=None)
            changes.remove_document(document.path, based_on=document.digest)


def _untouched(plan: RenamingPlan) -> list[str]:
    """Return the definitions that others need as they are: other projects, or their grids."""
    if plan.renaming.family != "asset-type":
        return []
    naming = definitions_naming(plan.workspace, plan.renaming, own=True)
    if plan.known_elsewhere and plan.scope != SHARED:
        return naming
    bound = {f"config/suites/{suite_id}.yaml" for suite_id in plan.bound_suites}
    return [source for source in naming if source in bound]


def _bound(plan: RenamingPlan) -> Result:
    renaming, found = plan.renaming, plan.obstacles
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    hint = (
        "wait for it, or lora run cancel"
        if first.code == "run_under_way"
        else "ids stay for good once a verdict, a grid or a history names them; change the label"
    )
    return Result(
        data={**_facts(plan), "boundBy": [_obstacle(plan, one) for one in found]},
        reasoning=f"{renaming.old} is bound by {len(found)} records",
        dry_run=plan.workspace.dry_run,
        refusal=Refusal(
            "rename_bound",
            f"{_words(renaming)} {renaming.old} keeps its id: {first.reason}{more}",
            hint,
        ),
    )


def _obstacle(plan: RenamingPlan, one: Obstacle) -> dict[str, str]:
    where = plan.workspace.relative(one.document.path)
    return {"code": one.code, "where": where, "reason": one.reason}


def _clashing(plan: RenamingPlan, clashes: Sequence[str]) -> Result:
    return Result(
        data={**_facts(plan), "clashes": list(clashes)},
        reasoning=f"{len(clashes)} images would carry tags that exclude each other",
        dry_run=plan.workspace.dry_run,
        refusal=Refusal(
            "tags_exclusive",
            f"{len(clashes)} images would carry tags that exclude each other, the first in "
            f"{clashes[0]}",
            f"lora asset tag ID --remove {plan.renaming.old}",
        ),
    )


def _facts(plan: RenamingPlan) -> dict[str, Any]:
    renaming = plan.renaming
    return {"kind": renaming.family, "from": renaming.old, "to": renaming.new,
            "scope": plan.scope.name, "project": plan.scope.project_id}  # fmt: skip


def _done(plan: RenamingPlan, edited: Sequence[str], written: Sequence[str]) -> Result:
    workspace, renaming = plan.workspace, plan.renaming
    changed = [
        {
            "kind": one.document.place.kind,
            "path": workspace.relative(workspace.data_root / one.path),
            "references": one.places,
        }
        for one in plan.rewritten
    ]
    kinds = Counter(one["kind"] for one in changed)
    return Result(
        data={
            **_facts(plan),
            "records": dict(sorted(kinds.items())),
            "changed": changed,
            "config": list(edited),
            "keptItems": plan.kept_items,
        },
        reasoning=f"Renamed {_words(renaming)} {renaming.old} to {renaming.new} in "
        f"{len(changed)} records",
        warnings=_warnings(plan),
        suggestions=["lora validate"],
        written=written,
        dry_run=workspace.dry_run,
    )


def _warnings(plan: RenamingPlan) -> list[str]:
    renaming, warnings = plan.renaming, []
    if plan.kept_items:
        names = [path.rpartition("/")[2].removesuffix(".json") for path in plan.kept_items]
        warnings.append(
            f"{sum(plan.kept_items.values())} items of {', '.join(names[:_SHOWN])} keep the old "
            "tag: a manifest is what was built; lora dataset build ID takes the new one, and its "
            "content hash is then another"
        )
    twin = f"{renaming.family}:{renaming.old}"
    if (
        renaming.family in ("style", "scenario")
        and twin in read_vocabulary(plan.workspace, plan.scope).tags
    ):
        warnings.append(
            f"the tag {twin} is another word and stays; lora rename tag {twin} "
            f"{renaming.family}:{renaming.new}"
        )
    kept = _untouched(plan)
    if kept:
        warnings.append(
            f"{', '.join(kept)} stay as they are, because others use them; write a definition that "
            f"names {renaming.new}"
        )
    shipped = (
        definitions_naming(plan.workspace, renaming, own=False)
        if renaming.family == "asset-type"
        else []
    )
    if shipped:
        shipped_names = ", ".join(source.partition("config/")[2] for source in shipped)
        warnings.append(
            f"{shipped_names} ship with the program and say "
            f"{renaming.old}; a copy below config/ can say {renaming.new}"
        )
    return warnings
