"""Git is told exactly what is meant, and says why when it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import RepositoryError
from lora_pipeline.workspace.git import commit as git_commit
from lora_pipeline.workspace.git import repository as git
from tests.support.workspace_builders import ACTOR, commit_all, make_repository
from tests.support.workspace_builders import git as run_git

HOSTILE_NAMES = [
    "-x", "--help", "-", "a b", "a'b", 'a"b', "a\nb", "a\tb", "$(touch pwned)", ";touch pwned",
    "*", "[ab]", ":(top)x", ":!x", "!x", "#x", "@{0}", "é", "猫.json", "\\x", "a\\nb",
]  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    make_repository(folder)
    return folder


def committed(folder: Path, revision: str = "HEAD") -> list[str]:
    listed = run_git(
        folder, "diff-tree", "--no-commit-id", "--name-only", "-r", "-z", "--root", revision
    )
    return sorted(filter(None, listed.split("\0")))


# --- commit ------------------------------------------------------------------------------------


def test_a_commit_holds_exactly_the_paths_that_were_named(repository: Path) -> None:
    for name in ("a.json", "b.json", "staged.json"):
        (repository / name).write_text("1")
    run_git(repository, "add", "staged.json")

    commit = git_commit.commit(repository, [repository / "a.json"], "Add a")

    assert commit == git.head(repository)
    assert committed(repository) == ["a.json"]
    assert run_git(repository, "diff", "--cached", "--name-only").split() == ["staged.json"]
    assert run_git(repository, "log", "-1", "--format=%s by %ae").strip() == f"Add a by {ACTOR}"


def test_nothing_changed_is_no_commit(repository: Path) -> None:
    (repository / "a.json").write_text("1")
    first = git_commit.commit(repository, [repository / "a.json"], "Add a")

    assert git_commit.commit(repository, [repository / "a.json"], "Add a again") is None
    assert git_commit.commit(repository, [], "Nothing") is None
    assert git.head(repository) == first


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_a_name(name: str, repository: Path) -> None:
    (repository / name).write_text("1")
    (repository / "other").write_text("1")
    (repository / "a").write_text("1")

    assert git_commit.commit(repository, [repository / name], name) is not None

    assert committed(repository) == [name]
    assert not (repository / "pwned").exists()


def test_names_that_are_no_utf8_are_committed(repository: Path) -> None:
    path = Path(str(repository) + "/caf\udce9")
    path.write_text("1")

    assert git_commit.commit(repository, [path], "Add") is not None
    assert run_git(repository, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "message", ["-m", "--amend", "line\nline", "# not a comment", "猫", "a\0b"]
)
def test_a_hostile_message_is_a_message(message: str, repository: Path) -> None:
    (repository / "a").write_text("1")

    git_commit.commit(repository, [repository / "a"], message)

    assert run_git(repository, "log", "-1", "--format=%B").strip() == message.replace("\0", "")


def test_ten_thousand_paths_are_one_commit(repository: Path) -> None:
    # More than a command line holds.
    folder = repository / ("long-name-" * 20)
    folder.mkdir()
    paths = [folder / f"{number:05}-{'x' * 150}" for number in range(10_000)]
    for path in paths:
        path.touch()

    assert git_commit.commit(repository, paths, "Add many") is not None
    assert len(committed(repository)) == 10_000


def test_a_folder_is_committed_with_what_is_in_it(repository: Path) -> None:
    (repository / ".gitignore").write_text("ignored\n")
    for name in ("in/a", "in/[b]", "in/ignored", "out"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("1")

    git_commit.commit(repository, [repository / "in", repository / "out"], "Add")

    assert committed(repository) == ["in/[b]", "in/a", "out"]


def test_after_a_commit_nothing_is_left_to_commit_and_no_index_of_ours(repository: Path) -> None:
    (repository / "a").write_text("1")
    commit_all(repository, "Start")
    (repository / "a").write_text("2")
    (repository / "b").write_text("1")

    git_commit.commit(repository, [repository / "a", repository / "b"], "Change")

    assert run_git(repository, "status", "--porcelain") == ""
    assert not [path for path in (repository / ".git").iterdir() if "lora" in path.name]


def test_a_removed_file_is_committed_as_removed(repository: Path) -> None:
    (repository / "a").write_text("1")
    git_commit.commit(repository, [repository / "a"], "Add")
    (repository / "a").unlink()

    assert git_commit.commit(repository, [repository / "a"], "Remove") is not None
    assert run_git(repository, "ls-files").split() == []


def test_what_never_was_there_and_what_is_ignored_is_left_out(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.safetensors\n")
    (repository / "w.safetensors").write_text("1")
    (repository / "a").write_text("1")
    paths = [repository / name for name in ("a", "gone", "w.safetensors")]

    assert git_commit.commit(repository, paths, "Add") is not None
    assert committed(repository) == ["a"]
    assert git_commit.commit(repository, paths[1:], "Nothing") is None


def test_a_folder_below_the_repository_commits_its_own_paths(repository: Path) -> None:
    workspace = repository / "art" / "loras"
    workspace.mkdir(parents=True)
    (workspace / "a").write_text("1")
    (repository / "b").write_text("1")

    git_commit.commit(workspace, [workspace / "a"], "Add")

    assert committed(repository) == ["art/loras/a"]


def test_without_an_identity_the_hint_says_how_to_get_one(repository: Path) -> None:
    run_git(repository, "config", "user.email", "")
    run_git(repository, "config", "user.name", "")
    run_git(repository, "config", "user.useConfigOnly", "true")
    (repository / "a").write_text("1")

    with pytest.raises(RepositoryError, match="git commit failed: fatal: ") as caught:
        git_commit.commit(repository, [repository / "a"], "Add")

    assert caught.value.hint is not None
    assert "git config user.email" in caught.value.hint
    assert git.head(repository) is None


def test_outside_of_a_repository_nothing_is_committed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")

    with pytest.raises(RepositoryError, match="not a git repository"):
        git_commit.commit(tmp_path, [tmp_path / "a"], "Add")


def test_in_the_middle_of_a_merge_git_says_no(repository: Path) -> None:
    (repository / "a").write_text("base\n")
    commit_all(repository, "base")
    run_git(repository, "checkout", "--quiet", "-b", "other")
    (repository / "a").write_text("other\n")
    commit_all(repository, "other")
    run_git(repository, "checkout", "--quiet", "main")
    (repository / "a").write_text("main\n")
    commit_all(repository, "main")
    with pytest.raises(AssertionError):
        run_git(repository, "merge", "other")
    (repository / "b").write_text("1")

    with pytest.raises(RepositoryError, match="a merge is under way"):
        git_commit.commit(repository, [repository / "b"], "Add")


def test_a_hook_that_refuses_is_heard(repository: Path) -> None:
    hook = repository / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'warning: first' >&2\necho 'error: no weights' >&2\nexit 1\n")
    hook.chmod(0o755)
    (repository / "a").write_text("1")

    with pytest.raises(RepositoryError, match="git commit failed: error: no weights"):
        git_commit.commit(repository, [repository / "a"], "Add")


def test_variables_of_a_hook_do_not_lead_git_elsewhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_repository(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    (repository / "a").write_text("1")

    git_commit.commit(repository, [repository / "a"], "Add")

    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_WORK_TREE")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert committed(repository) == ["a"]
    assert git.head(other) is None


# --- asking ------------------------------------------------------------------------------------


def test_the_root_is_found_from_below_and_not_from_outside(
    repository: Path, tmp_path: Path
) -> None:
    below = repository / "a b" / "c\nd"
    below.mkdir(parents=True)

    assert git.repository_root(below) == repository
    assert git.repository_root(tmp_path) is None
    assert git.repository_root(tmp_path / "gone") is None
    assert git.repository_root(repository / ".git") is None


def test_a_root_whose_name_ends_in_white_space_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "odd \n"
    folder.mkdir()
    make_repository(folder)

    assert git.repository_root(folder) == folder


def test_without_a_commit_there_is_no_head(repository: Path) -> None:
    assert git.head(repository) is None
    assert git.head_time(repository) is None
    (repository / "a").write_text("1")
    commit_all(repository, "Add")
    assert len(git.head(repository) or "") == 40
    assert (git.head_time(repository) or 0) > 0


def test_a_file_is_read_as_it_was_byte_for_byte(repository: Path) -> None:
    run_git(repository, "config", "core.autocrlf", "false")
    (repository / "a b").write_bytes(b"\xff\x00\r\n")
    commit_all(repository, "Add")
    (repository / "a b").write_bytes(b"new")

    assert git.file_at(repository, "HEAD", repository / "a b") == b"\xff\x00\r\n"
    assert git.file_at(repository, "HEAD", repository / "other") is None


@pytest.mark.parametrize("revision", ["-x", "--help", "nothing", "", "HEAD;id", "a..b", "HEAD:a"])
def test_a_revision_that_is_none_is_refused(revision: str, repository: Path) -> None:
    (repository / "a").write_text("1")
    commit_all(repository, "Add")

    with pytest.raises(RepositoryError, match="no revision"):
        git.file_at(repository, revision, repository / "a")


def test_a_branch_with_a_hostile_name_is_a_revision(repository: Path) -> None:
    (repository / "a").write_text("1")
    commit_all(repository, "Add")
    run_git(repository, "update-ref", "refs/heads/-x", "HEAD")

    assert git.file_at(repository, "refs/heads/-x", repository / "a") == b"1"


def test_words_are_found_at_the_tip_of_every_branch_tag_and_stash(repository: Path) -> None:
    def leave(word: str) -> None:
        (repository / "a").write_text(f"{word}\n")

    leave("0" * 8)
    commit_all(repository, "old")
    leave("1" * 8)
    commit_all(repository, "main")
    run_git(repository, "checkout", "--quiet", "-b", "other")
    leave("2" * 8)
    commit_all(repository, "other")
    run_git(repository, "tag", "kept")
    leave("3" * 8)
    commit_all(repository, "more")
    leave("4" * 8)
    run_git(repository, "stash")
    run_git(repository, "checkout", "--quiet", "--detach")
    leave("5" * 8)
    commit_all(repository, "detached")

    found = git.words_at_tips(repository, "[0-9]{8}")

    assert found == {str(digit) * 8 for digit in (1, 2, 3, 4, 5)}


def test_words_of_an_empty_repository_and_of_none(repository: Path, tmp_path: Path) -> None:
    assert git.words_at_tips(repository, "x") == set()
    assert git.words_at_tips(tmp_path, "x") == set()


def test_a_pattern_that_is_none_is_an_error_and_not_an_empty_answer(repository: Path) -> None:
    (repository / "a").write_text("1")
    commit_all(repository, "Add")

    with pytest.raises(RepositoryError, match="git grep failed"):
        git.words_at_tips(repository, "[")


def test_the_version_is_a_version() -> None:
    assert (git.version() or ()) >= (2, 25)


def test_settings_are_read_where_they_hold(repository: Path, tmp_path: Path) -> None:
    assert git.configured_email(repository) == ACTOR
    assert git.setting(repository, "user.name") == ACTOR.partition("@")[0]
    assert git.setting(repository, "no.such") is None
    assert git.setting(tmp_path / "gone", "user.name") is None


def test_ignored_paths_are_known(repository: Path) -> None:
    (repository / ".gitignore").write_text(".lora/\n")

    assert git.ignored(repository, repository / ".lora" / "x")
    assert not git.ignored(repository, repository / "a")
