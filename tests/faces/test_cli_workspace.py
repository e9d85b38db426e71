"""init, status, doctor and config explain, as people and scripts meet them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Asset
from lora_pipeline.training.records import Recipe, Run
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.faults import make_read_only, make_writable
from tests.support.release_builders import LORA, PROJECT, active_studio
from tests.support.workspace_builders import (
    REPOSITORY,
    Answer,
    add_project,
    git,
    invoke,
    make_repository,
    make_workspace,
    run_lora,
    tree_digest,
)

# --- init --------------------------------------------------------------------------------------


def test_init_makes_a_repository_that_is_a_workspace(tmp_path: Path) -> None:
    answer = invoke(["init", "studio", "--json"], tmp_path)

    folder = tmp_path / "studio"
    assert answer.exit_code == 0, answer.stderr
    data = answer.document["data"]
    assert data["root"] == str(folder)
    assert data["madeRepository"] is True
    assert data["kept"] == []
    assert answer.document["written"][-1] == "config/pipeline.yaml"
    assert set(answer.document["written"]) == set(data["created"])
    for path in ("config/gates/standard.yaml", "config/suites/ui_icon.yaml", "Makefile",
                 ".gitignore", ".gitattributes", ".vscode/settings.json", "README.md",
                 "config/local.example.json", "schemas/lora.v1.schema.json"):  # fmt: skip
        assert (folder / path).is_file(), path
    assert (folder / "data" / "shared").is_dir()
    assert (folder / "data" / "projects").is_dir()
    assert git(folder, "symbolic-ref", "--short", "HEAD").strip() == "main"


def test_the_new_workspace_works_with_what_comes_next(tmp_path: Path) -> None:
    invoke(["init"], tmp_path)

    status = invoke(["status", "--json"], tmp_path)
    assert status.document["suggestions"] == ["lora project create my_game"]
    assert invoke(["project", "create", "my_game"], tmp_path).exit_code == 0
    assert invoke(["validate"], tmp_path).exit_code == 0


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    invoke(["init"], tmp_path)
    (tmp_path / "Makefile").write_text("ours\n")
    (tmp_path / "config" / "gates" / "standard.yaml").unlink()
    before = tree_digest(tmp_path)

    answer = invoke(["init", "--json"], tmp_path)

    assert answer.exit_code == 0
    assert answer.document["data"]["created"] == ["config/gates/standard.yaml"]
    assert "Makefile" in answer.document["data"]["kept"]
    after = tree_digest(tmp_path)
    assert after.pop("config/gates/standard.yaml")
    assert after == before

    again = invoke(["init"], tmp_path)
    assert again.stdout.startswith(f"{tmp_path.name} is a workspace already; nothing was missing")


def test_a_dry_run_of_init_writes_nothing_at_all(tmp_path: Path) -> None:
    answer = invoke(["init", "studio", "--dry-run", "--json"], tmp_path)

    assert answer.exit_code == 0
    assert answer.document["dryRun"] is True
    assert "config/pipeline.yaml" in answer.document["written"]
    assert list(tmp_path.iterdir()) == []


def test_init_commits_what_it_wrote_when_asked(tmp_path: Path) -> None:
    make_repository(tmp_path)
    (tmp_path / "mine.txt").write_text("x")

    answer = invoke(["init", "--commit", "--json"], tmp_path)

    assert answer.document["data"]["commit"] == git(tmp_path, "rev-parse", "HEAD").strip()
    assert git(tmp_path, "status", "--porcelain").split() == ["??", "mine.txt"]
    subject = git(tmp_path, "log", "-1", "--format=%s").strip()
    assert subject == f"Made the workspace {tmp_path.name}"


def test_without_git_there_is_no_repository(tmp_path: Path) -> None:
    answer = invoke(["init", "--no-git", "--json"], tmp_path)

    assert answer.document["data"]["madeRepository"] is False
    assert not (tmp_path / ".git").exists()


def test_inside_a_repository_that_ignores_the_folder_one_is_made(tmp_path: Path) -> None:
    make_repository(tmp_path)
    (tmp_path / ".gitignore").write_text("/play/\n")

    answer = invoke(["init", "play/studio", "--json"], tmp_path)

    assert answer.document["data"]["madeRepository"] is True
    assert (tmp_path / "play/studio/.git").is_dir()


def test_inside_a_repository_none_is_made(tmp_path: Path) -> None:
    make_repository(tmp_path)

    answer = invoke(["init", "art/loras", "--json"], tmp_path)

    assert answer.document["data"]["madeRepository"] is False
    assert not (tmp_path / "art" / "loras" / ".git").exists()


@pytest.mark.parametrize("below", ["sub", "data/projects/x", ".lora/x"])
def test_a_workspace_inside_a_workspace_is_refused_with_the_reason(
    below: str, tmp_path: Path
) -> None:
    make_workspace(tmp_path)
    before = tree_digest(tmp_path)

    answer = invoke(["init", below, "--json"], tmp_path)

    assert answer.exit_code == 3
    assert answer.error["code"] == "state_forbids"
    assert f"lies inside the workspace {tmp_path}" in answer.error["message"]
    assert "lora project create" in answer.error["hint"]
    assert tree_digest(tmp_path) == before
    assert not (tmp_path / below).exists()


def test_init_in_a_file_or_in_gits_own_folder_is_refused(tmp_path: Path) -> None:
    make_repository(tmp_path)
    (tmp_path / "file").write_text("x")

    for folder, words in (("file", "is a file"), (".git/x", "belongs to Git itself")):
        answer = invoke(["init", folder, "--json"], tmp_path)
        assert answer.exit_code == 3
        assert answer.error["code"] == "argument_invalid"
        assert words in answer.error["message"]
    assert not (tmp_path / ".git" / "x").exists()


def test_what_a_kept_file_lacks_is_said(tmp_path: Path) -> None:
    make_repository(tmp_path)
    (tmp_path / ".gitignore").write_text("*.tmp\n")
    (tmp_path / ".gitattributes").write_text("*.png binary\n")

    warnings = invoke(["init", "--lfs", "--json"], tmp_path).document["warnings"]

    assert any(".gitignore was kept; add to it: .lora/" in one for one in warnings)
    assert any("add to it: *.json text eol=lf" in one for one in warnings)
    assert any("filter=lfs" in one for one in warnings)
    assert any("git lfs install" in one for one in warnings)
    assert (tmp_path / ".gitignore").read_text() == "*.tmp\n"


def test_with_lfs_imported_images_go_to_it(tmp_path: Path) -> None:
    invoke(["init", "--lfs"], tmp_path)

    path = "data/projects/p/files/images/x/original.png"
    found = git(tmp_path, "check-attr", "filter", "eol", "--", path, "data/a.json")
    assert f"{path}: filter: lfs" in found
    assert "data/a.json: eol: lf" in found


def test_schemas_are_brought_to_this_version_only_when_asked(tmp_path: Path) -> None:
    invoke(["init"], tmp_path)
    schema = tmp_path / "schemas" / "lora.v1.schema.json"
    current = schema.read_bytes()
    schema.write_bytes(b"{}")

    invoke(["init"], tmp_path)
    assert schema.read_bytes() == b"{}"

    answer = invoke(["init", "--refresh-schemas", "--json"], tmp_path)
    assert answer.document["data"]["created"] == ["schemas/lora.v1.schema.json"]
    assert schema.read_bytes() == current


def test_the_make_targets_run(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    invoke(["init"], tmp_path)
    program = f"{sys.executable} -m lora_pipeline"

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", f"LORA={program}", *arguments],
            cwd=tmp_path,
            env=outside_of_make() | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            check=False,
            encoding="utf-8",
        )

    assert make("validate").returncode == 0
    assert make("report").returncode == 0
    assert "make dataset" in make("help").stdout
    for target in ("dataset", "train", "eval"):
        missing = make(target)
        assert missing.returncode == 2
        assert f"make {target} " in missing.stdout


def outside_of_make() -> dict[str, str]:
    """Return our environment without what a `make test` around us hands down."""
    handed_down = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "ARGS"}
    return {name: value for name, value in os.environ.items() if name not in handed_down}


def test_what_make_runs_is_a_command_line_that_lora_understands(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    invoke(["init"], tmp_path)
    invoke(["project", "create", "p"], tmp_path)
    given = ["PROJECT=p", "ASSET_TYPE=ui_icon", "LORA_ID=icons", "DATASET=flat", "RELEASE=r1"]

    for target in ("dataset", "train", "eval"):
        done = subprocess.run(
            ["make", "--dry-run", target, *given],
            cwd=tmp_path,
            env=outside_of_make(),
            capture_output=True,
            check=True,
            encoding="utf-8",
        )
        shown = done.stdout.splitlines()[-1]
        words = shown.split()
        assert words[0] == "lora"
        answer = invoke(words[1:], tmp_path)
        # There is nothing to build or train yet; but the words are understood.
        assert answer.exit_code == 3, (shown, answer.stderr)


# --- status ------------------------------------------------------------------------------------


@pytest.fixture
def studio(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "studio", project="neon_city")
    add_catalogs(workspace, "neon_city")
    return workspace


def assets(workspace: Workspace, *statuses: str) -> list[Asset]:
    folder = workspace.root.parent
    return [
        add_asset(
            workspace,
            "neon_city",
            draw_icon(folder / f"{number}.png", seed=number),
            status=status,  # type: ignore[arg-type]
        )
        for number, status in enumerate(statuses)
    ]


def scope_of(answer: Answer, project: str = "neon_city") -> dict[str, object]:
    (found,) = [one for one in answer.document["data"]["scopes"] if one["project"] == project]
    assert isinstance(found, dict)
    return found


def test_an_empty_project_is_told_to_import(studio: Workspace) -> None:
    answer = invoke(["status"], studio.root)

    assert answer.exit_code == 0
    assert answer.stdout.splitlines() == [
        "neon_city",
        "next  lora asset import DIR --asset-type TYPE",
    ]


def test_assets_are_counted_by_status_and_the_next_commands_follow(studio: Workspace) -> None:
    assets(studio, "approved", "approved", "review", "rejected")

    answer = invoke(["status", "--json"], studio.root)

    assert scope_of(answer)["assets"] == {"approved": 2, "rejected": 1, "review": 1}
    assert answer.document["suggestions"] == [
        "lora asset list --status review",
        "lora dataset build --asset-type TYPE",
    ]


def test_a_dataset_whose_assets_changed_is_told_with_the_reasons(studio: Workspace) -> None:
    made = assets(studio, "approved", "approved", "approved", "approved")
    assert invoke(["dataset", "build", "--asset-type", "ui_icon"], studio.root).exit_code == 0
    fresh = scope_of(invoke(["status", "--json"], studio.root))["datasets"]
    assert isinstance(fresh, list)
    assert fresh[0]["drift"] == {}

    assert invoke(["asset", "reject", made[0].id], studio.root).exit_code == 0
    withdrawn = invoke(["asset", "withdraw", made[1].id, "--reason", "sold"], studio.root)
    assert withdrawn.exit_code == 0, withdrawn.stderr
    paths = studio.records.path("asset", Scope("neon_city"), made[2].id)
    paths.unlink()
    studio.records.path("asset", Scope("neon_city"), made[3].id).write_text("{")

    answer = invoke(["status", "--json"], studio.root)

    (dataset,) = scope_of(answer)["datasets"]  # type: ignore[misc]
    assert dataset["drift"] == {  # type: ignore[has-type]
        "asset cannot be read": 1,
        "asset is gone": 1,
        "no longer approved": 1,
        "withdrawn": 1,
    }


def test_a_record_that_cannot_be_read_hides_nothing_else(studio: Workspace) -> None:
    made = assets(studio, "approved", "review")
    path = studio.records.path("asset", Scope("neon_city"), made[0].id)
    path.write_text('{"id": 1}')

    answer = invoke(["status", "--json"], studio.root)

    assert answer.exit_code == 0
    scope = scope_of(answer)
    assert scope["assets"] == {"review": 1}
    (unreadable,) = scope["unreadable"]  # type: ignore[misc]
    assert unreadable["path"] == studio.relative(path)  # type: ignore[has-type]
    assert answer.document["warnings"] == ["1 record cannot be read"]
    assert answer.document["suggestions"] == ["lora validate"]
    assert path.name in invoke(["status"], studio.root).stdout


def test_loras_are_told_with_what_is_active_and_the_next_command(tmp_path: Path) -> None:
    studio = active_studio(tmp_path / "studio")

    answer = invoke(["status", "--json"], studio.root)

    (lora,) = scope_of(answer, PROJECT)["loras"]  # type: ignore[misc]
    assert lora["active"] == "r1"  # type: ignore[has-type]
    assert lora["releases"] == {"approved": 1, "candidate": 1}  # type: ignore[has-type]
    assert answer.document["suggestions"][0] == f"lora eval grid {LORA} r2"
    assert f"lora       {LORA}  active r1  1 approved · 1 candidate" in (
        invoke(["status"], studio.root).stdout
    )


def test_a_run_whose_process_is_gone_is_told_with_the_way_to_go_on(studio: Workspace) -> None:
    run = Run(
        id="01HZZZZZZZZZZZZZZZZZZZZZZZ", lora_id="icons", release_id="r1", state="training",
        trainer="diffusers", created_at=studio.now(), updated_at=studio.now(),
        plan_digest=f"sha256:{'0' * 64}", dataset_id="flat", manifest_hash=f"sha256:{'1' * 64}",
        checkpoint_id="base", checkpoint_digest=f"sha256:{'2' * 64}", recipe=Recipe(),
        steps_done=40, steps_planned=100,
    )  # fmt: skip
    changes = Changes(studio)
    changes.create(run, Scope("neon_city"), run.id)
    changes.apply()

    elsewhere = invoke(["status", "--json"], studio.root)
    (studio.runtime / "runs" / run.id).mkdir(parents=True)
    here = invoke(["status", "--json"], studio.root)

    assert elsewhere.document["suggestions"][0] == f"lora run log {run.id}"
    assert here.document["suggestions"][0] == f"lora run resume {run.id}"
    line = f"  run        {run.id}  interrupted since 2026-03-01T12:00:00Z · step 40 of 100"
    assert line in invoke(["status"], studio.root).stdout.splitlines()


def test_of_several_projects_each_is_told_and_one_may_be_asked_for(studio: Workspace) -> None:
    add_project(studio, "other")

    every = invoke(["status", "--json"], studio.root)
    one = invoke(["status", "--project", "other", "--json"], studio.root)

    projects = [scope["project"] for scope in every.document["data"]["scopes"]]
    assert projects == ["neon_city", "other"]
    assert [scope["project"] for scope in one.document["data"]["scopes"]] == ["other"]
    assert every.document["suggestions"] == [
        "lora asset import DIR --asset-type TYPE --project neon_city",
        "lora asset import DIR --asset-type TYPE --project other",
    ]


def test_a_project_that_does_not_exist_is_named(studio: Workspace) -> None:
    answer = invoke(["status", "--project", "neon_cty", "--json"], studio.root)

    assert answer.exit_code == 3
    assert answer.error == {
        "code": "record_not_found",
        "hint": "did you mean neon_city?",
        "message": "no project 'neon_cty'",
    }


def test_status_and_doctor_write_nothing(studio: Workspace) -> None:
    assets(studio, "approved")
    before = tree_digest(studio.root)
    make_read_only(studio.root)
    try:
        assert run_lora(["status"], studio.root).exit_code == 0
        assert run_lora(["config", "explain"], studio.root).exit_code == 0
        assert run_lora(["store", "status"], studio.root).exit_code == 0
        run_lora(["doctor"], studio.root)
    finally:
        make_writable(studio.root)
    assert tree_digest(studio.root) == before


# --- doctor ------------------------------------------------------------------------------------


def checks(answer: Answer) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in answer.document["data"]["checks"]}


def test_a_new_workspace_is_healthy(tmp_path: Path) -> None:
    invoke(["init"], tmp_path)
    git(tmp_path, "config", "user.name", "Ana")
    git(tmp_path, "config", "user.email", "ana@studio")

    answer = invoke(["doctor", "--json"], tmp_path)

    assert answer.exit_code == 0, answer.stdout
    found = checks(answer)
    assert found["identity"]["message"] == "ana@studio"
    for name in ("python", "git", "workspace", "store", "lock", "left over", "schemas",
                 "gitignore", "line ends", "history", "clock", "permissions"):  # fmt: skip
        assert found[name]["state"] == "ok", found[name]
    assert {"trainer diffusers", "trainer kohya_ss", "renderer diffusers"} <= set(found)


def test_outside_of_a_workspace_the_machine_is_checked(tmp_path: Path) -> None:
    answer = invoke(["doctor", "--json"], tmp_path)

    assert answer.exit_code == 0
    assert checks(answer)["workspace"]["state"] == "skipped"
    assert checks(answer)["workspace"]["fix"] == "lora init"


def test_settings_that_cannot_be_read_are_a_failure_and_not_the_end(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    (tmp_path / "config" / "pipeline.yaml").write_text("projct: x\n")

    answer = invoke(["doctor", "--json"], tmp_path)

    assert answer.exit_code == 1
    assert answer.error["code"] == "unhealthy"
    found = checks(answer)["workspace"]
    assert found["state"] == "fail"
    assert "unknown setting projct" in found["message"]
    assert answer.document["suggestions"] == ["did you mean project?"]


def test_what_is_wrong_is_named_with_the_way_to_mend_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    (tmp_path / ".gitignore").write_text("\n")
    git(tmp_path, "config", "core.autocrlf", "true")
    git(tmp_path, "config", "user.email", "")
    stale = tmp_path / "data" / "shared" / ".lora-tmp-x"
    stale.touch()
    os.utime(stale, (time.time() - 100_000,) * 2)
    (tmp_path / "data" / "shared" / ".lora-tmp-young").touch()
    image = workspace.data_root / "projects" / "p" / "files" / "images" / "a" / "x.png"
    image.parent.mkdir(parents=True)
    image.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")

    with workspace_lock(workspace.runtime, timeout_s=0):
        answer = invoke(["doctor", "--json"], tmp_path)

    assert answer.exit_code == 1
    found = checks(answer)
    assert found["gitignore"]["state"] == "fail"
    assert ".lora/" in found["gitignore"]["fix"]
    assert found["line ends"]["state"] == "fail"
    assert found["identity"]["state"] == "warn"
    assert "user.email" in found["identity"]["fix"]
    assert found["left over"]["message"].startswith("data/shared/.lora-tmp-x, ")
    assert found["git lfs"]["fix"] == "git lfs pull"
    assert str(os.getpid()) in found["lock"]["message"]
    assert found["lock"]["state"] == "warn"


def test_a_machine_without_git_is_told_to_install_it(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)

    answer = run_lora(["doctor", "--json"], tmp_path, {"PATH": str(tmp_path)})

    assert answer.exit_code == 1
    assert checks(answer)["git"] == {
        "code": "git", "name": "git", "state": "fail", "message": "not installed",
        "fix": "install git", "fixable": False,
    }  # fmt: skip
    assert checks(answer)["repository"]["state"] == "warn"
    assert run_lora(["init", "x"], tmp_path.parent, {"PATH": str(tmp_path)}).stderr.startswith(
        "error  git is not installed"
    )


def test_schemas_of_another_version_and_a_shallow_clone_are_told(tmp_path: Path) -> None:
    (tmp_path / "origin").mkdir()
    make_repository(tmp_path / "origin")
    invoke(["init", "--commit"], tmp_path / "origin")
    (tmp_path / "origin" / "schemas" / "lora.v1.schema.json").write_text("{}\n")
    git(tmp_path / "origin", "commit", "--quiet", "--all", "--message", "Another version")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{tmp_path}/origin", "clone")

    found = checks(invoke(["doctor", "--json"], tmp_path / "clone"))

    assert found["history"]["fix"] == "git fetch --unshallow"
    assert found["schemas"] == {
        "code": "schemas",
        "fixable": True,
        "name": "schemas",
        "state": "warn",
        "message": "1 for editors are of another version of lora",
        "fix": "lora init --refresh-schemas",
    }


def test_a_clock_behind_the_newest_commit_is_told(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    environment = {"GIT_COMMITTER_DATE": "@4000000000 +0000", **os.environ}
    subprocess.run(
        ["git", "commit", "--quiet", "--allow-empty", "--message", "from the future"],
        cwd=tmp_path,
        env=environment,
        check=True,
    )

    assert checks(invoke(["doctor", "--json"], tmp_path))["clock"]["state"] == "warn"


def test_lfs_that_is_asked_for_and_not_installed_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(shutil.which("git") or "")
    only_git = {"PATH": str(tmp_path / "bin")}
    run_lora(["init", "--lfs"], tmp_path, only_git)

    found = checks(run_lora(["doctor", "--json"], tmp_path, only_git))["git lfs"]

    assert found["state"] == "fail"
    assert "git lfs install" in found["fix"]


def test_a_store_that_cannot_be_used_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workspace(tmp_path / "w")
    (tmp_path / "file").touch()
    monkeypatch.setenv("LORA_STORE_ROOT", str(tmp_path / "file"))

    answer = invoke(["doctor", "--json"], tmp_path / "w")

    assert answer.exit_code == 1
    assert checks(answer)["store"]["fix"] == "set store.root in config/local.json"


def test_secrets_are_named_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_show_this")

    for arguments in (["doctor", "--json"], ["doctor"]):
        answer = invoke(arguments, tmp_path)
        assert "HF_TOKEN" in answer.stdout
        assert "do_not_show" not in answer.stdout + answer.stderr


def test_the_findings_are_aligned_for_people(tmp_path: Path) -> None:
    lines = invoke(["doctor"], tmp_path).stdout.splitlines()

    assert lines[0].endswith("skipped")
    assert lines[1].split()[:2] == ["ok", "python"]
    assert len({line.index(word) for line, word in ((lines[1], "3."), (lines[2], "2."))}) == 1


# --- config explain ----------------------------------------------------------------------------


def test_every_setting_is_explained_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workspace(tmp_path)
    (tmp_path / "config" / "pipeline.yaml").write_text("project: neon_city\n")
    (tmp_path / "config" / "local.json").write_text('{"store": {"root": "/mnt/store"}}')
    monkeypatch.setenv("LORA_TRAINER", "mflux")

    answer = invoke(["config", "explain", "--json"], tmp_path)

    found = {one["key"]: one for one in answer.document["data"]["settings"]}
    assert (found["project"]["value"], found["project"]["source"]) == (
        "neon_city",
        "config/pipeline.yaml",
    )
    assert found["store.root"]["source"] == "config/local.json"
    assert found["trainers.default"]["source"] == "environment variable LORA_TRAINER"
    assert found["dataRoot"]["source"] == "default"
    assert found["store.root"]["files"] == ["config/local.json"]
    assert found["gate.policy"]["files"] == ["config/pipeline.yaml"]
    words = invoke(["config", "explain"], tmp_path).stdout
    assert "/mnt/store" in words
    assert "environment variable LORA_TRAINER" in words


def test_one_setting_is_explained_in_full(tmp_path: Path) -> None:
    make_workspace(tmp_path)

    assert invoke(["config", "explain", "trainers.default"], tmp_path).stdout.splitlines() == [
        "trainers.default = diffusers",
        "  what       Trainer used when --trainer is left out",
        "  from       default",
        "  default    diffusers",
        "  set it in  LORA_TRAINER or config/local.json or config/pipeline.yaml",
    ]


def test_a_setting_that_does_not_exist_is_answered_with_a_near_one(tmp_path: Path) -> None:
    make_workspace(tmp_path)

    answer = invoke(["config", "explain", "trainers.defalt", "--json"], tmp_path)

    assert answer.exit_code == 3
    assert answer.error["hint"] == "did you mean trainers.default?"


def test_settings_that_are_wrong_stop_every_command_before_it_writes(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    (tmp_path / "config" / "local.json").write_text(json.dumps({"hfToken": "hf_abcdefghijkl"}))
    before = tree_digest(tmp_path)

    for arguments in (["status"], ["config", "explain"], ["project", "create", "x"]):
        answer = invoke([*arguments, "--json"], tmp_path)
        assert answer.exit_code == 3
        assert answer.error["code"] == "settings_invalid"
        assert "hf_abcdefghijkl" not in answer.stdout + answer.stderr
    assert tree_digest(tmp_path) == before
