from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.checks.findings import CheckFinding, Picture
from lora_pipeline.datasets.checks.single import Facts, judge
from lora_pipeline.datasets.checks.thresholds import Profile, Thresholds

PICTURE = Picture("01JNB2M7R8W1E3T5Y7V9Q0P2A4", "Fog", "fog.png", "a" * 64)
SDXL = Profile(checkpoint_id="sdxl", native=1024)
CLEAN = Facts(
    width=1024,
    height=1024,
    location=False,
    odd_colours=False,
    alpha_used=False,
    grey=False,
    jpeg_quality=0,
    enlarged=1,
    darkest=(0, 10, 0),
    lightest=(255, 240, 255),
    border=(0, 0, 0, 0),
    visible=1.0,
    edge_width=1.2,
    blockiness=1.0,
)


def judged(profile: Profile = SDXL, /, **changes: Any) -> list[CheckFinding]:
    facts = replace(CLEAN, **changes)
    return list(judge(PICTURE, facts, profile, Thresholds()))


def codes(profile: Profile = SDXL, /, **changes: Any) -> dict[str, str]:
    return {one.code: one.severity for one in judged(profile, **changes)}


def test_a_clean_image_has_no_finding() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("shorter", "expected"),
    [
        (1024, {}),
        (1023, {"small": "warning"}),
        (768, {"small": "warning"}),
        (767, {"small": "error"}),
        (1, {"small": "error"}),
    ],
)
def test_the_shorter_side_is_compared_with_the_checkpoint(
    shorter: int, expected: dict[str, str]
) -> None:
    assert codes(width=max(shorter, 1024) if shorter > 400 else 2, height=shorter) == expected


def test_without_a_checkpoint_no_image_is_too_small() -> None:
    assert codes(Profile(), width=16, height=16) == {}


def test_measures_and_limits_are_told_with_the_fix() -> None:
    (found,) = judged(width=1500, height=800)

    assert (found.measured, found.limit) == (800, 1024)
    assert found.message == "1500 × 800 px, the shorter side should have 1024"  # noqa: RUF001
    assert found.fix == "import a larger original"
    assert found.pictures == (PICTURE,)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((3072, 1024), {}),
        ((3100, 1024), {"extreme_shape": "warning"}),
        ((1024, 8192), {"extreme_shape": "warning"}),
        ((1024, 8300), {"extreme_shape": "error"}),
    ],
)
def test_long_shapes_are_warned_about_and_very_long_ones_refused(
    size: tuple[int, int], expected: dict[str, str]
) -> None:
    assert codes(width=size[0], height=size[1]) == expected


def test_edges_count_at_the_size_that_training_sees() -> None:
    assert codes(edge_width=4.0) == {"blurred": "warning"}
    assert codes(edge_width=4.0, width=2048, height=2048) == {}
    assert codes(Profile(), edge_width=4.0) == {"blurred": "warning"}


def test_an_enlarged_image_counts_by_what_it_was_before() -> None:
    (found,) = judged(enlarged=4)

    assert found.code == "enlarged"
    assert found.message == "enlarged 4 times from 256 px"
    assert codes(enlarged=2, width=2048, height=2048) == {}
    assert codes(Profile(), enlarged=2) == {"enlarged": "warning"}


def test_compression_is_seen_in_files_and_in_pixels_unless_it_is_scaled_away() -> None:
    assert codes(jpeg_quality=69) == {"jpeg_artefacts": "warning"}
    assert codes(jpeg_quality=70) == {}
    assert codes(blockiness=3.0) == {"jpeg_artefacts": "warning"}
    assert codes(blockiness=3.0, jpeg_quality=30, width=2048, height=2048) == {}


def test_borders_are_told_side_by_side() -> None:
    (found,) = judged(border=(0, 24, 0, 20))

    assert found.code == "border"
    assert found.message == "border of one colour: top 24 px, bottom 20 px"
    assert found.fix.startswith("crop it and import it again, then lora asset reject 01JNB2M7")


def test_an_image_that_shows_nothing_has_that_fault_alone() -> None:
    nothing: dict[str, Any] = {
        "visible": 0.0,
        "alpha_used": True,
        "darkest": (0, 0, 0),
        "lightest": (0, 0, 0),
    }

    assert codes(**nothing, width=8, height=8) == {"transparent": "error"}


def test_one_colour_is_an_error_and_a_silhouette_is_none() -> None:
    white: dict[str, Any] = {"darkest": (254, 254, 255), "lightest": (255, 255, 255)}

    assert codes(**white) == {"one_colour": "error"}
    assert codes(replace(SDXL, background="#202020"), **white, alpha_used=True, visible=0.4) == {}
    (found,) = judged(**white, alpha_used=True, visible=0.4)
    assert found.message == "it is #FFFFFF on #FFFFFF: training sees nothing of it"


def test_what_is_worth_knowing_is_noted() -> None:
    assert codes(location=True, grey=True, odd_colours=True) == {
        "odd_colours": "warning",
        "location": "info",
        "grey": "info",
    }


def test_the_lines_are_drawn_by_settings() -> None:
    strict = Thresholds(edge_width=1.1, aspect_ratio=1.0, small_warning=1.5)

    found = {one.code for one in judge(PICTURE, replace(CLEAN, width=1100), SDXL, strict)}

    assert found == {"blurred", "extreme_shape", "small"}
