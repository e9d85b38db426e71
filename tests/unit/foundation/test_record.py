from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.foundation.record import Part, Record


class _Size(Part, frozen=True, kw_only=True):
    unit: str = "pixels"
    width: int = 0


class _Rule(Part, frozen=True, kw_only=True, omit_defaults=False):
    share: float = 0.5
    note: str | msgspec.UnsetType = msgspec.UNSET


class _Box(Record, frozen=True, kw_only=True):
    KIND: ClassVar[str] = "box"

    id: str
    state: str = "closed"
    sizes: tuple[_Size, ...] = ()
    size: _Size = _Size()
    rule: _Rule = _Rule()
    free: dict[str, object] = {}


def test_defaults_are_left_out_however_the_value_was_made() -> None:
    made_at_run_time = "".join(["clo", "sed"])

    assert _Box(id="a", state=made_at_run_time, size=_Size(width=int("0"))).to_dict() == {
        "schema": "box/v1",
        "id": "a",
    }


def test_a_part_that_keeps_its_defaults_writes_them_all() -> None:
    assert _Box(id="a", rule=_Rule(share=0.25)).to_dict()["rule"] == {"share": 0.25}
    assert _Rule().to_dict() == {"share": 0.5}


def test_what_was_written_reads_back_equal() -> None:
    box = _Box(id="a", sizes=(_Size(unit="mm", width=3),), free={"x": [1, {"y": None}]})

    assert _Box.from_dict(box.to_dict()) == box
    assert box.to_dict()["sizes"] == [{"unit": "mm", "width": 3}]


def test_an_unknown_field_is_refused_with_its_place() -> None:
    with pytest.raises(RecordInvalidError) as caught:
        _Box.from_dict({"id": "a", "size": {"hight": 1}})

    assert caught.value.violations[0].where == "$.size"
