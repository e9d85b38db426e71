"""Which records have an older form, and what becomes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.schemas import violations_of
from lora_pipeline.operations.workspace.migrations.registry import NEVER, Migration
from lora_pipeline.operations.workspace.migrations.steps import Facts
from lora_pipeline.workspace.documents import Document, documents
from lora_pipeline.workspace.root import Workspace

_NAMING = "named-schema"
_STILL_READ = (b"captionStrategy", b"includePromptTokens", b"localPath")


class Migrated(msgspec.Struct, frozen=True):
    """A record with its present form.

    Attributes:
        document: As it stands.
        content: As it will be.
        migrations: What was done to it.
    """

    document: Document
    content: dict[str, Any]
    migrations: tuple[str, ...]


class Stuck(msgspec.Struct, frozen=True):
    """A record of an older form that no migration brings to the present one.

    Attributes:
        where: Its file.
        reason: What it lacks.
        fix: The command that makes it anew, or empty.
    """

    where: str
    reason: str
    fix: str


@dataclass
class MigrationPlan:
    """What migrations do to the records of a workspace.

    Attributes:
        migrated: Records that change.
        stuck: Records of an older form that stay as they are.
        checked: How many records were looked at.
    """

    migrated: list[Migrated] = field(default_factory=list)
    stuck: list[Stuck] = field(default_factory=list)
    checked: int = 0

    @property
    def counts(self) -> Counter[str]:
        """How many records each migration changes."""
        return Counter(name for one in self.migrated for name in one.migrations)


def plan_migrations(workspace: Workspace, chosen: Sequence[Migration]) -> MigrationPlan:
    """Return what the chosen migrations do; nothing is written.

    A record that is no JSON at all is left to ``lora validate``.
    """
    plan = MigrationPlan()
    found = []
    for document in documents(workspace):
        plan.checked += 1
        if _may_be_older(document) and (content := _content(document)) is not None:
            found.append((document, content))
    facts = _facts(content for document, content in found if document.place.kind == "tags")
    for document, content in found:
        if document.place.kind not in NEVER:
            _look_at(plan, workspace, document, content, chosen, facts)
    return plan


def _may_be_older(document: Document) -> bool:
    """Tell without parsing: what names its schema was written in the present form.

    But for the fields that are still read there, and catalogs, which say how tags are grouped.
    """
    data = document.data
    return (
        b'"schema"' not in data
        or any(field in data for field in _STILL_READ)
        or document.place.kind == "tags"
    )


def _look_at(
    plan: MigrationPlan,
    workspace: Workspace,
    document: Document,
    content: dict[str, Any],
    chosen: Sequence[Migration],
    facts: Facts,
) -> None:
    kind = document.place.kind
    present, done = content, []
    for migration in chosen:
        step = migration.steps.get(kind)
        if step is None:
            continue
        changed = step(present, facts)
        if changed == present:
            continue
        if migration.id == _NAMING and (lacking := violations_of(changed, f"{kind}/v1")):
            where = workspace.relative(document.path)
            plan.stuck.append(Stuck(where, str(lacking[0]), _way_out(kind, document)))
            continue
        present = changed
        done.append(migration.id)
    if not done:
        return
    broken = violations_of(present, f"{kind}/v1")
    if broken:
        where = workspace.relative(document.path)
        plan.stuck.append(Stuck(where, str(broken[0]), "lora validate"))
    else:
        plan.migrated.append(Migrated(document, present, tuple(done)))


def _way_out(kind: str, document: Document) -> str:
    record_id = document.place.record_id
    return {
        "dataset": f"lora dataset build {record_id}",
        "checkpoint": f"lora checkpoint add {record_id} --path PATH, in place of this record",
    }.get(kind, "lora validate")


def _content(document: Document) -> dict[str, Any] | None:
    try:
        content = strict_json.loads(document.data, document.path.name)
    except PipelineError:
        return None
    return content if isinstance(content, dict) else None


def _facts(catalogs: Any) -> Facts:
    groups: dict[str, str] = {}
    for catalog in catalogs:
        listed = catalog.get("groups")
        for group in listed if isinstance(listed, list) else ():
            tags = group.get("tags", ()) if isinstance(group, dict) else ()
            for tag in tags:
                if (
                    isinstance(tag, dict)
                    and isinstance(tag.get("id"), str)
                    and ":" not in tag["id"]
                ):
                    groups.setdefault(tag["id"], str(group.get("id")))
    return Facts(groups)
