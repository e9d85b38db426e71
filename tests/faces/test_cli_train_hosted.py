"""``lora train``, ``run`` and ``setup`` with trainers that cost money: what people read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dataset_builders import PROJECT
from tests.support.fake_replicate_server import TOKEN, VERSION, FakeReplicate, running_replicate
from tests.support.hosted_builders import WEIGHTS, capped, flux_studio, runs_of, settled
from tests.support.training_builders import DATASET, LORA
from tests.support.workspace_builders import invoke, reopen

pytest.importorskip("httpx2")
pytest.importorskip("replicate")
TRAIN = [
    "--project", PROJECT, "train", "--lora", LORA, "--dataset", DATASET, "--trainer", "replicate",
    "--steps", "1000",
]  # fmt: skip


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReplicate]:
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
    monkeypatch.setenv("LORA_IDENTITY", "kim@studio.example")
    with running_replicate() as service:
        service.weights = {"output/flux_train_replicate/lora.safetensors": WEIGHTS}
        yield service


@pytest.fixture
def root(tmp_path: Path, service: FakeReplicate) -> Path:
    workspace = flux_studio(tmp_path / "studio")
    settled(
        workspace, "replicate",
        baseUrl=service.address, version=VERSION, destination="studio/lora",
    )  # fmt: skip
    return tmp_path / "studio"


def test_a_refusal_lists_what_would_leave_and_what_it_would_cost(
    root: Path, service: FakeReplicate
) -> None:
    answer = invoke(TRAIN, root)

    assert answer.exit_code == 1
    assert "refused · 4 images and 4 captions" in answer.stdout
    assert "leaves     8 files" in answer.stdout
    assert "… 2 more (--json lists every one)" in answer.stdout
    assert "cost       about 2.01 USD, about 22 min" in answer.stdout
    assert "caps       10.00 USD a run, 100.00 the project, 0.00 of it used" in answer.stdout
    assert "--yes-upload" in answer.stdout
    assert service.requests == []


def test_a_cap_is_said_with_where_it_is_set(root: Path, service: FakeReplicate) -> None:
    capped(reopen(root), per_run=1.5)

    answer = invoke([*TRAIN, "--yes-upload"], root)

    assert answer.exit_code == 1
    assert "it is estimated at 2.01 USD, and a run may cost 1.50 USD" in answer.stdout
    assert "raise spending.maxPerRun in config/pipeline.yaml" in answer.stdout
    assert "--yes-upload" not in answer.stdout
    assert service.requests == []


def test_run_list_and_run_show_tell_the_money(root: Path, service: FakeReplicate) -> None:
    assert invoke([*TRAIN, "--yes-upload"], root).exit_code == 0
    (run,) = runs_of(reopen(root))

    listed = invoke(["--project", PROJECT, "run", "list"], root).stdout
    shown = invoke(["--project", PROJECT, "run", "show", run.id], root).stdout

    assert "0.92 USD paid" in listed or "0.91 USD paid" in listed
    assert "estimated  1000 steps at 1.2 s" in shown
    assert "no bill" in shown
    assert "job        training1" in shown


def test_a_job_in_doubt_is_said_with_both_ways_out(root: Path, service: FakeReplicate) -> None:
    service.misbehave(
        f"POST /v1/models/ostris/flux-dev-lora-trainer/versions/{VERSION}/trainings", "lost"
    )
    service.forgets_inputs = True

    answer = invoke([*TRAIN, "--yes-upload", "--json"], root)

    (run,) = runs_of(reopen(root))
    error = json.loads(answer.stdout)["error"]
    assert answer.exit_code == 3
    assert f"lora run resume {run.id} --job training1" in error["hint"]
    resumed = invoke(
        ["--project", PROJECT, "run", "resume", run.id, "--job", "training1"], root
    )  # fmt: skip
    assert resumed.exit_code == 0, resumed.stderr
    assert len(service.trainings) == 1


def test_setup_records_what_it_learnt_and_check_writes_nothing(
    root: Path, service: FakeReplicate
) -> None:
    local = root / "config" / "local.json"
    local.write_text(json.dumps({"trainers": {"replicate": {"baseUrl": service.address}}}))
    before = local.read_bytes()

    checked = invoke(["setup", "replicate", "--check"], root)
    tried = invoke(["setup", "replicate", "--dry-run"], root)

    assert checked.exit_code == 1
    assert "no version of the trainer is set" in checked.stdout
    assert local.read_bytes() == before
    assert tried.exit_code == 1
    done = invoke(["setup", "replicate"], root)
    assert done.exit_code == 0
    assert json.loads(local.read_bytes())["trainers"]["replicate"]["version"] == VERSION


def test_setup_without_a_token_says_which_variable(
    root: Path, service: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN")

    answer = invoke(["setup", "replicate"], root)

    assert answer.exit_code == 1
    assert "REPLICATE_API_TOKEN does not hold a token" in answer.stdout
    assert service.requests == []
