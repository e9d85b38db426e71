"""lora git: setting Git up, taking it back, and what git diff shows then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dataset_builders import PROJECT, studio
from tests.support.merge_builders import FILE, add_icon, copied, lora, studio_with_drivers, try_git
from tests.support.training_builders import write_lora
from tests.support.workspace_builders import (
    commit_all,
    git,
    invoke,
    make_workspace,
    reopen,
    tree_digest,
)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studio_with_drivers(tmp_path_factory.mktemp("git") / "studio").root


@pytest.fixture
def here(origin: Path, tmp_path: Path) -> Path:
    return copied(origin, tmp_path / "studio")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "bare", project=PROJECT).root


def ours(folder: Path, where: str = "--local") -> list[str]:
    done = try_git(folder, "config", where, "--name-only", "--get-regexp", r"\.lora\.")
    return done.stdout.split()


# --- install, uninstall, status ----------------------------------------------------------------


def test_install_sets_up_this_clone_and_nothing_else(bare: Path) -> None:
    (bare / ".gitattributes").write_text("*.json text eol=lf")

    answer = invoke(["git", "install", "--json"], bare)

    assert answer.exit_code == 0
    assert answer.document["written"] == [".gitattributes"]
    assert set(answer.document["data"]["settings"]) == set(ours(bare))
    assert ours(bare, "--global") == []
    lines = (bare / ".gitattributes").read_text().splitlines()
    assert lines[0] == "*.json text eol=lf"
    assert "data/**/datasets/*.json diff=lora merge=lora" in lines
    assert invoke(["git", "status"], bare).exit_code == 0


def test_install_a_second_time_changes_nothing(here: Path) -> None:
    before = tree_digest(here), (here / ".git" / "config").read_bytes()

    answer = invoke(["git", "install"], here)

    assert "here already" in answer.stdout
    assert (tree_digest(here), (here / ".git" / "config").read_bytes()) == before


def test_a_dry_run_says_what_would_be_set_and_sets_nothing(bare: Path) -> None:
    before = tree_digest(bare), (bare / ".git" / "config").read_bytes()

    answer = invoke(["git", "install", "--dry-run"], bare)

    assert "would write" in answer.stdout
    assert (tree_digest(bare), (bare / ".git" / "config").read_bytes()) == before


def test_a_new_workspace_asks_for_it_and_each_clone_agrees_once(tmp_path: Path) -> None:
    lora(tmp_path, "init", "studio")
    folder = tmp_path / "studio"

    asked = invoke(["git", "status", "--json"], folder)
    lora(folder, "git", "install")

    assert asked.exit_code == 1
    assert asked.error["code"] == "git_not_set_up"
    assert asked.error["hint"] == "lora git install"
    states = {one["name"]: one["state"] for one in asked.document["data"]["parts"]}
    assert states["data/**/datasets/*.json"] == "ok"
    assert states["merge.lora.driver"] == "missing"
    assert git(folder, "status", "--porcelain", ".gitattributes") == "?? .gitattributes\n"
    assert invoke(["git", "status"], folder).exit_code == 0


def test_uninstall_takes_back_the_settings_and_leaves_what_others_need(here: Path) -> None:
    git(here, "config", "merge.tool", "meld")

    answer = invoke(["git", "uninstall"], here)

    assert answer.exit_code == 0
    assert ours(here) == []
    assert git(here, "config", "merge.tool") == "meld\n"
    assert "merge=lora" in (here / ".gitattributes").read_text()
    assert "Nothing of ours" in lora(here, "git", "uninstall")


def test_global_is_for_every_clone_and_only_when_asked(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    lora(bare, "git", "install", "--global")

    assert ours(bare) == []
    assert "merge.lora.driver" in ours(bare, "--global")
    assert invoke(["git", "status"], bare).exit_code == 0
    lora(bare, "git", "uninstall", "--global")
    assert ours(bare, "--global") == []


def test_settings_of_a_moved_program_are_found_and_replaced(here: Path) -> None:
    git(here, "config", "merge.lora.driver", "/gone/python -m lora_pipeline git merge-driver")

    status = invoke(["git", "status"], here)
    again = invoke(["git", "install"], here)

    assert status.exit_code == 1
    assert "/gone/python" in status.stdout
    assert "merge.lora.driver, which was /gone/python" in again.stdout
    assert invoke(["git", "status"], here).exit_code == 0


def test_outside_of_a_repository_there_is_nothing_to_set_up(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "plain", git=False).root

    answer = invoke(["git", "install"], folder)

    assert answer.exit_code == 3
    assert "not in a Git repository" in answer.stderr
    assert not (folder / ".gitattributes").exists()


def test_a_workspace_below_the_top_of_its_repository_has_attributes_of_its_own(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init", "--quiet")
    folder = make_workspace(tmp_path / "two words", git=False, project=PROJECT).root

    lora(folder, "git", "install")

    assert not (tmp_path / ".gitattributes").exists()
    assert invoke(["git", "status"], folder).exit_code == 0


def test_what_somebody_else_asked_for_is_named_when_it_is_replaced(bare: Path) -> None:
    (bare / ".gitattributes").write_text("data/**/datasets/*.json merge=union\n")

    answer = invoke(["git", "install"], bare)

    assert "data/**/datasets/*.json, which was merge=union" in answer.stdout
    assert invoke(["git", "status"], bare).exit_code == 0


# --- git diff ----------------------------------------------------------------------------------


def test_git_diff_shows_what_came_with_its_caption(here: Path) -> None:
    asset_id = add_icon(reopen(here), 70)
    lora(here, "dataset", "build", "icons", "--prefix", "icon of")

    shown = git(here, "diff", "--", FILE)

    assert f"+image {asset_id}  projects/{PROJECT}/files/images/" in shown
    assert "-images = 3\n+images = 4\n" in shown
    assert "-captionRule.prefix = \n+captionRule.prefix = icon of\n" in shown
    assert (
        "-    caption  nctyicon, flat, red\n+    caption  nctyicon, icon of, flat, red\n" in shown
    )
    assert '"assetId"' not in shown


@pytest.mark.slow
def test_git_show_and_log_show_the_same_text(here: Path) -> None:
    assert "+images = 3" in git(here, "show", "HEAD", "--", FILE)
    assert "+images = 3" in git(here, "log", "-p", "--", FILE)


def test_the_part_of_a_diff_is_headed_by_its_image(here: Path) -> None:
    text = (here / FILE).read_text().replace('"repeats": 1', '"repeats": 7')
    (here / FILE).write_text(text)

    headings = [line for line in git(here, "diff", "-U0", "--", FILE).splitlines() if "@@" in line]

    assert sum("@@ image " in line for line in headings) == 3


def test_git_diff_shows_weights_as_text(here: Path) -> None:
    path = write_lora(here / "a.safetensors")
    git(here, "add", "--force", "a.safetensors")
    write_lora(path, rank=2)

    shown = git(here, "diff", "--", "a.safetensors")

    assert "+rank     2 (" in shown
    assert "-tensors  sha256:" in shown
    assert "Binary files" not in shown


HOSTILE = {
    "nothing.json": b"",
    "zeros.safetensors": bytes(64),
    "cut.safetensors": (10_000).to_bytes(8, "little") + b'{"a": 1',
    "huge.safetensors": (2**62).to_bytes(8, "little") + b"{",
    "web.safetensors": b"<html>",
    "pointer.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"a" * 64
    + b"\nsize 12345\n",
    "half.json": b'{"schema": "dataset/v1", "items": [',
    "merge.json": b'{\n<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> b\n}\n',
    "strange.json": b'{"items": [1, {"assetId": []}], "\\u001b[31m": "\\u202e"}',
    "list.json": b"[]",
    "bytes.json": b'{"a": "\xff"}',
}


@pytest.mark.slow
def test_no_file_makes_git_diff_fail(here: Path) -> None:
    folder = here / "data" / "shared" / "loras"
    folder.mkdir(parents=True)
    for name, data in HOSTILE.items():
        (folder / name).write_bytes(data)
    git(here, "add", "--intent-to-add", "--force", str(folder))

    done = try_git(here, "-c", "core.safecrlf=false", "diff", "--", str(folder))

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    for name in HOSTILE:
        _, _, shown = done.stdout.partition(f"b/data/shared/loras/{name}\n")
        assert "\n+" in shown.partition("diff --git")[0], name


def test_doctor_says_whether_this_clone_is_set_up(here: Path) -> None:
    def line() -> dict[str, str]:
        checks = invoke(["doctor", "--json"], here).document["data"]["checks"]
        return next(one for one in checks if one["name"] == "git drivers")

    assert line()["state"] == "ok"
    git(here, "config", "merge.lora.driver", "/gone/python")
    assert (line()["state"], line()["fix"]) == ("warn", "lora git install")
    lora(here, "git", "uninstall")
    assert line()["state"] == "skipped"


def test_git_diff_works_when_the_program_is_gone(here: Path) -> None:
    for key in ("diff.lora.textconv", "merge.lora.driver"):
        value = git(here, "config", key).removesuffix("\n")
        git(here, "config", key, value.replace("lora_pipeline git", "gone_away git"))
    (here / FILE).write_text((here / FILE).read_text().replace("nctyicon", "other"))

    shown = git(here, "diff", "--", FILE)

    assert '-     {"assetId"' in shown


def test_textconv_answers_with_json_when_asked(here: Path) -> None:
    answer = invoke(["git", "textconv", FILE, "--json"], here)

    assert answer.document["data"]["text"].startswith("images = 3\n")


@pytest.mark.slow
def test_code_that_lies_in_a_workspace_is_not_run_by_git(here: Path, tmp_path: Path) -> None:
    """Git starts the program in the work tree; what stands there is data."""
    trap = f"open({str(tmp_path / 'trapped')!r}, 'w')\n"
    for name in ("lora_pipeline/__init__.py", "click.py", "json.py", "msgspec.py"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(trap)
    (here / FILE).write_text((here / FILE).read_text().replace("nctyicon", "other"))

    assert "captionRule.triggerWord = other" in git(here, "diff", "--", FILE)
    assert not (tmp_path / "trapped").exists()


# --- Git LFS -----------------------------------------------------------------------------------


needs_lfs = pytest.mark.skipif(
    try_git(Path.cwd(), "lfs", "version").returncode != 0, reason="needs Git LFS"
)


@needs_lfs
def test_a_clone_without_its_images_proves_and_builds_the_same_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "studio"
    lora(tmp_path, "init", "studio", "--lfs")
    for key, value in (("user.name", "ana"), ("user.email", "ana@studio")):
        git(folder, "config", key, value)
    git(folder, "lfs", "install", "--local")
    studio(folder, icons=3)
    lora(folder, "dataset", "build", "icons", "--asset-type", "ui_icon")
    commit_all(folder, "Icons")
    clone = tmp_path / "clone"
    done = try_git(
        tmp_path, "-c", "filter.lfs.smudge=git-lfs smudge --skip -- %f",
        "-c", "filter.lfs.process=git-lfs filter-process --skip",
        "-c", "filter.lfs.required=true",
        "clone", "--quiet", str(folder), str(clone),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    images = [path for path in clone.rglob("files/images/**/*") if path.is_file()]
    assert images
    assert all(path.read_bytes().startswith(b"version https://git-lfs") for path in images)

    proven = invoke(["dataset", "verify", "icons", "--json"], clone)
    lora(clone, "dataset", "build", "icons")

    assert proven.exit_code == 0
    assert proven.document["data"]["provenByPointer"] == 3
    assert git(clone, "status", "--porcelain") == ""
