"""Lists with one element on a line, as diffs show them."""

from __future__ import annotations

import difflib
import json

from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation import strict_json


def written(items: list[int]) -> list[str]:
    data = strict_json.dumps({"a": 1, "items": [{"n": n} for n in items]}, one_line_each=["items"])
    return data.decode().splitlines()


def changed(before: list[int], after: list[int]) -> list[str]:
    lines = difflib.unified_diff(written(before), written(after), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_an_element_that_comes_or_goes_at_the_end_is_one_line() -> None:
    assert changed([1, 2], [1, 2, 3]) == ['+    ,{"n": 3}']
    assert changed([1, 2, 3], [1, 2]) == ['-    ,{"n": 3}']


def test_an_element_that_changes_is_one_line_before_and_one_after() -> None:
    assert changed([1, 2, 3], [1, 7, 3]) == ['-    ,{"n": 2}', '+    ,{"n": 7}']


def test_every_element_stands_on_a_line_of_its_own() -> None:
    assert written([1, 2])[2:] == ['  "items": [', '     {"n": 1}', '    ,{"n": 2}', "  ]", "}"]


@given(st.lists(st.integers(-(2**53), 2**53), max_size=5))
def test_what_is_written_reads_back(items: list[int]) -> None:
    document = {"items": [{"n": n} for n in items]}

    assert json.loads(strict_json.dumps(document, one_line_each=["items"])) == document
