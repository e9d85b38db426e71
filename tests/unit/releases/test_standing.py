"""What comes next for a LoRA is told from its records."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lora_pipeline.evaluation.records import Evaluation, Review, ReviewBinding
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.releases.standing import next_for_lora, state_of
from lora_pipeline.training.records import Recipe, Run, RunState

NOW = "2026-03-01T12:00:00Z"


def release(release_id: str, status: Any = "candidate", **fields: Any) -> Release:
    at = f"2026-03-01T12:00:{int(release_id[1:]):02}Z"
    return Release(id=release_id, created_at=at, status=status, **fields)


def lora(*releases: Release, active: str = "") -> Lora:
    return Lora(
        id="icons", name="Icons", created_at=NOW, updated_at=NOW, scope="project",
        checkpoint_id="base", asset_types=("ui_icon",), releases=releases, active_release_id=active,
    )  # fmt: skip


def evaluation(release_id: str, status: Any = "complete", lora_id: str = "icons") -> Evaluation:
    return Evaluation(
        id=f"e_{release_id}_{status}", lora_id=lora_id, release_id=release_id, created_at=NOW,
        status=status,
    )  # fmt: skip


def review(of: Evaluation, verdict: Any, at: str = NOW) -> Review:
    return Review(
        id=f"v_{at}", evaluation_id=of.id, lora_id=of.lora_id, release_id=of.release_id,
        reviewer="kim@studio", verdict=verdict, created_at=at, cells_seen=1, cells_total=1,
        binding=ReviewBinding(
            weights_sha256="", tensor_sha256="", manifest_hash="", suite_digest="",
            result_digest="",
        ),
    )  # fmt: skip


GRID = evaluation("r1")


@pytest.mark.parametrize(
    ("one", "evaluations", "reviews", "step"),
    [
        (lora(), [], [], "lora train --lora icons --dataset ui_icon"),
        (lora(release("r1", "deprecated")), [], [], "lora train --lora icons --dataset ui_icon"),
        (lora(release("r1")), [], [], "lora eval grid icons r1"),
        (lora(release("r1")), [evaluation("r1", "running")], [], "lora eval grid icons r1"),
        (lora(release("r1")), [evaluation("r1", lora_id="x")], [], "lora eval grid icons r1"),
        (lora(release("r1")), [GRID], [], "lora eval review icons r1"),
        (lora(release("r1")), [GRID], [review(GRID, "approved")], "lora promote icons r1"),
        (lora(release("r1", "approved")), [], [], "lora promote icons r1"),
        (lora(release("r1", "approved"), active="r1"), [], [], ""),
        (lora(release("r1", "approved"), release("r2"), active="r1"), [], [],
         "lora eval grid icons r2"),
        (lora(release("r2"), release("r1", "approved"), active="r1"), [], [],
         "lora eval grid icons r2"),
    ],
)  # fmt: skip
def test_the_next_command_follows_the_work(
    one: Lora, evaluations: list[Evaluation], reviews: list[Review], step: str
) -> None:
    assert next_for_lora(one, evaluations, reviews, ["ui_icon"]) == step


@pytest.mark.parametrize("verdict", ["rejected", "needs_work"])
def test_after_a_no_it_is_trained_again_on_its_own_dataset(verdict: str) -> None:
    one = lora(release("r1", training={"datasetId": "flat_icons"}))
    reviews = [
        review(GRID, verdict, "2026-03-02T12:00:00Z"),
        review(GRID, "approved", "2026-03-01T12:00:00Z"),
    ]

    assert next_for_lora(one, [GRID], reviews, []) == (
        "lora train --lora icons --dataset flat_icons"
    )


@pytest.mark.parametrize("datasets", [[], ["a", "b"]])
def test_which_dataset_is_left_open_when_it_cannot_be_told(datasets: list[str]) -> None:
    assert next_for_lora(lora(), [], [], datasets) == "lora train --lora icons --dataset DATASET"


def test_a_verdict_on_another_grid_is_none() -> None:
    other = msgspec.structs.replace(GRID, id="another")

    step = next_for_lora(lora(release("r1")), [GRID], [review(other, "approved")], [])

    assert step == "lora eval review icons r1"


def run(state: RunState, day: int = 1, lora_id: str = "icons") -> Run:
    return Run(
        id=f"01JZ8B9Q6V3W2K4M5N7P8R9S0{day}", lora_id=lora_id, release_id="r1", state=state,
        trainer="fake", created_at=f"2026-03-0{day}T12:00:00Z", updated_at="", plan_digest="",
        dataset_id="d", manifest_hash="", checkpoint_id="tiny", checkpoint_digest="",
        recipe=Recipe(steps=1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "runs", "state"),
    [
        (lora(), [], "created"),
        (lora(), [run("cancelled")], "created"),
        (lora(), [run("queued")], "queued"),
        (lora(), [run("created")], "queued"),
        (lora(), [run("queued", 1), run("training", 2)], "training"),
        (lora(), [run("failed", 1)], "failed"),
        (lora(), [run("failed", 1), run("cancelled", 2)], "created"),
        (lora(), [run("failed", 1, lora_id="other")], "created"),
        (lora(release("r1")), [run("failed", 1)], "ready"),
        (lora(release("r1")), [run("training", 1)], "training"),
    ],
)
def test_where_a_lora_stands_is_told_by_its_runs_and_releases(
    one: Lora, runs: list[Run], state: str
) -> None:
    assert state_of(one, runs) == state
