"""Many files change as one: whenever the process dies, all of it happened or nothing did."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Project
from lora_pipeline.foundation.errors import PipelineError, RecordConflictError, StateError
from lora_pipeline.operations.workspace.rename import rename_id
from lora_pipeline.workspace import journal
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.health.state import finish_interrupted
from lora_pipeline.workspace.layout import Scope
from tests.support.faults import Faults, armed, failing
from tests.support.journal_scenarios import prepare, rename_project, rename_style
from tests.support.workspace_builders import REPOSITORY, invoke, reopen, tree_digest

SCENARIOS = {"rename_style": rename_style, "rename_project": rename_project}


def records_of(folder: Path) -> dict[str, object]:
    """Return the records below a workspace, without the times of catalogs."""
    found = {}
    for path, data in tree_digest(folder / "data").items():
        document = json.loads(data) if path.endswith(".json") else data
        if isinstance(document, dict) and "catalogs" in path:
            document.pop("updatedAt", None)
        found[path] = document
    return found


@pytest.mark.parametrize(
    "name", ["rename_style", pytest.param("rename_project", marks=pytest.mark.slow)]
)
def test_death_at_any_call_leaves_all_or_nothing_or_a_journal_that_doctor_finishes(
    name: str, tmp_path: Path
) -> None:
    prepare(tmp_path / "before")
    before = records_of(tmp_path / "before")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.faults",
         f"tests.support.journal_scenarios:{name}", str(tmp_path)],
        cwd=REPOSITORY, capture_output=True, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = records_of(tmp_path / "warm")
    calls = int(done.stdout)
    assert calls > 10
    assert after != before

    halfway = 0
    for at in range(1, calls + 1):
        folder = tmp_path / str(at)
        workspace = reopen(folder)
        waiting = journal.pending(workspace.root, workspace.runtime)
        if waiting:
            halfway += 1
            with pytest.raises(StateError, match="interrupted half-way"):
                rename_id(workspace, "scenario", "plain", "empty", project="neon_city")
        else:
            assert records_of(folder) in (before, after), at
        finish_interrupted(workspace)
        assert not waiting or records_of(folder) == after, at
        assert not journal.pending(workspace.root, workspace.runtime)
        assert journal.undecided(workspace.runtime) == []
    assert halfway > 3


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_disk_that_refuses_at_any_call_loses_nothing(name: str, tmp_path: Path) -> None:
    prepare(tmp_path / "before")
    before = records_of(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "whole")
    SCENARIOS[name](tmp_path / "whole")
    after = records_of(tmp_path / "whole")
    at, fired = 0, True
    while fired:
        at += 1
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "before", folder)
        with (
            armed(Faults(folder, at, failing(errno.ENOSPC))) as faults,
            contextlib.suppress(PipelineError, OSError),
        ):
            SCENARIOS[name](folder)
        fired = faults.fired
        workspace = reopen(folder)
        waiting = bool(journal.pending(workspace.root, workspace.runtime))
        finish_interrupted(workspace)
        assert records_of(folder) in ((after,) if waiting else (before, after)), at
    assert at > 10


def interrupted(folder: Path) -> Path:
    """Leave a workspace with a journal that was decided, and nothing of it done."""
    prepare(folder)
    workspace = reopen(folder)
    loaded = workspace.records.read(Project, Scope("neon_city"), "project")
    document = loaded.record.to_dict() | {"notes": "changed"}
    changes = Changes(workspace)
    changes.rewrite(Project, loaded.path, document, based_on=loaded.digest)
    changes._decided("a step")
    return loaded.path


def test_what_was_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("Neon City", "Other"))

    with pytest.raises(RecordConflictError, match="a step was interrupted, and data/") as caught:
        finish_interrupted(reopen(tmp_path))

    assert "restore data/projects/neon_city/project.json from Git" in str(caught.value.hint)
    assert "Other" in path.read_text(encoding="utf-8")


def test_validate_and_doctor_name_what_is_half_way_and_the_command(tmp_path: Path) -> None:
    interrupted(tmp_path)

    found = invoke(["validate", "--json"], tmp_path).document["data"]["findings"]
    assert [(one["code"], one["severity"], one["fix"]) for one in found] == [
        ("step_interrupted", "error", "lora doctor --fix")
    ]
    checked = invoke(["doctor", "--json"], tmp_path)
    journals = [one for one in checked.document["data"]["checks"] if one["code"] == "journal"]
    assert journals[0]["state"] == "fail"
    assert checked.document["suggestions"][0] == "lora doctor --fix"

    assert invoke(["doctor", "--fix"], tmp_path).exit_code == 0
    assert invoke(["validate"], tmp_path).exit_code == 0


def test_a_dry_run_of_the_mending_mends_nothing(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    before = path.read_bytes()

    answer = invoke(["doctor", "--fix", "--dry-run", "--json"], tmp_path)

    assert [one["code"] for one in answer.document["data"]["mended"]] == ["line_ends", "journal"][
        -len(answer.document["data"]["mended"]) :
    ]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"path": "../outside.json"}, "unsafe_path"),
        ({"path": ".git/hooks/pre-commit"}, "unsafe_path"),
        ({"path": "/etc/x"}, "unsafe_path"),
        ({"staged": "../../../config/pipeline.yaml"}, "unsafe_path"),
        ({"after": "sha256:" + "0" * 64}, "digest_mismatch"),
        ({"action": "run"}, "record_conflict"),
    ],
)
def test_a_journal_that_was_written_by_somebody_else_leads_nowhere(
    tmp_path: Path, change: dict[str, str], code: str
) -> None:
    interrupted(tmp_path / "studio")
    [index] = (tmp_path / "studio/.lora/journal").glob("*/index.json")
    document = json.loads(index.read_text(encoding="utf-8"))
    document["steps"][0].update(change)
    index.write_text(json.dumps(document), encoding="utf-8")
    before = tree_digest(tmp_path)

    with pytest.raises(PipelineError) as caught:
        finish_interrupted(reopen(tmp_path / "studio"))

    assert caught.value.code == code
    after = {name: data for name, data in tree_digest(tmp_path).items() if "/lock" not in name}
    assert after == {name: data for name, data in before.items() if "/lock" not in name}
