from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.evaluation.grid import (
    missing_cells,
    plan_cells,
    problems_of_grid,
    result_digest,
    spoken,
)
from lora_pipeline.evaluation.records import (
    Cell,
    Evaluation,
    EvaluationMetrics,
    Suite,
    SuitePrompt,
)
from lora_pipeline.evaluation.suites import suite_digest
from tests.support.evaluation_builders import make_evaluation, make_identity, make_suite

replace = msgspec.structs.replace


def plan(**changes: Any) -> tuple[Cell, ...]:
    arguments: dict[str, Any] = {
        "trigger_word": "trg",
        "weights_sha256": "1" * 64,
        "checkpoint_digest": "sha256:" + "2" * 64,
    }
    return plan_cells(make_suite(), **{**arguments, **changes})


def complete() -> Evaluation:
    evaluation = make_evaluation()
    cells = tuple(
        replace(cell, status="done", image_sha256=f"{number:064x}")
        for number, cell in enumerate(evaluation.cells)
    )
    evaluation = replace(
        evaluation, cells=cells, status="complete", metrics=EvaluationMetrics(effect_mean=0.1)
    )
    return replace(evaluation, result_digest=result_digest(evaluation))


def test_cells_stand_by_prompt_then_seed_then_strength_with_the_base_first() -> None:
    cells = [(cell.prompt_id, cell.seed, cell.strength) for cell in plan()]
    assert cells[:7] == [
        ("heart", 1, 0.0),
        ("heart", 1, 0.5),
        ("heart", 1, 1.0),
        ("heart", 2, 0.0),
        ("heart", 2, 0.5),
        ("heart", 2, 1.0),
        ("bare", 1, 0.0),
    ]


@given(st.permutations([0.25, 0.5, 0.75, 1.0]))
def test_the_order_of_strengths_in_the_suite_changes_nothing(strengths: list[float]) -> None:
    cells = plan_cells(
        make_suite(strengths=tuple(strengths)),
        trigger_word="t",
        weights_sha256="1" * 64,
        checkpoint_digest="sha256:" + "2" * 64,
    )
    assert [cell.strength for cell in cells[:5]] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_the_trigger_word_stands_in_its_place() -> None:
    cells = plan()
    assert {cell.prompt for cell in cells} == {"trg, a red heart", "a red heart"}


@pytest.mark.parametrize(
    ("text", "trigger", "expected"),
    [
        ("{trigger}, a red heart", "trg", "trg, a red heart"),
        ("{trigger}, a red heart", "", "a red heart"),
        ("photo of {trigger} on a rock", "", "photo of on a rock"),
        ("a heart, {trigger}", "", "a heart"),
        ("a  heart ,{trigger}", "trg", "a heart, trg"),
    ],
)
def test_a_missing_trigger_word_leaves_no_gap(text: str, trigger: str, expected: str) -> None:
    assert spoken(text, trigger) == expected


def test_without_a_trigger_word_nothing_is_asked_without_it() -> None:
    assert {cell.prompt_id for cell in plan(trigger_word="")} == {"heart"}


def test_base_cells_are_shared_between_releases_and_lora_cells_are_not() -> None:
    ours, theirs = plan(), plan(weights_sha256="9" * 64)
    same = [one.strength for one, other in zip(ours, theirs, strict=True) if one.id == other.id]
    assert same == [0.0] * 4
    assert len({cell.id for cell in (*ours, *theirs)}) == 4 + 2 * 8


def test_another_base_model_makes_other_cells() -> None:
    other = plan(checkpoint_digest="sha256:" + "3" * 64)
    assert not {cell.id for cell in plan()} & {cell.id for cell in other}


@pytest.mark.parametrize(
    "changes",
    [{"steps": 5}, {"guidance": 2.0}, {"width": 40}, {"height": 40}, {"sampler": "euler"}],
)
def test_every_setting_makes_another_cell(changes: dict[str, Any]) -> None:
    suite = make_suite()
    changed = replace(suite, render=replace(suite.render, **changes))
    keywords = {
        "trigger_word": "trg",
        "weights_sha256": "1" * 64,
        "checkpoint_digest": "sha256:" + "2" * 64,
    }
    ours, theirs = plan_cells(suite, **keywords), plan_cells(changed, **keywords)
    assert not {cell.id for cell in ours} & {cell.id for cell in theirs}


def with_captions() -> Suite:
    caption = SuitePrompt(id="one", kind="training_caption")
    return make_suite(
        prompts=(caption, *make_suite().prompts, replace(caption, id="two")), seeds=(1,)
    )


@pytest.mark.parametrize(
    ("captions", "asked"),
    [
        (("trg, a  {trigger}, x",), {"one": "trg, a  {trigger}, x"}),
        (("first", "second"), {"one": "first", "two": "second"}),
        ((), {}),
    ],
)
def test_captions_are_asked_word_by_word_as_far_as_there_are_any(
    captions: tuple[str, ...], asked: dict[str, str]
) -> None:
    cells = plan_cells(
        with_captions(),
        trigger_word="trg",
        weights_sha256="1" * 64,
        checkpoint_digest="d",
        captions=captions,
    )
    said = {cell.prompt_id: cell.prompt for cell in cells}
    assert {name: said[name] for name in said if name in ("one", "two")} == asked
    assert set(said) >= {"heart", "bare"}


def test_a_grid_is_whole_with_the_captions_that_there_were() -> None:
    suite = with_captions()
    evaluation = complete()
    for captions in ((), ("first",), ("first", "second")):
        cells = tuple(
            replace(cell, status="done", image_sha256=f"{number:064x}")
            for number, cell in enumerate(
                plan_cells(
                    suite,
                    trigger_word="trg",
                    weights_sha256=evaluation.weights_sha256,
                    checkpoint_digest=evaluation.checkpoint_digest,
                    captions=captions,
                )
            )
        )
        whole = replace(evaluation, suite=suite, suite_digest=suite_digest(suite), cells=cells)
        whole = replace(whole, result_digest=result_digest(whole))
        assert problems_of_grid(whole) == []
        cut = replace(whole, cells=cells[1:])
        assert "its cells are not those of its suite" in problems_of_grid(cut)


def test_a_complete_grid_has_no_problem() -> None:
    assert problems_of_grid(complete()) == []


def test_a_grid_with_holes_says_how_many_and_how_many_failed() -> None:
    evaluation = complete()
    first, second, *rest = evaluation.cells
    holes = (
        replace(first, status="pending", image_sha256=""),
        replace(second, status="failed", image_sha256="", error="black"),
    )
    evaluation = replace(evaluation, cells=(*holes, *rest), status="running")
    assert problems_of_grid(evaluation) == ["2 of 12 cells have no image, 1 of them failed"]
    assert len(missing_cells(evaluation)) == 2


def test_an_evaluation_of_the_base_format_is_no_grid() -> None:
    old = Evaluation(id="e", lora_id="l", release_id="r", created_at="x", status="complete")
    assert problems_of_grid(old) == ["it holds no rendered grid"]


def edited_cell(evaluation: Evaluation, **changes: Any) -> Evaluation:
    return replace(
        evaluation, cells=(replace(evaluation.cells[0], **changes), *evaluation.cells[1:])
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: edited_cell(e, image_sha256="f" * 64), "result digest"),
        (lambda e: edited_cell(e, effect=0.5), "result digest"),
        (lambda e: edited_cell(e, prompt="another"), "not what its settings say"),
        (lambda e: edited_cell(e, steps=1), "not what its settings say"),
        (lambda e: edited_cell(e, image_sha256=""), "done without an image"),
        (lambda e: replace(e, cells=e.cells[3:]), "not those of its suite"),
        (lambda e: replace(e, cells=tuple(reversed(e.cells))), "not those of its suite"),
        (lambda e: replace(e, weights_sha256="7" * 64), "not what its settings say"),
        (lambda e: replace(e, checkpoint_digest="sha256:" + "7" * 64), "not what its settings"),
        (lambda e: replace(e, suite=make_suite(summary="x")), "suite was changed"),
        (lambda e: replace(e, metrics=EvaluationMetrics(effect_mean=0.9)), "result digest"),
        (lambda e: replace(e, renderer=make_identity("2.0")), "result digest"),
        (lambda e: replace(e, status="running"), "not marked complete"),
    ],
)
def test_every_edit_by_hand_shows(change: Any, words: str) -> None:
    assert any(words in problem for problem in problems_of_grid(change(complete())))
