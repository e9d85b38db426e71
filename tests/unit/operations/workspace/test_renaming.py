"""Where ids stand, by table: what is rewritten, and what never is."""

from __future__ import annotations

from typing import Any

import pytest

from lora_pipeline.cli.rename import KINDS as OFFERED
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.schemas import load_schema, schema_names
from lora_pipeline.operations.workspace.renaming.config_words import with_word
from lora_pipeline.operations.workspace.renaming.definitions import WordChange
from lora_pipeline.operations.workspace.renaming.references import (
    FAMILIES,
    PATHS,
    PLACES,
    Renaming,
    rewrite,
)

# Properties of schemas that hold ids and are none of ours to rename: machine ids, ids that a
# digest covers, and ids of things that the base format has and we do not.
KEPT = {
    "acknowledgement.id", "acknowledgement.datasetId",
    "acknowledgement.findings[].images[].assetId",
    "asset.id", "asset.specId", "asset.versions[].id", "asset.versions[].primaryVariantId",
    "asset.versions[].variants[].id", "asset-types.id", "asset-types.assetTypes[].id",
    "asset-types.assetTypes[].suiteId", "checkpoint-profile.profileId", "dataset.id",
    "dataset.items[].assetId", "dataset.items[].assetVersionId", "dataset.items[].variantId",
    "dataset.items[].tags[]", "dataset.unconfirmedMerge.undecided[]",
    "dataset.selection.assetIds[]", "evaluation.id", "evaluation.releaseId",
    "evaluation.suiteId", "lora.activeReleaseId", "lora.history[].evidence.evaluationId",
    "lora.releases[].id",
    "lora.releases[].parentReleaseId", "lora.history[].releaseId", "lora.history[].fromReleaseId",
    "palettes.id", "palettes.palettes[].id", "project.gate{}", "review.id",
    "review.evaluationId", "review.loraId", "review.releaseId", "run.id", "run.releaseId",
    "run.datasetId", "scenarios.id", "scenarios.scenarios[].id", "spec.id", "styles.id",
    "styles.styles[].id", "tags.id", "tags.groups[].id", "tags.groups[].tags[].id",
    "withdrawal-answer.id", "withdrawal-answer.loraId", "withdrawal-answer.releaseId",
    "withdrawal-answer.images[].assetId", "waiver.id", "waiver.loraId", "waiver.releaseId",
    "blind-plan.id", "blind-plan.loraId", "blind-plan.releaseId", "blind-plan.evaluationId",
    "blind-plan.against.releaseId", "blind-plan.against.evaluationId", "blind-review.id",
    "blind-review.planId", "blind-review.loraId", "blind-review.releaseId",
    "blind-review.evaluationId", "blind-review.against.releaseId",
    "blind-review.against.evaluationId", "blind-review.pairs[].promptId",
    "expense.id", "expense.releaseId", "expense.evaluationId", "expense.runId",
}  # fmt: skip
RENAMED = {
    f"{kind}.{place}"
    for table in (*PLACES.values(), PATHS)
    for kind, places in table.items()
    for place in places
}
# What is no record of a project: definitions, configuration, and what came from or goes elsewhere.
NO_RECORDS = {"common", "suite", "preset", "gate-policy", "backup", "blind-answers", "passport"}
RECORDS = sorted({name.partition("/")[0] for name in schema_names()} - NO_RECORDS)


def ids_of(schema: dict[str, Any], node: dict[str, Any], path: str) -> list[str]:
    """Return the paths of everything in a schema that is an id or a tag by its definition."""
    reference = node.get("$ref", "")
    if reference.startswith("#/"):
        node = schema["$defs"][reference.rpartition("/")[2]]
    elif reference.rpartition("/")[2] in ("recordId", "ulid", "tag", "tagGroup"):
        return [path]
    elif reference:
        return []
    found = []
    for name, one in node.get("properties", {}).items():
        found += ids_of(schema, one, f"{path}.{name}")
    if "items" in node:
        found += ids_of(schema, node["items"], f"{path}[]")
    return found


@pytest.mark.parametrize("kind", RECORDS)
def test_every_id_of_a_schema_is_renamed_or_kept_on_purpose(kind: str) -> None:
    schema = load_schema(f"{kind}/v1")

    found = set(ids_of(schema, schema, kind))

    assert found - RENAMED - KEPT == set()


def test_the_command_offers_every_family() -> None:
    assert set(OFFERED) == set(FAMILIES)


@pytest.mark.parametrize(
    ("kind", "document", "renaming", "expected"),
    [
        ("spec", {"style": "flat"}, ("style", "flat", "plane"), {"style": "plane"}),
        ("spec", {"style": "flat"}, ("scenario", "flat", "plane"), {"style": "flat"}),
        ("spec", {"tags": ["a:b", "a:c"]}, ("tag", "a:b", "a:c"), {"tags": ["a:c"]}),
        ("spec", {"tags": ["a:c", "x:y", "a:b"]}, ("tag", "a:b", "a:c"), {"tags": ["a:c", "x:y"]}),
        ("spec", {"tags": ["ab:c", "a:c"]}, ("tag-group", "a", "z"), {"tags": ["ab:c", "z:c"]}),
        ("project", {"gate": {"icon": "solo"}}, ("asset-type", "icon", "ui"),
         {"gate": {"ui": "solo"}}),
        ("project", {"gate": {"icon": "solo", "ui": "brand"}}, ("asset-type", "icon", "ui"),
         {"gate": {"ui": "brand"}}),
        ("project", {"policies": {"tagPromptMap": {"m": {"a:b": {"weight": 1}}}}},
         ("tag", "a:b", "a:c"), {"policies": {"tagPromptMap": {"m": {"a:c": {"weight": 1}}}}}),
        ("project", {"policies": {"tagPromptMap": {"m": {}}}}, ("checkpoint", "m", "n"),
         {"policies": {"tagPromptMap": {"n": {}}}}),
        ("dataset",
         {"selection": {"balance": "a"}, "captionRule": {"template": "{tags.a:and} {tags.ab}"}},
         ("tag-group", "a", "z"),
         {"selection": {"balance": "z"}, "captionRule": {"template": "{tags.z:and} {tags.ab}"}}),
        ("dataset", {"items": [{"path": "projects/p/files/x.png"}, {"path": "projects/pp/x.png"}]},
         ("project", "p", "q"),
         {"items": [{"path": "projects/q/files/x.png"}, {"path": "projects/pp/x.png"}]}),
    ],
)  # fmt: skip
def test_references_are_renamed(
    kind: str, document: dict[str, Any], renaming: tuple[Any, str, str], expected: dict[str, Any]
) -> None:
    changed, _ = Renaming(*renaming).rewritten(kind, document)

    assert changed == expected


def test_what_training_saw_is_not_touched() -> None:
    manifest = {
        "contentHash": "sha256:…",
        "items": [{"caption": "flat", "tags": ["style:flat"], "assetId": "flat"}],
    }
    for family in FAMILIES:
        assert Renaming(family, "flat", "plane").rewritten("dataset", manifest) == (manifest, 0)
    assert Renaming("tag", "style:flat", "style:x").rewritten("dataset", manifest) == (manifest, 0)


@pytest.mark.parametrize(
    "kind", ["review", "withdrawal-answer", "blind-plan", "blind-review", "waiver"]
)
def test_verdicts_are_in_no_table(kind: str) -> None:
    assert all(kind not in table for table in PLACES.values())


def test_places_that_are_not_there_change_nothing() -> None:
    document = {"a": 1, "b": {"c": None}}

    assert rewrite(document, ("a[]", "a.b", "b.c", "x.y[]", "b{}"), str.upper) == (
        {"a": 1, "b": {"C": None}},
        1,
    )


CATALOG = {
    "groups": [
        {"id": "style", "label": "Style", "exclusive": True,
         "tags": [{"id": "style:flat", "label": "Flat"}, {"id": "style:neon", "label": "Neon"}]},
        {"id": "look", "label": "Look", "exclusive": False, "tags": []},
    ]
}  # fmt: skip


def tags_of(catalog: dict[str, Any]) -> list[str]:
    return [tag["id"] for group in catalog["groups"] for tag in group["tags"]]


def test_a_tag_moves_to_another_group() -> None:
    changed = WordChange("tag", "style:flat", "look:flat").applied(CATALOG)

    assert [len(group["tags"]) for group in changed["groups"]] == [1, 1]
    assert changed["groups"][1]["tags"] == [{"id": "look:flat", "label": "Flat"}]


def test_a_tag_does_not_move_to_a_group_that_nobody_knows() -> None:
    with pytest.raises(ArgumentInvalidError, match="no tag group lok") as caught:
        WordChange("tag", "style:flat", "lok:flat", groups={}).applied(CATALOG)

    assert caught.value.hint == "lora catalog add tag-group lok"


def test_a_merged_tag_leaves_its_spelling_when_asked() -> None:
    change = WordChange("tag", "style:flat", "style:neon", merge=True, keep_alias=True)

    changed = change.applied(CATALOG)

    assert tags_of(changed) == ["style:neon"]
    assert changed["groups"][0]["tags"][0]["aliases"] == ["style:flat"]


def test_a_group_takes_its_tags_along() -> None:
    changed = WordChange("tag-group", "style", "look2").applied(CATALOG)

    assert changed["groups"][0]["id"] == "look2"
    assert tags_of(changed) == ["look2:flat", "look2:neon"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("assetTypes: [a, b]  # a stays here\n", "assetTypes: [z, b]  # a stays here\n"),
        ("assetTypes:\n  - a\n  - ab\nsummary: a\n", "assetTypes:\n  - z\n  - ab\nsummary: a\n"),
        ('assetTypes: ["a"]\nid: a\n', 'assetTypes: ["z"]\nid: a\n'),
        ("assetTypes: [\n  b,\n  a,\n]\nx: a\n", "assetTypes: [\n  b,\n  z,\n]\nx: a\n"),
    ],
)
def test_comments_and_other_lines_stay_when_a_word_of_a_list_is_renamed(
    text: str, expected: str
) -> None:
    assert with_word(text, "assetTypes", "a", "z") == expected
