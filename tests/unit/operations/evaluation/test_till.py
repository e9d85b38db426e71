"""What pictures cost is recorded before they are ordered, and counted however it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.evaluation.orders import OrderBook
from lora_pipeline.evaluation.rendering import private_folder
from lora_pipeline.foundation.errors import StateError
from lora_pipeline.operations.evaluation.evaluation_cost import GridEstimate
from lora_pipeline.operations.evaluation.evaluation_subject import find_target
from lora_pipeline.operations.evaluation.till import Till, settle_left, till_for
from lora_pipeline.training.records import Expense
from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import LORA, PROJECT, SCOPE, add_subject
from tests.support.workspace_builders import make_workspace, reopen

NAME = "generate-0123456789abcdef"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    add_subject(workspace)
    return workspace


def till(workspace: Workspace, cost: float = 6.0, sent_to: str = "https://draws.example") -> Till:
    target = find_target(workspace, LORA, "", project=None, scope="project")
    estimate = GridEstimate(1, None, cost, "USD", sent_to, 3)
    return till_for(workspace, target, estimate, service="fal", purpose="scene")


def expenses(workspace: Workspace) -> list[Expense]:
    return [one.record for one in workspace.records.all(Expense, SCOPE)]


@pytest.mark.parametrize(("cost", "sent_to"), [(0.0, "https://draws.example"), (6.0, "")])
def test_what_costs_nothing_is_no_expense(workspace: Workspace, cost: float, sent_to: str) -> None:
    free = till(workspace, cost, sent_to)
    with private_folder(workspace, NAME) as folder, free.opened(folder):
        assert expenses(workspace) == []
    assert (free.facts(), free.written) == (None, [])


def test_it_counts_from_before_the_first_order_and_ends_with_what_was_ordered(
    workspace: Workspace,
) -> None:
    taken = till(workspace)
    with private_folder(workspace, NAME) as folder, taken.opened(folder):
        (begun,) = expenses(workspace)
        assert (begun.ended_at, begun.cost.estimate, begun.cost.actual) == ("", 6.0, None)
        OrderBook(folder).add(1.5)
        OrderBook(folder).add(1.5)
    (ended,) = expenses(workspace)
    assert ended.ended_at
    assert (ended.pictures, ended.cost.actual) == (2, 3.0)
    assert taken.written == [f"data/projects/{PROJECT}/expenses/{ended.id}.json"]


def test_an_error_or_an_interruption_does_not_lose_what_was_ordered(workspace: Workspace) -> None:
    def interrupted() -> None:
        with private_folder(workspace, NAME) as folder, till(workspace).opened(folder):
            OrderBook(folder).add(1.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [one.cost.actual for one in expenses(workspace)] == [1.5]


def test_nothing_is_ordered_when_somebody_else_used_up_the_cap_meanwhile(
    workspace: Workspace,
) -> None:
    (workspace.root / "config" / "pipeline.yaml").write_text("spending: {maxPerProject: 10}\n")
    workspace = reopen(workspace.root)
    mine, theirs = till(workspace), till(workspace)
    with (
        private_folder(workspace, "generate-other") as other,
        theirs.opened(other),
        private_folder(workspace, NAME) as folder,
    ):
        OrderBook(other).add(6.0)
        with (
            pytest.raises(StateError, match=r"spent 6\.00 USD.* may spend 10\.00 USD"),
            mine.opened(folder),
        ):
            raise AssertionError("it was opened")
        assert [one.id for one in expenses(workspace)] == [
            str(theirs.planned and theirs.planned.id)
        ]


def test_who_draws_is_left_alone_and_who_was_killed_is_counted(workspace: Workspace) -> None:
    with private_folder(workspace, NAME) as folder, till(workspace).opened(folder):
        OrderBook(folder).add(2.0)
        assert settle_left(workspace) == []
    killed = till(workspace).planned
    assert killed is not None
    till(workspace)._record(killed)  # as far as a kill lets it come
    with private_folder(workspace, NAME) as folder:
        OrderBook(folder).begin(killed.id, PROJECT)
        OrderBook(folder).add(1.0)
    assert settle_left(workspace) == [f"data/projects/{PROJECT}/expenses/{killed.id}.json"]
    assert settle_left(workspace) == []
    assert sorted(one.cost.actual or 0 for one in expenses(workspace)) == [1.0, 2.0]
