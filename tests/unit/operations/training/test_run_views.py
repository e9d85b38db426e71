"""Runs are found, shown, read and settled."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation.errors import FileMissingError, RecordNotFoundError, StateError
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.run_reading import read_run_log
from lora_pipeline.operations.training.run_resume import resume_run
from lora_pipeline.operations.training.run_views import list_runs, show_run
from lora_pipeline.operations.training.train import train
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import process_of, run_folder, working_in
from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import FakeTrainer
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

SCOPE = Scope(PROJECT)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A studio with one run that is ready."""
    known = cast(MutableMapping[str, Trainer], TRAINERS)
    monkeypatch.setitem(known, "fake", FakeTrainer())
    found = training_studio(tmp_path / "studio", git=False)
    train(found, LORA, DATASET, trainer="fake", notes="kept")
    return found


def the_run(workspace: Workspace) -> Run:
    return next(workspace.records.all(Run, SCOPE)).record


def leave(workspace: Workspace, **fields: object) -> Run:
    """Put the run back into an earlier state, as a kill would have left it."""
    loaded = next(workspace.records.all(Run, SCOPE))
    changes = Changes(workspace)
    changes.update(loaded, replace(loaded.record, **fields))
    changes.apply()
    return the_run(workspace)


def without_release(workspace: Workspace) -> None:
    loaded = workspace.records.read(Lora, SCOPE, LORA)
    changes = Changes(workspace)
    changes.update(loaded, replace(loaded.record, releases=()))
    changes.apply()


def test_runs_are_listed_newest_first_and_filtered(workspace: Workspace) -> None:
    train(workspace, LORA, DATASET, trainer="fake")

    every = list_runs(workspace).data["runs"]

    assert [row["releaseId"] for row in every] == ["r2", "r1"]
    assert list_runs(workspace, state="failed").data["runs"] == []
    assert list_runs(workspace, lora="other").data["runs"] == []
    assert every[0]["finalLoss"] == 0.2


def test_a_run_is_found_by_either_end_of_its_id(workspace: Workspace) -> None:
    run = the_run(workspace)

    for part in (run.id, run.id[:20], run.id[-6:], run.id.lower()):
        assert show_run(workspace, part).data["runId"] == run.id
    with pytest.raises(RecordNotFoundError):
        show_run(workspace, "0")


def test_the_log_is_what_the_trainer_printed(workspace: Workspace) -> None:
    data = read_run_log(workspace, the_run(workspace).id, lines=2).data

    assert data["lines"] == ["step 4/5 loss 0.250", "step 5/5 loss 0.200"]
    assert data["linesInAll"] == 5


def test_a_log_of_another_machine_is_said_to_be_there(workspace: Workspace) -> None:
    run = the_run(workspace)
    (run_folder(workspace, run.id) / "log.txt").unlink()

    with pytest.raises(FileMissingError, match="not on this machine"):
        read_run_log(workspace, run.id)


def test_a_killed_run_is_interrupted_here_and_training_elsewhere(workspace: Workspace) -> None:
    run = leave(workspace, state="training", outputs=())

    assert show_run(workspace, run.id).data["state"] == "interrupted"
    run_folder(workspace, run.id).rename(workspace.runtime / "gone")
    assert show_run(workspace, run.id).data["state"] == "training"


def test_a_run_is_alive_while_its_folder_is_held(workspace: Workspace) -> None:
    run = leave(workspace, state="training", outputs=())

    with working_in(run_folder(workspace, run.id), workspace.now()):
        assert show_run(workspace, run.id).data["state"] == "training"
        assert process_of(workspace, run.id) == os.getpid()
        with pytest.raises(StateError, match="under way"):
            resume_run(workspace, run.id)
    assert process_of(workspace, run.id) is None


def test_a_run_that_lost_its_release_gets_it_without_training(workspace: Workspace) -> None:
    run = the_run(workspace)
    without_release(workspace)

    result = resume_run(workspace, run.id)

    (release,) = workspace.records.read(Lora, SCOPE, LORA).record.releases
    assert result.data["releaseId"] == "r1"
    assert (release.training["runId"], release.notes) == (run.id, "kept")
    assert len(list_runs(workspace).data["runs"]) == 1


def test_a_run_killed_after_its_weights_were_verified_is_finished(workspace: Workspace) -> None:
    without_release(workspace)
    run = leave(workspace, state="training", outputs=(), final_loss=None)

    resume_run(workspace, run.id)

    after = the_run(workspace)
    assert (after.state, after.final_loss) == ("ready", 0.2)
    assert after.outputs[0].step is None


def test_a_run_killed_in_training_is_trained_anew_with_the_same_recipe(
    workspace: Workspace,
) -> None:
    without_release(workspace)
    run = leave(workspace, state="training", outputs=())
    (run_folder(workspace, run.id) / "verified.json").unlink()

    result = resume_run(workspace, run.id)

    by_id = {one.record.id: one.record for one in workspace.records.all(Run, SCOPE)}
    again = by_id.pop(result.data["runId"])
    assert [one.state for one in by_id.values()] == ["failed"]
    assert again.recipe == run.recipe
    assert again.plan_digest == run.plan_digest


def test_a_run_that_ended_well_is_not_resumed(workspace: Workspace) -> None:
    before = tree_digest(workspace.data_root)

    with pytest.raises(StateError, match="it was not interrupted"):
        resume_run(workspace, the_run(workspace).id)

    assert tree_digest(workspace.data_root) == before


def test_cancelling_gives_a_killed_run_up(workspace: Workspace) -> None:
    run = leave(workspace, state="training", outputs=())

    assert cancel_run(workspace, run.id).data["state"] == "cancelled"
    assert the_run(workspace).state == "cancelled"
    with pytest.raises(StateError, match="cancelled already"):
        cancel_run(workspace, run.id)


def test_dry_runs_settle_nothing(workspace: Workspace) -> None:
    run = leave(workspace, state="training", outputs=())
    before = tree_digest(workspace.root)
    dry = reopen(workspace.root, dry_run=True)

    cancel_run(dry, run.id)
    resume_run(dry, run.id)

    assert tree_digest(workspace.root) == before
