"""What every trainer is given for every model that it trains, line by line, in ``tests/goldens``.

``make goldens`` writes them anew; a pull request then shows what becomes different.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_pipeline.training.trainers.registry import TRAINERS
from tests.conftest import GOLDENS
from tests.support.plan_cases import Case, cases, plan_text

CASES = cases()


@pytest.fixture(autouse=True)
def _no_programs_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


@pytest.mark.parametrize("case", CASES, ids=lambda one: f"{one.trainer}-{one.name}")
def test_the_plan_is_as_recorded(
    case: Case, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    golden(case.golden, plan_text(case, tmp_path))


@pytest.mark.parametrize("trainer", sorted(TRAINERS))
def test_every_architecture_of_every_trainer_is_recorded(trainer: str) -> None:
    recorded = {case.architecture for case in CASES if case.trainer == trainer}

    assert set(TRAINERS[trainer].architectures) <= recorded
    assert recorded


@pytest.mark.parametrize("case", CASES[::7], ids=lambda one: f"{one.trainer}-{one.name}")
def test_where_it_is_made_does_not_show(case: Case, tmp_path: Path) -> None:
    there = tmp_path / "other place" / "deep"
    there.mkdir(parents=True)

    assert plan_text(case, tmp_path / "here") == plan_text(case, there)
    assert str(tmp_path) not in plan_text(case, there)


def test_no_golden_is_left_of_what_is_no_more() -> None:
    there = {path.relative_to(GOLDENS).as_posix() for path in GOLDENS.glob("plans/*/*")}

    assert there == {case.golden for case in CASES}
