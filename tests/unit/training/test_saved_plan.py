"""A kept plan compared with today's, and texts without the places of a machine."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.training.portable_plan import Places, is_place
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.saved_plan import (
    PlanFile,
    PlanMinutes,
    PlanWishes,
    SavedPlan,
    differences,
)


def plan(**changes: Any) -> SavedPlan:
    values: dict[str, Any] = {
        "lora_id": "icons", "release_id": "r1", "scope": "project",
        "created_at": "2026-03-01T12:00:00Z", "trainer": "fake", "trainer_version": "1.0",
        "dataset_id": "flat", "manifest_hash": "sha256:" + "1" * 64, "images": 4,
        "staging": "5" * 32, "checkpoint_id": "tiny", "total_steps": 100,
        "minutes": PlanMinutes(basis="nothing"), "expected_output": "out/icons.safetensors",
        "recipe": Recipe(steps=100), "recipe_from": {"steps": "preset a"},
        "wishes": PlanWishes(), "argv": ("run", "{run}/a"), "cwd": "{run}",
        "environment": {"A": "1"}, "plan_digest": "",
    }  # fmt: skip
    made = SavedPlan(**{**values, **changes})
    return replace(made, plan_digest=made.digest())


def found(now: SavedPlan, before: SavedPlan | None = None) -> list[tuple[str, str, str, str]]:
    return [
        (one.code, one.what, one.planned, one.now) for one in differences(before or plan(), now)
    ]


def test_what_is_the_same_has_no_difference() -> None:
    later = plan(
        created_at="2026-04-01T12:00:00Z", created_by="kim", minutes=PlanMinutes(basis="x")
    )

    assert found(later) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"release_id": "r2"}, ("release_changed", "release", "r1", "r2")),
        ({"trigger_word": "flt"}, ("trigger_changed", "trigger word", "nothing", "flt")),
        (
            {"manifest_hash": "sha256:" + "2" * 64},
            ("manifest_changed", "manifest", "sha256:111111111111", "sha256:222222222222"),
        ),
        ({"service": "https://x"}, ("service_changed", "service", "nothing", "https://x")),
        ({"argv": ("run",)}, ("command_changed", "command word 2", "{run}/a", "nothing")),
        ({"environment": {}}, ("environment_changed", "variable A", "1", "nothing")),
        ({"secrets": ("KEY",)}, ("secrets_changed", "secret 1", "nothing", "KEY")),
        ({"uploads": ("a.png",)}, ("uploads_changed", "upload 1", "nothing", "a.png")),
        (
            {"recipe": Recipe(steps=200), "recipe_from": {"steps": "--steps"}},
            ("recipe_changed", "recipe steps", "100 (preset a)", "200 (--steps)"),
        ),
        (
            {"settings": {"trainers.fake.device": "cpu"}},
            ("setting_changed", "setting trainers.fake.device", "nothing", "cpu"),
        ),
    ],
)
def test_every_difference_has_its_code_and_both_sides(
    changes: dict[str, Any], expected: tuple[str, str, str, str]
) -> None:
    assert expected in found(plan(**changes))


def test_a_file_that_was_edited_is_named_first() -> None:
    edited = replace(plan(), total_steps=7)

    assert found(plan(), edited)[0][:2] == ("plan_edited", "the plan file")


def _with(content: str) -> SavedPlan:
    return plan(files=(PlanFile(path="a.toml", content=content),))


def test_a_line_that_went_is_one_difference_and_not_all_that_follow() -> None:
    before, now = _with("a\nb\nc\nd\n"), _with("a\nc\nd\n")

    assert found(now, before) == [("file_changed", "a.toml line 2", "b", "nothing")]


def test_of_many_lines_the_first_are_told() -> None:
    lines = found(_with("y\n" * 20), _with("x\n" * 20))

    assert len(lines) == 6
    assert lines[-1] == ("file_changed", "a.toml lines", "15 more", "others")


def test_long_lines_are_shown_where_they_differ() -> None:
    [line] = found(_with("x" * 200 + "after"), _with("x" * 200 + "before"))

    assert line[2] == "…" + "x" * 20 + "before"
    assert line[3] == "…" + "x" * 20 + "after"


def test_a_file_that_is_no_longer_written_is_told() -> None:
    assert found(plan(), _with("a")) == [("file_changed", "a.toml", "written", "not written")]


def test_the_longest_place_is_the_one_that_is_meant() -> None:
    places = Places({"/home/ana": "{home}", "/home/ana/ws": "{workspace}"})

    assert places.without("/home/ana/ws/a /home/ana/b") == "{workspace}/a {home}/b"


def test_places_of_windows_are_found_in_every_spelling() -> None:
    places = Places({"C:\\art": "{images}"})

    assert places.without('C:\\art\\a "C:\\\\art\\\\b" C:/art/c') == (
        '{images}\\a "{images}\\\\b" {images}/c'
    )


@pytest.mark.parametrize(
    ("value", "place"),
    [("/opt/x", True), ("~/x", True), ("auto", False), ("http://x/y", False), (3, False)],
)
def test_what_a_setting_names(value: object, place: bool) -> None:
    assert is_place(value) is place
