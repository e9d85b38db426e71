"""Suites, gate policies and presets: the workspace's own file wins over the one that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    RecordInvalidError,
    RecordNotFoundError,
)
from lora_pipeline.foundation.resources import resource
from lora_pipeline.workspace.definitions import (
    FAMILIES,
    definition_ids,
    parse_definition,
    read_definition,
)
from lora_pipeline.workspace.root import Workspace
from tests.support.workspace_builders import make_workspace

SHIPPED = [
    (family, path.stem)
    for family in FAMILIES
    for path in sorted(resource("config", family).glob("*.yaml"))
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False)


@pytest.mark.parametrize(("family", "definition_id"), SHIPPED)
def test_every_definition_that_ships_is_valid(
    family: str, definition_id: str, workspace: Workspace
) -> None:
    found = read_definition(workspace, family, definition_id)

    assert found.document["id"] == definition_id
    assert found.digest.startswith("sha256:")
    assert found.source == f"lora-pipeline/config/{family}/{definition_id}.yaml"


def test_the_own_one_wins_and_both_are_listed(workspace: Workspace) -> None:
    shipped = read_definition(workspace, "gates", "standard")
    folder = workspace.root / "config" / "gates"
    folder.mkdir()
    text = resource("config", "gates", "standard.yaml").read_text(encoding="utf-8")
    (folder / "standard.yaml").write_text(f"{text}\n# ours\n", encoding="utf-8")
    (folder / "strict.yaml").write_text(text.replace("id: standard", "id: strict"))

    own = read_definition(workspace, "gates", "standard")

    assert own.source == "config/gates/standard.yaml"
    assert own.digest == shipped.digest  # comments are no content
    assert {"standard", "strict"} <= set(definition_ids(workspace, "gates"))


def test_one_that_does_not_exist_is_named_with_a_near_one(workspace: Workspace) -> None:
    with pytest.raises(RecordNotFoundError, match="no gate-policy 'standrd'") as near:
        read_definition(workspace, "gates", "standrd")
    with pytest.raises(RecordNotFoundError) as far:
        read_definition(workspace, "gates", "zzz")

    assert near.value.hint == "did you mean standard?"
    assert far.value.hint is not None
    assert "standard" in far.value.hint


def test_an_id_is_a_slug_and_leads_nowhere(workspace: Workspace) -> None:
    (workspace.root / "config" / "x.yaml").write_text("id: x\n")

    with pytest.raises(ArgumentInvalidError, match="must be a slug"):
        read_definition(workspace, "gates", "../x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "must hold names and values"),
        ("id: x\nsummary: y\nunknown: 1\n", "unknown field 'unknown'"),
        ("id: x\nid: x\n", "stands twice"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_what_is_no_policy_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(RecordInvalidError) as caught:
        parse_definition("gates", "x", text.encode(), "config/gates/x.yaml")

    assert message in caught.value.message
    assert caught.value.message.startswith("config/gates/x.yaml")


def test_the_file_name_must_be_the_id() -> None:
    data = resource("config", "gates", "standard.yaml").read_bytes()

    with pytest.raises(RecordInvalidError, match="holds the id 'standard', not its file name"):
        parse_definition("gates", "other", data, "config/gates/other.yaml")
