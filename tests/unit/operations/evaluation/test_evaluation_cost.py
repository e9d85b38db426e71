"""What is said before a grid is drawn: time, money, and what would leave this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.evaluation.pace import expected_seconds, remember_pace, work_of
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluate import GridOptions, render_subject
from lora_pipeline.operations.evaluation.evaluation_subject import find_target, subject_of
from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import LORA, PROJECT, SCOPE, add_subject, make_evaluation
from tests.support.fake_renderer import FakeRenderer
from tests.support.workspace_builders import make_workspace, reopen, tree_digest

AWAY = "https://draws.example"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    add_subject(workspace)
    return workspace


def grid(workspace: Workspace, renderer: FakeRenderer, **options: Any) -> Result:
    target = find_target(workspace, LORA, "", project=None, scope="project")
    subject = subject_of(workspace, target, suite_id="", prompts=())
    chosen = GridOptions(renderer="fake", **options)
    return render_subject(workspace, subject, chosen, {"fake": renderer})


def settle(workspace: Workspace, **spending: float) -> Workspace:
    lines = "".join(f"  {name}: {value}\n" for name, value in spending.items())
    (workspace.root / "config" / "pipeline.yaml").write_text(f"spending:\n{lines}")
    return reopen(workspace.root)


def test_nothing_is_sent_until_somebody_says_yes(workspace: Workspace) -> None:
    before = tree_digest(workspace.root)
    renderer = FakeRenderer(sends_to=AWAY, costs=0.05)
    result = grid(workspace, renderer)
    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert result.refusal.message == (
        f"the weights of ui_icons r1 and 12 prompts would be sent to {AWAY}, for about 0.75 USD"
    )
    assert "--yes-upload" in str(result.refusal.hint)
    assert result.suggestions == ("lora eval grid ui_icons r1 --renderer fake --yes-upload",)
    assert (renderer.opened, tree_digest(workspace.root)) == (0, before)


def test_with_a_yes_it_is_drawn(workspace: Workspace) -> None:
    renderer = FakeRenderer(sends_to=AWAY, costs=0.05)
    assert grid(workspace, renderer, yes_upload=True).data["rendered"] == 12


def test_a_price_of_next_to_nothing_is_said_as_such(workspace: Workspace) -> None:
    estimate = grid(workspace, FakeRenderer(sends_to=AWAY, costs=0.0001)).data["estimate"]
    assert estimate["words"].endswith(", for less than 0.01 USD")


def test_only_what_is_drawn_now_is_counted(workspace: Workspace) -> None:
    renderer = FakeRenderer(sends_to=AWAY, costs=0.05)
    estimate = grid(workspace, renderer, limit=2).data["estimate"]
    assert estimate["cost"] == pytest.approx(5 * 0.05)  # two cells, and three probes


@pytest.mark.parametrize(
    ("costs", "caps", "code", "words"),
    [
        (None, {}, "cost_unknown", "nobody can say what it would cost"),
        (1.0, {}, "spending_cap", "estimated at 15.00 USD, and a run may cost 10.00 USD"),
        (0.5, {"maxPerRun": 1}, "spending_cap", "and a run may cost 1.00 USD"),
        (0.5, {"maxPerProject": 3}, "spending_cap", "and may spend 3.00 USD"),
    ],
)
def test_a_price_is_held_against_the_caps_also_with_a_yes(
    workspace: Workspace, costs: float | None, caps: dict[str, float], code: str, words: str
) -> None:
    workspace = settle(workspace, **caps) if caps else workspace
    before = tree_digest(workspace.root)
    renderer = FakeRenderer(sends_to=AWAY, costs=costs)
    result = grid(workspace, renderer, yes_upload=True)
    assert result.refusal is not None
    assert result.refusal.code == code
    assert words in result.refusal.message
    assert (renderer.opened, tree_digest(workspace.root)) == (0, before)


def test_a_server_of_ones_own_on_another_machine_costs_nothing_and_is_asked_for(
    workspace: Workspace,
) -> None:
    result = grid(workspace, FakeRenderer(sends_to="http://render.studio.example:8188"))
    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert "USD" not in result.refusal.message


def test_a_dry_run_says_time_price_and_place_and_sends_nothing(workspace: Workspace) -> None:
    renderer = FakeRenderer(sends_to=AWAY, costs=0.05)
    dry = reopen(workspace.root, dry_run=True)
    estimate = grid(dry, renderer, yes_upload=True).data["estimate"]
    assert estimate == {
        "seconds": None,
        "cost": 0.75,
        "currency": "USD",
        "sentTo": AWAY,
        "words": "2 minutes at 10 s a cell, which was never measured here, for about 0.75 USD",
    }
    assert renderer.opened == 0


def test_how_long_a_cell_took_is_remembered_and_told_the_next_time(workspace: Workspace) -> None:
    grid(workspace, FakeRenderer(), limit=4)
    dry = reopen(workspace.root, dry_run=True)
    estimate = grid(dry, FakeRenderer()).data["estimate"]
    assert estimate["seconds"] >= 0
    assert "as measured last" in estimate["words"]


def test_a_pace_is_for_the_work_of_a_cell_and_damage_is_no_pace(workspace: Workspace) -> None:
    cell = make_evaluation().cells[0]
    assert expected_seconds(workspace, "fake", cell) is None
    remember_pace(workspace, "fake", 2.0)
    assert expected_seconds(workspace, "fake", cell) == pytest.approx(2.0 * work_of(cell))
    assert expected_seconds(workspace, "other", cell) is None
    path = workspace.runtime / "render-pace.json"
    for damage in ("{", "[]", '{"fake": "x"}', '{"fake": -1}', '{"fake": 1e999}'):
        path.write_text(damage)
        assert expected_seconds(workspace, "fake", cell) is None


def test_a_large_grid_says_how_long_it_takes_and_the_command_goes_on_with_the_renderer(
    workspace: Workspace,
) -> None:
    path = workspace.root / "config" / "suites" / "tiny_icon.yaml"
    path.write_text(path.read_text().replace("seeds: [1, 2]", f"seeds: {list(range(40))}"))
    result = grid(workspace, FakeRenderer())
    assert result.refusal is not None
    assert result.refusal.message == (
        "240 cells are to be drawn: 40 minutes at 10 s a cell, which was never measured here"
    )
    assert result.suggestions[0] == "lora eval grid ui_icons r1 --renderer fake --yes"


def test_what_a_renderer_could_not_prove_stands_in_the_record_and_is_told(
    workspace: Workspace,
) -> None:
    renderer = FakeRenderer(unproven=("which base model it is",), cautions=("it is open to all",))
    result = grid(workspace, renderer)
    assert "not proven: which base model it is" in result.warnings
    assert "it is open to all" in result.warnings
    (loaded,) = workspace.records.all(Evaluation, SCOPE)
    assert loaded.record.renderer is not None
    assert loaded.record.renderer.unproven == ("which base model it is",)


def test_a_renderer_with_a_base_of_its_own_needs_none_here(workspace: Workspace) -> None:
    (workspace.root / "models" / "base.safetensors").unlink()
    assert grid(workspace, FakeRenderer(loads_base=False)).data["rendered"] == 12
