"""Whoever meets an unresolved merge is told the commands that end it."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation.errors import MergeConflictError
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.merge_advice import advised, place_in, way_out


@pytest.mark.parametrize(
    "path",
    [
        "data/projects/neon/datasets/icons.json",
        "loras/data/projects/neon/datasets/icons.json",
        "projects/projects/neon/datasets/icons.json",
        "projects/neon/datasets/icons.json",
    ],
)
def test_a_record_is_known_wherever_the_workspace_lies_in_the_repository(path: str) -> None:
    place = place_in(path)

    assert place is not None
    assert (place.kind, place.scope, place.record_id) == ("dataset", Scope("neon"), "icons")


@pytest.mark.parametrize("path", ["README.md", "data/shared/notes.json", "icons.json at HEAD"])
def test_other_files_are_no_records(path: str) -> None:
    assert place_in(path) is None
    assert way_out(path) is None


def test_each_kind_has_its_own_way_out() -> None:
    manifest = way_out("data/projects/neon/datasets/icons.json") or ""
    shared = way_out("my data/shared/datasets/icons.json") or ""
    lora = way_out("data/projects/neon/loras/icons.json") or ""
    asset = way_out("data/projects/neon/assets/A.json") or ""

    assert "lora dataset build icons --project neon" in manifest
    assert "lora dataset build icons --scope baseline" in shared
    assert "-- 'my data/shared/datasets/icons.json'" in shared
    assert "history of one side whole" in lora
    assert "lora validate" in asset


def test_what_is_no_record_keeps_its_own_hint() -> None:
    error = MergeConflictError("config/gates/a.yaml holds an unresolved merge", hint="resolve it")

    assert advised(error, "config/gates/a.yaml") is error
