from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.imports.plan import Words
from lora_pipeline.catalog.new_words import add_words, label_of
from lora_pipeline.catalog.records import Scenarios, Styles, Tags
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_catalogs
from tests.support.workspace_builders import make_workspace, tree_digest

SCOPE = Scope("neon_city")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, project="neon_city", git=False)


def add(workspace: Workspace, words: Words) -> None:
    changes = Changes(workspace)
    add_words(changes, SCOPE, words)
    changes.apply()


def test_catalogs_that_are_missing_are_made(workspace: Workspace) -> None:
    add(workspace, Words(tags=("shape:round_square",), styles=("oil",), scenarios=("sea",)))

    tags = workspace.records.read(Tags, SCOPE, "tags").record
    assert [(group.id, group.exclusive) for group in tags.groups] == [("shape", False)]
    assert [(tag.id, tag.label) for tag in tags.groups[0].tags] == [
        ("shape:round_square", "Round square")
    ]
    assert workspace.records.read(Styles, SCOPE, "styles").record.styles[0].id == "oil"
    assert workspace.records.read(Scenarios, SCOPE, "scenarios").record.scenarios[0].id == "sea"


def test_new_tags_join_their_group_and_the_rest_stays(workspace: Workspace) -> None:
    add_catalogs(workspace, "neon_city")
    before = workspace.records.read(Tags, SCOPE, "tags").record

    add(workspace, Words(tags=("style:oil", "size:large")))

    after = workspace.records.read(Tags, SCOPE, "tags").record
    assert after.groups[0].exclusive
    assert after.groups[0].tags[:-1] == before.groups[0].tags
    assert after.groups[0].tags[-1].id == "style:oil"
    assert [group.id for group in after.groups] == [
        *(group.id for group in before.groups), "size",
    ]  # fmt: skip


def test_no_words_write_nothing(workspace: Workspace, tmp_path: Path) -> None:
    before = tree_digest(tmp_path)

    add(workspace, Words())

    assert tree_digest(tmp_path) == before


def test_label_is_made_from_the_word() -> None:
    assert label_of("round_square-ish") == "Round square ish"
