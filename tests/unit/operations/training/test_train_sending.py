"""Caps of a project's own record, and two runs that begin at the same moment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import Project, ProjectSpending
from lora_pipeline.foundation.errors import TrainerError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.train import plan_training, train
from lora_pipeline.training.records import Cost, Run
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace
from tests.support.fake_fal_server import KEY, FakeFal, running_fal
from tests.support.hosted_builders import SCOPE, WEIGHTS, flux_studio, runs_of, settled
from tests.support.training_builders import DATASET, LORA
from tests.support.workspace_builders import reopen

pytest.importorskip("httpx2")
pytest.importorskip("fal_client")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFal]:
    monkeypatch.setenv("FAL_KEY", KEY)
    with running_fal() as service:
        service.weights = WEIGHTS
        yield service


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that every test copies; the base model beside it is only read."""
    folder = tmp_path_factory.mktemp("studio") / "studio"
    flux_studio(folder)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, studio: Path, service: FakeFal) -> Workspace:
    shutil.copytree(studio, tmp_path / "studio")
    at = service.address
    return settled(
        reopen(tmp_path / "studio"), "fal", baseUrl=at, storageUrl=at, filesUrl=at,
    )  # fmt: skip


def with_spending(workspace: Workspace, spending: ProjectSpending) -> Workspace:
    loaded = workspace.records.read(Project, SCOPE, "project")
    changes = Changes(workspace)
    changes.update(loaded, replace(loaded.record, spending=spending))
    changes.apply()
    return workspace


def send(workspace: Workspace, *, seed: int = 1) -> Result:
    return train(
        workspace, LORA, DATASET, trainer="fal", steps=1000, seed=seed, yes_upload=True
    )  # fmt: skip


def test_the_projects_record_lowers_what_a_run_may_cost(
    workspace: Workspace, service: FakeFal
) -> None:
    result = send(with_spending(workspace, ProjectSpending(max_per_run=1.5)))

    assert result.refusal is not None
    assert result.refusal.code == "spending_cap"
    assert "maxPerRun of the project's record" in (result.refusal.hint or "")
    assert service.requests == []
    assert runs_of(workspace) == []


def test_a_plan_that_would_be_refused_says_so_first(workspace: Workspace, service: FakeFal) -> None:
    capped = with_spending(workspace, ProjectSpending(max_per_run=1.5))

    plan = plan_training(capped, LORA, DATASET, trainer="fal", steps=1000)

    assert plan.warnings[0].startswith("it would be refused: it is estimated at 2.00 USD")
    assert plan.data["spending"]["maxPerRun"] == 1.5


def test_what_others_run_counts_with_its_estimate(workspace: Workspace, service: FakeFal) -> None:
    capped = with_spending(workspace, ProjectSpending(max_per_project=5.0))
    send(capped)
    (mine,) = runs_of(capped)
    # A run of somebody else, which came with Git: it is under way, and nobody knows its cost.
    theirs = replace(
        mine, id=new_ulid(), state="training", outputs=(), plan_digest="sha256:" + "9" * 64,
        cost=Cost(estimate=2.0), external_job_id="theirs",
    )  # fmt: skip
    changes = Changes(capped)
    changes.create(theirs, SCOPE, theirs.id)
    changes.apply()

    result = send(capped, seed=2)

    assert result.refusal is not None
    assert "has spent 4.00 USD, 2.00 USD of it estimates of 1 job" in result.refusal.message
    assert service.count("POST /fal-ai") == 1


def test_a_run_that_began_in_the_same_moment_is_seen_before_anything_leaves(
    workspace: Workspace, service: FakeFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    capped = with_spending(workspace, ProjectSpending(max_per_project=3.0))
    write = Changes.apply

    def both_at_once(changes: Changes) -> list[str]:
        written = write(changes)
        mine = [one for one in runs_of(capped) if one.state == "training"]
        if len(mine) == 1:
            other = replace(mine[0], id=new_ulid(), plan_digest="sha256:" + "9" * 64)
            second = Changes(capped)
            second.create(other, SCOPE, other.id)
            write(second)
        return written

    monkeypatch.setattr(Changes, "apply", both_at_once)

    with pytest.raises(TrainerError) as caught:
        send(capped)

    states = {run.state: run for run in runs_of(capped)}
    assert "may spend 3.00 USD" in caught.value.message
    assert isinstance(states["failed"], Run)
    assert states["failed"].error is not None
    assert states["failed"].error.code == "spending_cap"
    assert service.count("POST") == 0
