"""The workspace is found from below, and says who acts and in which project."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    RecordNotFoundError,
    SettingsError,
    WorkspaceNotFoundError,
)
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import (
    Workspace,
    find_root,
    is_root,
    open_workspace,
    utc_now,
)
from tests.support.workspace_builders import ACTOR, add_project, git, make_workspace, reopen


@pytest.mark.parametrize("mark", ["config/pipeline.yaml", "data/projects/", "data/shared/"])
def test_a_workspace_is_known_by_its_settings_or_its_records(mark: str, tmp_path: Path) -> None:
    assert not is_root(tmp_path)
    path = tmp_path / mark
    if mark.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.touch()

    assert is_root(tmp_path)


def test_it_is_found_from_any_folder_below(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)
    below = tmp_path / "data" / "projects" / "x"
    below.mkdir(parents=True)

    assert find_root(below) == tmp_path
    assert find_root(tmp_path) == tmp_path


def test_without_one_the_hint_is_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceNotFoundError, match="no workspace at ") as caught:
        find_root(tmp_path)

    assert str(tmp_path) in caught.value.message
    assert caught.value.hint == "lora init"


def test_the_data_may_stand_elsewhere_below(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)
    (tmp_path / "config" / "pipeline.yaml").write_text("dataRoot: art/records\n")

    assert open_workspace(tmp_path).data_root == tmp_path / "art" / "records"


# --- who ---------------------------------------------------------------------------------------


def test_who_acts_is_named_on_the_call_or_set_or_known_to_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, actor=None)
    git(tmp_path, "config", "user.email", "git@studio")
    assert workspace.require_actor() == "git@studio"

    monkeypatch.setenv("LORA_IDENTITY", "set@studio")
    assert reopen(tmp_path, actor=None).require_actor() == "set@studio"
    assert reopen(tmp_path, actor=ACTOR).require_actor() == ACTOR


def test_when_nobody_is_known_to_act_the_hint_says_how_to_be(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False, actor=None)

    with pytest.raises(SettingsError, match="nobody is known to act here") as caught:
        workspace.require_actor()

    assert caught.value.hint == "git config user.email you@studio, or set LORA_IDENTITY"


# --- which project -----------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False)


def test_without_a_project_the_hint_is_to_create_one(workspace: Workspace) -> None:
    with pytest.raises(ArgumentInvalidError, match="there is no project yet") as caught:
        workspace.scope()

    assert caught.value.hint == "lora project create ID"


def test_the_only_project_is_meant(workspace: Workspace) -> None:
    add_project(workspace, "neon_city")

    assert workspace.scope() == Scope("neon_city")


def test_of_several_one_must_be_named(workspace: Workspace) -> None:
    for project in ("a", "b", "c"):
        add_project(workspace, project)

    with pytest.raises(ArgumentInvalidError, match=r"which project\?") as caught:
        workspace.scope()

    assert caught.value.hint == "--project a (or b, c)"
    assert workspace.scope("b") == Scope("b")
    assert reopen(workspace.root, project="c").scope() == Scope("c")
    assert reopen(workspace.root, project="c").scope("a") == Scope("a")


def test_the_project_may_be_set(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    add_project(workspace, "a")
    add_project(workspace, "b")
    monkeypatch.setenv("LORA_PROJECT", "b")

    assert reopen(workspace.root).scope() == Scope("b")


def test_a_project_that_does_not_exist_is_named_with_a_near_one(workspace: Workspace) -> None:
    add_project(workspace, "neon_city")

    with pytest.raises(RecordNotFoundError, match="no project 'neon_cty'") as near:
        workspace.scope("neon_cty")
    with pytest.raises(RecordNotFoundError) as far:
        workspace.scope("zzz")

    assert near.value.hint == "did you mean neon_city?"
    assert far.value.hint == "lora project create zzz"


def test_a_project_that_is_no_slug_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ArgumentInvalidError, match="project must be a slug"):
        workspace.scope("../../etc")


def test_what_a_project_names_may_stand_in_it_or_shared(workspace: Workspace) -> None:
    assert workspace.visible(Scope("a")) == [Scope("a"), SHARED]
    assert workspace.visible(SHARED) == [SHARED]


# --- small things ------------------------------------------------------------------------------


def test_times_are_utc_in_whole_seconds(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)
    zone = timezone(timedelta(hours=9))
    clock = datetime(2026, 1, 1, 3, 4, 5, 678901, tzinfo=zone)
    workspace = Workspace(tmp_path, open_workspace(tmp_path).settings, clock=lambda: clock)

    assert workspace.now() == "2025-12-31T18:04:05Z"
    assert utc_now().tzinfo is UTC


def test_paths_are_shown_as_people_read_them(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.relative(tmp_path / "data" / "a b.json") == "data/a b.json"
    assert workspace.relative(Path("/elsewhere/x")) == "/elsewhere/x"
