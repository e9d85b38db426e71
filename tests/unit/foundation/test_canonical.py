"""One meaning has one spelling (RFC 8785), and digests are taken over that."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation.canonical import (
    canonical_bytes,
    digest_of,
    digest_of_bytes,
    short,
)
from lora_pipeline.foundation.errors import JsonInvalidError

# RFC 8785, appendix B: the bits of a double, and how it is written.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_are_written_as_the_standard_says(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    assert canonical_bytes(number) == text.encode()


def test_the_example_of_the_standard_comes_out_byte_for_byte() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }

    assert canonical_bytes(value) == (
        b'{"literals":[null,true,false],'
        b'"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf16_units() -> None:
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }

    order = [
        "Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis",
        "Euro Sign", "Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh",
    ]  # fmt: skip
    written = canonical_bytes(value).decode()
    assert sorted(order, key=written.index) == order


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, -(2**53), "\ud800", {1: "x"}])
def test_what_json_cannot_say_exactly_has_no_digest(value: Any) -> None:
    with pytest.raises(JsonInvalidError, match="no canonical JSON form"):
        digest_of({"value": value} if not isinstance(value, dict) else value)


def test_a_value_nested_without_end_has_no_digest() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(JsonInvalidError):
        digest_of(value)


def test_a_digest_is_the_sha256_of_the_canonical_form() -> None:
    assert digest_of({"b": 1.0, "a": "é"}) == (
        "sha256:" + hashlib.sha256('{"a":"é","b":1}'.encode()).hexdigest()
    )


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), st.integers(0, 9)))
def test_the_order_of_keys_changes_no_digest(value: dict[str, int]) -> None:
    assert digest_of(dict(reversed(value.items()))) == digest_of(value)


def test_equal_numbers_have_one_digest() -> None:
    assert digest_of([1, 100, 0]) == digest_of([1.0, 1e2, -0.0])


def test_digests_are_read_by_people_in_short() -> None:
    digest = digest_of_bytes(b"abc")

    assert digest == "sha256:" + hashlib.sha256(b"abc").hexdigest()
    assert short(digest) == "sha256:ba7816bf8f01"
    assert short("ba7816bf8f01cfea") == "ba7816bf8f01"
