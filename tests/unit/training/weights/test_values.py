"""Values are judged by their bits, in every type."""

from __future__ import annotations

import math
import struct

import numpy
import pytest

from lora_pipeline.training.weights.values import ValueScan, as_numbers


def scanned(dtype: str, *blocks: bytes) -> ValueScan:
    scan = ValueScan()
    for block in blocks:
        scan.add(block, dtype)
    return scan


# type -> one, NaN, infinity (or None), minus zero, as bytes
VALUES = {
    "F64": (struct.pack("<d", 1), struct.pack("<d", math.nan), struct.pack("<d", math.inf)),
    "F32": (struct.pack("<f", 1), struct.pack("<f", math.nan), struct.pack("<f", -math.inf)),
    "F16": (struct.pack("<e", 1), struct.pack("<e", math.nan), struct.pack("<e", math.inf)),
    "BF16": (b"\x80\x3f", b"\xc0\x7f", b"\x80\xff"),
    "F8_E4M3": (b"\x38", b"\x7f", b"\xff"),
    "F8_E5M2": (b"\x3c", b"\x7e", b"\x7c"),
}


@pytest.mark.parametrize("dtype", VALUES)
def test_one_is_one_in_every_type(dtype: str) -> None:
    scan = scanned(dtype, VALUES[dtype][0] * 3)

    assert (scan.first, scan.largest, scan.not_finite, scan.all_zero) == (1.0, 1.0, 0, False)


@pytest.mark.parametrize("dtype", VALUES)
def test_nan_and_infinity_are_counted_in_every_type(dtype: str) -> None:
    one, nan, infinity = VALUES[dtype]

    assert scanned(dtype, one + nan, infinity + one).not_finite == 2


@pytest.mark.parametrize(("dtype", "width"), [("F32", 4), ("BF16", 2), ("F8_E4M3", 1), ("I8", 1)])
def test_zeros_are_zeros(dtype: str, width: int) -> None:
    assert scanned(dtype, bytes(width * 5), bytes(width)).all_zero


@pytest.mark.parametrize(("dtype", "zero"), [("BF16", b"\x00\x80"), ("F8_E5M2", b"\x80")])
def test_minus_zero_is_zero(dtype: str, zero: bytes) -> None:
    assert scanned(dtype, zero).all_zero


def test_one_number_among_zeros_is_seen_in_a_later_block() -> None:
    assert not scanned("F32", bytes(400), struct.pack("<f", 1e-20)).all_zero


def test_largest_is_the_largest_magnitude() -> None:
    assert scanned("F32", struct.pack("<3f", 1, -7, 2), struct.pack("<f", 3)).largest == 7


def test_eight_bit_floats_have_their_extremes() -> None:
    every = bytes(range(256))

    assert numpy.nanmax(as_numbers(every, "F8_E4M3")) == 448
    assert as_numbers(b"\x01", "F8_E4M3")[0] == 2.0**-9
    assert as_numbers(b"\x7b", "F8_E5M2")[0] == 57344
