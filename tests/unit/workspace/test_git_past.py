"""What the history of the branch holds for a path, merges and removals included."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.workspace.git import repository
from tests.support.workspace_builders import commit_all, git, make_repository

RECORDS = ":(glob)data/**/reviews/*.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_repository(tmp_path, email="ana@studio.example")
    put(tmp_path, "a.json", "1\n")
    commit_all(tmp_path, "First")
    return tmp_path


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / "data" / "shared" / "reviews" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def past(folder: Path, name: str) -> repository.Past:
    found = repository.past_of(folder, [RECORDS])
    assert found is not None
    return found[f"data/shared/reviews/{name}"]


def test_every_content_that_a_path_ever_had_is_listed(folder: Path) -> None:
    put(folder, "a.json", "2\n")
    commit_all(folder, "Second")

    blobs = past(folder, "a.json").blobs

    assert [repository.blob_bytes(folder, blob) for blob in blobs] == [b"2\n", b"1\n"]


def test_a_path_that_was_removed_is_still_listed(folder: Path) -> None:
    git(folder, "rm", "--quiet", "data/shared/reviews/a.json")
    commit_all(folder, "Remove")

    assert len(past(folder, "a.json").blobs) == 1


def test_the_first_author_is_who_committed_on_the_branch_and_not_who_merged(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "-b", "kim")
    put(folder, "kim's review.json", "3\n")
    git(folder, "config", "user.email", "kim@studio.example")
    commit_all(folder, "Kim's")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "config", "user.email", "ana@studio.example")
    git(folder, "merge", "--quiet", "--no-ff", "-m", "Merge", "kim")

    assert past(folder, "kim's review.json").first_author == "kim@studio.example"


def test_what_a_merge_commit_itself_changed_is_seen(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "-b", "other")
    put(folder, "b.json", "b\n")
    commit_all(folder, "Other")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-ff", "--no-commit", "other")
    put(folder, "a.json", "evil\n")
    commit_all(folder, "Merge")

    assert len(past(folder, "a.json").blobs) == 2


def test_nothing_is_known_without_a_repository_or_a_commit(tmp_path: Path) -> None:
    assert repository.past_of(tmp_path, [RECORDS]) is None
    make_repository(tmp_path)
    assert repository.past_of(tmp_path, [RECORDS]) is None


def test_a_content_has_the_id_that_git_gives_it_whatever_its_line_ends(folder: Path) -> None:
    blob = past(folder, "a.json").blobs[0]

    assert repository.blob_id(b"1\n", like=blob) == blob
    assert repository.blob_id(b"1\r\n", like=blob) == blob
    assert repository.blob_id(b"2\n", like=blob) != blob


def test_mailmap_says_which_addresses_are_one_person(folder: Path) -> None:
    assert repository.mailmap(folder, ["kim@home"]) == {}
    (folder / ".mailmap").write_text("Kim <kim@studio> <kim@home>\n")

    assert repository.mailmap(folder, ["kim@home", "lee@studio"]) == {"kim@home": "kim@studio"}


def test_a_clone_without_the_older_history_says_so(folder: Path, tmp_path: Path) -> None:
    put(folder, "a.json", "2\n")
    commit_all(folder, "Second")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{folder}", str(clone))

    assert repository.is_shallow(clone)
    assert not repository.is_shallow(folder)


def test_files_are_listed_by_whether_git_keeps_them(folder: Path) -> None:
    put(folder, "b.json", "untracked")
    put(folder, "c.txt", "ignored")
    (folder / ".gitignore").write_text("*.txt\n")

    assert repository.listed(folder, ["*.json", "*.txt"]) == ["data/shared/reviews/a.json"]
    assert repository.listed(folder, ["*.json", "*.txt"], tracked=False) == [
        "data/shared/reviews/b.json"
    ]
