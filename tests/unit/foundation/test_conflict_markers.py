"""What a failed merge leaves is found, wherever it stands and however little of it is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.conflict_markers import Markers, conflict_error, find_markers

ONE = b'{\n  "id": "a",\n<<<<<<< HEAD\n  "n": 1\n=======\n  "n": 2\n>>>>>>> feature/art\n}\n'


def test_the_place_and_both_sides_are_named() -> None:
    assert find_markers(ONE) == Markers(line=3, places=1, ours="HEAD", theirs="feature/art")
    error = conflict_error(ONE, "data/x.json")

    assert error is not None
    assert error.code == "merge_conflict"
    assert error.message == (
        "data/x.json holds an unresolved merge: at line 3 (HEAD against feature/art)"
    )


def test_several_places_are_counted() -> None:
    error = conflict_error(ONE + ONE + ONE, "x.json")

    assert error is not None
    assert "in 3 places, the first at line 3 (HEAD against feature/art)" in error.message


def test_line_ends_of_windows_and_the_form_of_diff3_are_known() -> None:
    data = ONE.replace(b"=======", b'||||||| 1a2b3c4\n  "n": 0\n=======').replace(b"\n", b"\r\n")

    assert find_markers(data) == Markers(line=3, places=1, ours="HEAD", theirs="feature/art")


def test_a_conflict_inside_a_conflict_has_longer_lines() -> None:
    data = ONE.replace(b"<<<<<<<", b"<" * 11).replace(b"=======", b"=" * 11)

    assert find_markers(data.replace(b">>>>>>>", b">" * 11)) is not None


@pytest.mark.parametrize(
    "left", [b"<<<<<<< HEAD", b"=======", b">>>>>>> feature/art", b"||||||| 1a2b3c4"]
)
def test_half_of_a_resolution_is_found_too(left: bytes) -> None:
    error = conflict_error(b'{\n  "n": 1\n' + left + b"\n}\n", "x.json")

    assert error is not None
    assert "line 3 is what is left of one" in error.message


def test_names_are_data_and_may_hold_anything() -> None:
    found = find_markers(b"<<<<<<< \xff name\n=======\n>>>>>>> \xe2\x98\x83\n")

    assert found is not None
    assert found.theirs == "\u2603"


@given(st.dictionaries(st.text(), st.text(alphabet="<>=| \n\rab")))
def test_no_record_is_ever_taken_for_a_conflict(document: dict[str, str]) -> None:
    assert find_markers(strict_json.dumps(document)) is None
