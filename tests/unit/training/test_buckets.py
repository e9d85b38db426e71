"""An image is trained near its own shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.training.buckets import bucket_of, multiple_for


@pytest.mark.parametrize(
    ("size", "resolution", "multiple", "expected"),
    [
        ((64, 64), 64, 16, (64, 64)),
        ((1000, 1000), 512, 64, (512, 512)),
        ((1920, 1080), 1024, 64, (1344, 768)),
        ((1080, 1920), 1024, 64, (768, 1344)),
        ((3000, 100), 512, 64, (1024, 256)),
        ((100, 3000), 512, 64, (256, 1024)),
        ((10, 10), 72, 8, (72, 72)),
        ((10, 10), 72, 16, (64, 64)),
        ((10, 10), 16, 16, (16, 16)),
    ],
)
def test_shape_is_kept_as_far_as_steps_allow(
    size: tuple[int, int], resolution: int, multiple: int, expected: tuple[int, int]
) -> None:
    assert bucket_of(*size, resolution, multiple) == expected


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.integers(2, 256), st.sampled_from([8, 16, 64])
)
def test_sides_are_multiples_and_the_area_stays_within(
    width: int, height: int, eighths: int, multiple: int
) -> None:
    resolution = max(8 * eighths, multiple)

    found = bucket_of(width, height, resolution, multiple)

    assert all(side % multiple == 0 and side > 0 for side in found)
    assert found[0] * found[1] <= resolution**2


def test_small_images_are_cut_in_small_steps() -> None:
    assert [multiple_for(*one) for one in ((1024, "sdxl"), (64, "sd15"), (72, "sd15"))] == [
        64, 16, 8,
    ]  # fmt: skip
    assert multiple_for(72, "flux1") == 16
