"""JSON without its leniencies: what two readers would see differently is refused."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import (
    FileMissingError,
    JsonInvalidError,
    MergeConflictError,
)

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53), max_value=2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


# --- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ('{"a": 1', "line 1, column 8"),
        ('{"a": 1,}', "line 1, column"),
        ("[1, 2,]", "line 1, column"),
        ('{"a": 1}\n{"b": 2}', "line 2, column 1"),
        ("{'a': 1}", "line 1, column 2"),
        ('{"a": 01}', "line 1, column 8"),
        ('{"a": .5}', "line 1, column 7"),
        ('{"a": "\t"}', "line 1, column 8"),
        ('// comment\n{"a": 1}', "line 1, column 1"),
        ("{\n  a: 1\n}", "line 2, column 3"),
    ],
)
def test_text_that_is_no_json_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(JsonInvalidError) as caught:
        strict_json.loads(text.encode(), "asset.json")

    assert caught.value.message.startswith("asset.json is not JSON: ")
    assert place in caught.value.message
    assert caught.value.code == "json_invalid"


def test_a_key_that_stands_twice_is_named() -> None:
    with pytest.raises(JsonInvalidError, match="key 'status' stands twice in one object"):
        strict_json.loads(b'{"a": {"status": 1, "b": 2, "status": 3}}', "asset.json")


def test_the_same_key_in_two_objects_is_no_conflict() -> None:
    assert strict_json.loads(b'[{"a": 1}, {"a": 2}]', "x") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    with pytest.raises(JsonInvalidError, match="not strict JSON"):
        strict_json.loads(f'{{"loss": {number}}}'.encode(), "run.json")


@pytest.mark.parametrize("digits", [20, 5000])
def test_endless_integers_are_refused(digits: int) -> None:
    with pytest.raises(JsonInvalidError, match="too large a number"):
        strict_json.loads(("9" * digits).encode(), "run.json")


def test_the_largest_integer_of_64_bits_is_read() -> None:
    assert strict_json.loads(str(2**63 - 1).encode(), "run.json") == 2**63 - 1


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_a_byte_order_mark_is_refused_with_a_hint(mark: bytes) -> None:
    with pytest.raises(JsonInvalidError, match="byte order mark") as caught:
        strict_json.loads(mark + b"{}", "asset.json")

    assert caught.value.hint == "save it as UTF-8 without BOM"


def test_bytes_that_are_no_utf8_are_refused_with_their_offset() -> None:
    with pytest.raises(JsonInvalidError, match=r"asset\.json is not UTF-8 at byte 6"):
        strict_json.loads(b'{"a":"\xe9"}', "asset.json")


def test_utf16_without_a_mark_is_refused() -> None:
    with pytest.raises(JsonInvalidError):
        strict_json.loads('{"a": 1}'.encode("utf-16-le"), "asset.json")


@pytest.mark.parametrize("escape", [r"\ud800", r"\uDC00", r"\ud800\u0041", r"\udc00\ud800"])
def test_half_a_surrogate_pair_is_refused(escape: str) -> None:
    with pytest.raises(JsonInvalidError, match="half of a surrogate pair"):
        strict_json.loads(f'{{"caption": "{escape}"}}'.encode(), "asset.json")


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert strict_json.loads(rb'"\ud83d\ude00"', "x") == "\U0001f600"


def test_an_unresolved_merge_is_named() -> None:
    data = b'{\n<<<<<<< HEAD\n  "a": 1\n=======\n  "a": 2\n>>>>>>> theirs\n}\n'

    with pytest.raises(MergeConflictError) as caught:
        strict_json.loads(data, "asset.json")

    assert (
        caught.value.message
        == "asset.json holds an unresolved merge: at line 2 (HEAD against theirs)"
    )
    assert caught.value.hint is not None
    assert "git checkout --ours -- asset.json" in caught.value.hint


def test_a_text_that_speaks_of_merge_marks_is_no_merge() -> None:
    value = {"note": "resolve the <<<<<<< and >>>>>>> lines"}

    assert strict_json.loads(strict_json.dumps(value), "x") == value


def test_a_text_nested_without_end_is_refused() -> None:
    with pytest.raises(JsonInvalidError, match="nested too deeply"):
        strict_json.loads(b"[" * 200_000, "asset.json")


def test_text_beyond_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict_json, "MAX_BYTES", 8)
    (tmp_path / "a.json").write_bytes(b'["123456"]')

    with pytest.raises(JsonInvalidError, match="has 10 bytes, at most 8 are read"):
        strict_json.load(tmp_path / "a.json")
    with pytest.raises(JsonInvalidError, match="at most 8 are read"):
        strict_json.loads(b'["123456"]', "a.json")


def test_a_sparse_file_of_terabytes_costs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(2**40)

    with pytest.raises(JsonInvalidError, match="at most"):
        strict_json.load(tmp_path / "a.json")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"no file .*gone\.json"):
        strict_json.load(tmp_path / "gone.json")
    with pytest.raises(FileMissingError, match="cannot read"):
        strict_json.load(tmp_path)


# --- accepted ----------------------------------------------------------------------------------


def test_line_ends_of_windows_change_nothing() -> None:
    data = strict_json.dumps({"a": [1, 2], "b": {"c": "x"}})

    assert strict_json.loads(data.replace(b"\n", b"\r\n"), "x") == {"a": [1, 2], "b": {"c": "x"}}


def test_tabs_key_order_and_a_missing_final_newline_change_nothing() -> None:
    assert strict_json.loads(b'{\t"b":1,\r\n"a":2}', "x") == {"a": 2, "b": 1}


def test_keys_that_mean_something_elsewhere_are_plain_keys() -> None:
    data = b'{"__proto__": 1, "constructor": 2, "__class__": 3}'

    assert strict_json.loads(data, "x") == {"__proto__": 1, "constructor": 2, "__class__": 3}


# --- written -----------------------------------------------------------------------------------


def test_written_json_has_one_form() -> None:
    written = strict_json.dumps({"b": [], "a": {"d": "猫\n", "c": 1.5}})

    assert written == (
        '{\n  "a": {\n    "c": 1.5,\n    "d": "猫\\n"\n  },\n  "b": []\n}\n'.encode()
    )


def test_lists_may_be_written_with_one_element_on_a_line() -> None:
    value = {"items": [{"b": 1, "a": [1, 2]}, {"c": {}}], "z": {"items": [1]}}

    written = strict_json.dumps(value, one_line_each=("items",))

    assert written.decode() == (
        '{\n  "items": [\n     {"a": [1, 2], "b": 1}\n    ,{"c": {}}\n  ],\n'
        '  "z": {\n    "items": [\n      1\n    ]\n  }\n}\n'
    )


@pytest.mark.parametrize("value", [{"items": []}, {}, {"items": "no list"}])
def test_one_element_on_a_line_needs_elements(value: dict[str, Any]) -> None:
    assert strict_json.dumps(value, one_line_each=("items",)) == strict_json.dumps(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}, "\ud800"])
def test_what_json_cannot_say_is_not_written(value: Any) -> None:
    with pytest.raises(JsonInvalidError, match="cannot be written as JSON"):
        strict_json.dumps(value)


def test_a_value_that_holds_itself_is_not_written() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(JsonInvalidError):
        strict_json.dumps(loop)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert strict_json.loads(strict_json.dumps(value), "x") == value


@given(st.dictionaries(st.sampled_from(["items", "a"]), VALUES))
def test_one_element_on_a_line_means_the_same(value: dict[str, Any]) -> None:
    written = strict_json.dumps(value, one_line_each=("items",))

    assert json.loads(written) == value
    assert written.endswith(b"\n")
    assert b"\r" not in written


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(JsonInvalidError, MergeConflictError):
        json.dumps(strict_json.loads(data, "x"), allow_nan=False).encode()
