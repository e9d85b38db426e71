"""A release on a machine that has the records and not the weights: hints, then lora store pull."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.workspace.store import open_store
from tests.support.release_builders import LORA, Studio, active_studio
from tests.support.remote_builders import empty
from tests.support.workspace_builders import invoke


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A studio whose objects are in the remote store alone."""
    found = active_studio(tmp_path / "studio")
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("LORA_STORE_REMOTE", shared.as_uri())
    assert invoke(["store", "push"], found.root).exit_code == 0
    empty(open_store(found.workspace))
    return found


def test_commands_that_lack_the_weights_say_how_to_fetch_them(studio: Studio) -> None:
    for command in (["resolve", LORA], ["release", "verify", LORA, "r1"]):
        answer = invoke([*command, "--json"], studio.root)
        assert answer.exit_code == 1
        assert answer.error["hint"] == f"lora store pull {LORA}/r1"
    assert open_store(studio.workspace).all() == []  # and none fetches by itself


def test_the_weights_of_active_releases_are_fetched_and_nothing_else(studio: Studio) -> None:
    answer = invoke(["store", "pull", "--active", "--json"], studio.root)

    assert answer.exit_code == 0, answer.stdout
    resolved = invoke(["resolve", LORA, "--json"], studio.root)
    assert resolved.exit_code == 0, resolved.stdout
    assert answer.document["data"]["fetched"] == [resolved.document["data"]["sha256"]]
    assert open_store(studio.workspace).all() == answer.document["data"]["fetched"]


def test_a_release_is_fetched_by_its_name(studio: Studio) -> None:
    assert invoke(["store", "pull", f"{LORA}/r1"], studio.root).exit_code == 0
    assert invoke(["release", "verify", LORA, "r1"], studio.root).exit_code == 0

    unknown = invoke(["store", "pull", f"{LORA}/r99", "--json"], studio.root)
    assert (unknown.exit_code, unknown.error["code"]) == (3, "record_not_found")
