"""Every migration by name, in the order in which they are done."""

from __future__ import annotations

import msgspec

from lora_pipeline.operations.workspace.migrations.steps import (
    Step,
    captions_into_rule,
    local_path_into_weights,
    named_schema,
    namespaced_tags,
    plain_digests,
)
from lora_pipeline.operations.workspace.validation.kinds import KINDS

# What nobody may rewrite, not even for the better: Git tells by their bytes that they were not.
NEVER = frozenset({"review", "withdrawal-answer", "blind-plan", "blind-review", "waiver"})


class Migration(msgspec.Struct, frozen=True):
    """One step from an older form towards the present one.

    Attributes:
        id: Its name.
        summary: What it does, in a line.
        steps: What it does to a document, by kind of record.
    """

    id: str
    summary: str
    steps: dict[str, Step]


def _for(step: Step, *kinds: str) -> dict[str, Step]:
    return dict.fromkeys(kinds, step)


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "plain-digests",
        "Digests of files are 64 lower-case digits",
        _for(plain_digests, "dataset", "lora", "checkpoint"),
    ),
    Migration(
        "namespaced-tags",
        "Tags are group:value, by the group that the catalog has them in",
        _for(namespaced_tags, "tags", "asset-types", "project", "spec", "asset", "dataset"),
    ),
    Migration(
        "captions-into-rule",
        "Caption settings of a manifest stand in its caption rule",
        _for(captions_into_rule, "dataset"),
    ),
    Migration(
        "local-path-into-weights",
        "localPath becomes a reference to weights that says its kind",
        _for(local_path_into_weights, "lora", "checkpoint"),
    ),
    Migration(
        "named-schema",
        "Records name their schema",
        {kind: named_schema(kind) for kind in KINDS if kind not in NEVER},
    ),
)
