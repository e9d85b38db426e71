from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import RepositoryError
from lora_pipeline.workspace.git import history
from tests.support.workspace_builders import commit_all, git, make_repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    make_repository(folder)
    (folder / "a").mkdir()
    (folder / "a" / "ü x.txt").write_bytes(b"one\r\n\0")
    commit_all(folder, "One")
    (folder / "a" / "ü x.txt").write_bytes(b"two")
    commit_all(folder, "Two")
    return folder


def test_a_file_is_what_it_was_byte_for_byte(root: Path) -> None:
    first, second = (history.require_commit(root, name) for name in ("HEAD~1", "HEAD"))

    assert history.file_in(root, first, "a/ü x.txt") == b"one\r\n\0"
    assert history.file_in(root, second, "a/ü x.txt") == b"two"
    assert history.file_in(root, second, "a/none") is None
    assert history.file_in(root, second, "a") is None
    assert history.files_in(root, second, "a") == ["ü x.txt"]
    assert history.files_in(root, second, "b") == []


def test_a_file_longer_than_allowed_is_not_read(root: Path) -> None:
    commit = history.require_commit(root, "HEAD")

    assert history.file_in(root, commit, "a/ü x.txt", max_bytes=3) == b"two"
    assert history.file_in(root, commit, "a/ü x.txt", max_bytes=2) is None


@pytest.mark.parametrize("name", ["nothing", "", "--all", "-h", "HEAD~99", "HEAD:a", "a\nb"])
def test_a_name_that_means_no_commit_is_refused(root: Path, name: str) -> None:
    with pytest.raises(RepositoryError, match="no revision"):
        history.require_commit(root, name)


def test_the_nearest_branch_is_offered(root: Path) -> None:
    git(root, "branch", "rework")

    with pytest.raises(RepositoryError) as caught:
        history.require_commit(root, "rewrok")
    assert caught.value.hint == "did you mean rework?"


def test_a_shallow_clone_says_what_it_lacks(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", root.as_uri(), "shallow")

    with pytest.raises(RepositoryError) as caught:
        history.require_commit(tmp_path / "shallow", "HEAD~1")
    assert caught.value.hint == "this clone lacks the older history: git fetch --unshallow"


def test_where_two_histories_parted(root: Path) -> None:
    base = history.require_commit(root, "HEAD")
    git(root, "checkout", "--quiet", "-b", "side")
    commit_all(root, "Side")
    side = history.require_commit(root, "HEAD")
    git(root, "checkout", "--quiet", "--orphan", "alone")
    commit_all(root, "Alone")
    alone = history.require_commit(root, "HEAD")

    assert history.merge_base(root, base, side) == base
    with pytest.raises(RepositoryError, match="no commit in common"):
        history.merge_base(root, side, alone)


def test_outside_of_a_repository_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="not in a Git repository"):
        history.require_repository(tmp_path)


def test_git_lfs_keeps_its_content_where_it_is_told_to(root: Path, tmp_path: Path) -> None:
    assert history.lfs_objects(root) is None
    usual = root / ".git" / "lfs" / "objects"
    usual.mkdir(parents=True)
    assert history.lfs_objects(root) == usual
    other = tmp_path / "elsewhere" / "objects"
    other.mkdir(parents=True)
    git(root, "config", "lfs.storage", str(other.parent))
    assert history.lfs_objects(root) == other


def test_a_linked_work_tree_shares_what_git_lfs_keeps(root: Path, tmp_path: Path) -> None:
    usual = root / ".git" / "lfs" / "objects"
    usual.mkdir(parents=True)
    git(root, "worktree", "add", "--quiet", str(tmp_path / "linked"))

    found = history.lfs_objects(tmp_path / "linked")
    assert found is not None
    assert found.resolve() == usual.resolve()
