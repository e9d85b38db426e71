from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.drawn_log import DrawnLog
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.sweep_rendering import sweep_folder
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import DigestMismatchError, RecordNotFoundError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluation_sweep import sweep_checkpoints, sweep_run
from lora_pipeline.operations.evaluation.evaluation_sweep_plan import SweepOptions
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import OutputFile, Recipe, Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.evaluation_builders import (
    CHECKPOINT,
    LORA,
    MANIFEST_HASH,
    PROJECT,
    RELEASE,
    SCOPE,
    add_subject,
    files_below,
)
from tests.support.fake_renderer import FakeRenderer
from tests.support.grid_rendering import render
from tests.support.workspace_builders import make_workspace

RUN = "01JNMG7Z9S0000000000000001"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    final = add_subject(workspace)
    folder = run_folder(workspace, RUN) / "output"
    folder.mkdir(parents=True)
    kept = []
    for step in (100, 200):
        file = folder / f"step{step}.safetensors"
        file.write_bytes(f"weights of step {step}".encode())
        kept.append((f"output/{file.name}", sha256_of_file(file), step))
    add_run(workspace, ("output/final.safetensors", final, None), *kept)
    return workspace


def add_run(workspace: Workspace, *outputs: tuple[str, str, int | None]) -> None:
    changes = Changes(workspace)
    run = Run(
        id=RUN,
        lora_id=LORA,
        release_id=RELEASE,
        state="ready",
        trainer="diffusers",
        created_at=workspace.now(),
        updated_at=workspace.now(),
        plan_digest="sha256:" + "6" * 64,
        dataset_id="icons",
        manifest_hash=MANIFEST_HASH,
        checkpoint_id=CHECKPOINT,
        checkpoint_digest="sha256:" + "2" * 64,
        recipe=Recipe(),
        steps_done=300,
        steps_planned=300,
        outputs=tuple(
            OutputFile(name=name, sha256=sha256, bytes=20, step=step)
            for name, sha256, step in outputs
        ),
    )
    changes.create(run, SCOPE, RUN)
    changes.apply()


def sweep(workspace: Workspace, renderer: FakeRenderer, **options: Any) -> Result:
    lora = workspace.records.read(Lora, SCOPE, LORA)
    run = workspace.records.read(Run, SCOPE, RUN).record
    chosen = SweepOptions(**{"renderer": "fake", **options})
    return sweep_checkpoints(workspace, lora, run, chosen, {"fake": renderer})


def test_every_kept_checkpoint_is_drawn_beside_the_base_which_is_drawn_once(
    workspace: Workspace,
) -> None:
    renderer = FakeRenderer()
    result = sweep(workspace, renderer)
    assert result.success
    assert [one["step"] for one in result.data["steps"]] == [100, 200, 300]
    # Two prompts and two seeds: 4 cells of the base, 4 of each checkpoint.
    assert len(renderer.drawn) == 4 + 3 * 4
    assert sum(cell.strength == 0 for cell in renderer.drawn) == 4
    assert (workspace.root / result.data["sheet"]).read_bytes().startswith(b"\x89PNG")


def test_a_sweep_writes_no_record(workspace: Workspace) -> None:
    before = files_below(workspace.data_root)
    sweep(workspace, FakeRenderer())
    assert files_below(workspace.data_root) == before


def test_every_checkpoint_is_proven_anew_and_that_is_paid(workspace: Workspace) -> None:
    renderer = FakeRenderer(sends_to="https://draws.example", costs=0.05)
    result = sweep(workspace, renderer)
    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    # Sixteen cells, and three probes for each of three checkpoints.
    assert result.data["estimate"]["cost"] == pytest.approx((16 + 9) * 0.05)
    assert renderer.opened == 0


def test_a_sweep_that_was_drawn_is_not_drawn_again(workspace: Workspace) -> None:
    first = sweep(workspace, FakeRenderer())
    again = FakeRenderer()
    second = sweep(workspace, again)
    assert (again.opened, second.data["reused"]) == (0, 16)
    assert second.data["steps"] == first.data["steps"]


def test_a_release_grid_takes_over_what_the_sweep_drew(workspace: Workspace) -> None:
    sweep(workspace, FakeRenderer())
    grid = FakeRenderer()
    render(workspace, grid)
    # Of 12 cells the sweep drew the base and the highest strength of the last step.
    assert [cell.strength for cell in grid.drawn] == [0.5] * 4


def test_a_sweep_takes_over_the_base_that_a_release_grid_drew(workspace: Workspace) -> None:
    render(workspace, FakeRenderer())
    renderer = FakeRenderer()
    result = sweep(workspace, renderer)
    assert not [cell for cell in renderer.drawn if cell.strength == 0]
    assert result.data["reused"] == 8
    again = FakeRenderer()
    assert sweep(workspace, again).data["reused"] == 16
    assert again.opened == 0


def test_another_program_draws_all_of_it_anew(workspace: Workspace) -> None:
    first = sweep(workspace, FakeRenderer())
    assert first.data["rendered"] == 16
    store = open_store(workspace)
    lost = next(iter(DrawnLog(sweep_folder(workspace, RUN)).read()))
    store.path(lost.image_sha256).unlink()
    assert sweep(workspace, FakeRenderer(version="2.0")).data["rendered"] == 16


def test_a_cell_that_failed_leaves_a_hole_and_is_tried_again(workspace: Workspace) -> None:
    refused = sweep(workspace, FakeRenderer(fault="black"))
    assert refused.refusal is not None
    assert refused.refusal.message == "12 cells have no picture"
    again = FakeRenderer()
    assert sweep(workspace, again).success
    assert len(again.drawn) == 12


def test_after_a_crash_the_rest_is_drawn_in_another_session(workspace: Workspace) -> None:
    renderer = FakeRenderer(crash_at=3, crashes=1)
    result = sweep(workspace, renderer)
    assert (result.data["rendered"], result.data["failed"]) == (15, 1)


def test_a_dry_run_says_what_there_is_to_draw_and_draws_nothing(workspace: Workspace) -> None:
    renderer = FakeRenderer()
    result = sweep(replace(workspace, dry_run=True), renderer)
    assert (result.dry_run, result.data["toRender"], renderer.opened) == (True, 16, 0)
    assert not sweep_folder(workspace, RUN).exists()


def test_a_large_sweep_asks_first(workspace: Workspace) -> None:
    prompts = tuple(f"{{trigger}}, thing {number}" for number in range(60))
    result = sweep(workspace, FakeRenderer(), prompts=prompts)
    assert result.refusal is not None
    assert result.refusal.code == "confirmation_needed"
    assert result.suggestions[0].endswith(" --yes")


def test_a_checkpoint_that_is_gone_is_left_out_and_said(workspace: Workspace) -> None:
    (run_folder(workspace, RUN) / "output" / "step100.safetensors").unlink()
    result = sweep(workspace, FakeRenderer())
    assert result.data["stepsCompared"] == [200, 300]
    assert "not on this machine: step 100" in result.warnings


def test_a_checkpoint_that_is_another_one_is_refused(workspace: Workspace) -> None:
    (run_folder(workspace, RUN) / "output" / "step100.safetensors").write_bytes(b"other")
    with pytest.raises(DigestMismatchError, match="step100"):
        sweep(workspace, FakeRenderer())


def test_a_run_that_kept_nothing_names_the_setting(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    final = add_subject(workspace)
    add_run(workspace, ("output/final.safetensors", final, None))
    with pytest.raises(RecordNotFoundError, match="kept a checkpoint") as caught:
        sweep_run(workspace, LORA)
    assert "saveEvery" in str(caught.value.hint)
    assert not list(workspace.records.all(Evaluation, SCOPE))


def test_what_is_advised_comes_with_the_command_that_makes_it_a_release(
    workspace: Workspace,
) -> None:
    result = sweep(workspace, FakeRenderer())
    assert result.data["advice"]["step"] == 100
    assert result.suggestions[0] == (
        f"lora release register {LORA} .lora/runs/{RUN}/output/step100.safetensors --dataset icons"
    )
