"""What runs count for, and which jobs are refused for what they would cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import ProjectSpending
from lora_pipeline.training.hosted.interface import FREE, JobEstimate
from lora_pipeline.training.hosted.spending import (
    Account,
    Cap,
    Caps,
    account_of,
    caps_of,
    counts_for,
    money,
    spending_refusal,
)
from lora_pipeline.training.records import Cost, Expense, Run, RunError
from lora_pipeline.workspace.settings import Settings, read_settings
from tests.support.workspace_builders import REPOSITORY

EXAMPLE = REPOSITORY / "tests" / "examples" / "run" / "valid" / "ready.json"
CAPS = Caps(Cap(10.0, "spending.maxPerRun"), Cap(50.0, "spending.maxPerProject"), "USD")


def run_with(state: str, cost: Cost, *, job: str = "", error: str = "") -> Run:
    run = Run.from_dict(json.loads(EXAMPLE.read_text()))
    told = RunError(code=error, message="…") if error else None
    return replace(run, state=state, cost=cost, external_job_id=job, error=told)


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "pipeline.yaml").write_text(text)
    return read_settings(folder, {})


@pytest.mark.parametrize(
    ("state", "job", "error", "actual", "counted"),
    [
        ("ready", "job", "", 3.0, (3.0, True)),
        ("ready", "job", "", None, (2.0, False)),
        ("training", "", "", None, (2.0, False)),
        ("training", "job", "", 0.5, (2.0, False)),
        ("training", "job", "", 2.5, (2.5, False)),
        ("queued", "", "", None, (2.0, False)),
        ("cancelled", "job", "", None, (2.0, False)),
        ("cancelled", "", "", None, (0.0, True)),
        ("failed", "job", "out_of_memory", None, (2.0, False)),
        ("failed", "job", "out_of_memory", 0.0, (0.0, True)),
        ("failed", "", "service_refused", None, (0.0, True)),
        ("failed", "", "service_unreachable", None, (2.0, False)),
        ("failed", "", "job_in_doubt", None, (2.0, False)),
        ("failed", "", "interrupted", None, (2.0, False)),
    ],
)
def test_a_run_counts_for_what_was_paid_else_for_what_may_still_come(
    state: str, job: str, error: str, actual: float | None, counted: tuple[float, bool]
) -> None:
    run = run_with(state, Cost(estimate=2.0, actual=actual), job=job, error=error)

    assert counts_for(run) == counted


def test_paid_and_open_are_told_apart_and_other_currencies_are_named() -> None:
    runs = [
        run_with("ready", Cost(estimate=2.0, actual=1.5), job="a"),
        run_with("training", Cost(estimate=4.0), job="b"),
        run_with("ready", Cost(estimate=1.0, actual=1.0, currency="EUR"), job="c"),
        run_with("ready", Cost()),
    ]

    account = account_of(runs, "USD")

    assert account == Account(paid=1.5, open=4.0, unsettled=1, other=("EUR",))
    assert account.total == 5.5


def test_what_costs_nothing_is_never_refused() -> None:
    nothing = Caps(Cap(0.0, "a"), Cap(0.0, "b"), "USD")

    assert spending_refusal(FREE, nothing, Account(paid=99.0, other=("EUR",))) is None


@pytest.mark.parametrize(
    ("estimate", "account", "code", "words"),
    [
        (JobEstimate(10.01, 5.0), Account(), "spending_cap", "a run may cost 10.00 USD"),
        (JobEstimate(5.0, 5.0), Account(paid=45.01), "spending_cap", "has spent 45.01 USD"),
        (JobEstimate(5.0, 5.0), Account(40, 6, 2), "spending_cap", "6.00 USD of it estimates of 2"),
        (JobEstimate(None, None), Account(), "cost_unknown", "nobody can say"),
        (JobEstimate(1.0, 1.0, "EUR"), Account(), "cost_unknown", "EUR, the caps are in USD"),
        (JobEstimate(1.0, 1.0), Account(other=("EUR",)), "cost_unknown", "EUR, the caps in USD"),
    ],
)
def test_a_job_beyond_a_cap_or_of_unknown_cost_is_refused_with_the_numbers(
    estimate: JobEstimate, account: Account, code: str, words: str
) -> None:
    refusal = spending_refusal(estimate, CAPS, account)

    assert refusal is not None
    assert refusal.code == code
    assert words in refusal.message
    assert refusal.hint


@pytest.mark.parametrize(
    "account", [Account(), Account(paid=40.0), Account(open=40.0, unsettled=3)]
)
def test_a_job_up_to_the_caps_is_sent(account: Account) -> None:
    assert spending_refusal(JobEstimate(10.0, 5.0), CAPS, account) is None


def test_the_project_may_lower_a_cap_and_not_raise_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "spending: {maxPerRun: 20, maxPerProject: 30}")

    caps = caps_of(settings, ProjectSpending(max_per_run=5.0, max_per_project=500.0))

    assert (caps.per_run.amount, caps.per_project.amount) == (5.0, 30.0)
    assert "project's record" in caps.per_run.source
    assert caps.per_project.source == "spending.maxPerProject in config/pipeline.yaml"


def test_without_settings_there_are_caps(tmp_path: Path) -> None:
    caps = caps_of(read_settings(tmp_path, {}), None)

    assert (caps.per_run.amount, caps.per_project.amount, caps.currency) == (10.0, 100.0, "USD")


def test_little_money_is_not_told_as_none() -> None:
    assert money(0.004, "USD") == "less than 0.01 USD"
    assert money(0.0, "USD") == "0.00 USD"
    assert money(1.005, "EUR") == "1.00 EUR"


@pytest.mark.parametrize(
    ("ended", "cost", "counted"),
    [
        ("2026-03-01T12:00:00Z", Cost(estimate=2.0, actual=0.5), (0.5, True)),
        ("2026-03-01T12:00:00Z", Cost(estimate=2.0), (2.0, False)),
        ("", Cost(estimate=2.0), (2.0, False)),
        ("", Cost(estimate=2.0, actual=2.5), (2.5, False)),
    ],
)
def test_pictures_count_with_their_estimate_until_they_are_counted(
    ended: str, cost: Cost, counted: tuple[float, bool]
) -> None:
    expense = Expense(
        id="01JNAB0000000000000000000D", purpose="grid", lora_id="ui_icons", release_id="r1",
        service="fal", created_at="2026-03-01T11:00:00Z", ended_at=ended, cost=cost,
    )  # fmt: skip
    assert counts_for(expense) == counted
    account = account_of([expense], "USD")
    assert (account.paid, account.open) == (counted[0], 0.0)[:: 1 if counted[1] else -1]
