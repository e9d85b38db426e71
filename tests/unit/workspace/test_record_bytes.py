"""A long record is read and written in slices, and nobody can tell."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import RecordError
from lora_pipeline.foundation.schemas import load_schema
from lora_pipeline.workspace import record_bytes
from lora_pipeline.workspace.record_bytes import encode_record, record_from

NOON = "2026-01-01T12:00:00Z"
SLICE = record_bytes._SLICE


def item(number: int) -> Item:
    asset, version, variant = (f"{number:025d}{kind}" for kind in "ACD")
    digest = f"{number:064x}"
    return Item(
        asset_id=asset, asset_version_id=version, variant_id=variant,
        path=f"projects/p/files/{number}.png", caption=f'Flügel, "{number}" \\ [ {{ ], ✓',
        tags=("style:flat",), sha256=digest, xxh3=digest[:32], bytes=5, width=6, height=7,
        license="CC0-1.0",
    )  # fmt: skip


def manifest(count: int) -> Manifest:
    return Manifest(
        id="icons", scope="project", project_id="p", created_at=NOON, updated_at=NOON,
        items=tuple(map(item, range(count))), content_hash=f"sha256:{1:064x}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def long() -> Manifest:
    return manifest(SLICE + 9)


@pytest.fixture(scope="module")
def data(long: Manifest) -> bytes:
    return encode_record(long, "icons.json")


def test_slices_come_to_the_bytes_that_one_piece_has(long: Manifest, data: bytes) -> None:
    assert data == strict_json.dumps(long.to_dict(), one_line_each=long.ONE_LINE_EACH)


def test_a_record_that_was_written_in_slices_is_read_in_slices(long: Manifest, data: bytes) -> None:
    parts = list(strict_json.slices(data, "items", SLICE))

    assert [len(json.loads(part)["items"]) for part in parts] == [SLICE, 9]
    assert record_from(Manifest, data, "icons.json") == long


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6])
def test_taking_apart_and_joining_gives_the_same_bytes(count: int) -> None:
    short = manifest(count)
    data = strict_json.dumps(short.to_dict(), one_line_each=short.ONE_LINE_EACH)

    parts = list(strict_json.slices(data, "items", 2))

    assert len(parts) == max(1, (count + 1) // 2)
    assert strict_json.joined(parts, "items") == data


def test_a_long_record_in_another_form_is_read_too(long: Manifest, data: bytes) -> None:
    other = json.dumps(json.loads(data), indent=4).encode()

    assert record_from(Manifest, other, "icons.json") == long


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        (f'"{SLICE + 7:064x}"', '"no digest"', f"$.items[{SLICE + 7}].sha256"),
        (f'"{1:025d}A"', "[}", "is not JSON"),
        ('  "scope": "project"', '  "items": [],\n  "scope": "project"', "stands twice"),
        ('\n  "items": [\n     {', '\n  "items": [\n     {"assetId": 1, ', "stands twice"),
    ],
)
def test_what_is_wrong_is_said_of_the_whole(data: bytes, was: str, becomes: str, says: str) -> None:
    assert was.encode() in data

    with pytest.raises(RecordError) as caught:
        record_from(Manifest, data.replace(was.encode(), becomes.encode(), 1), "icons.json")

    assert says in caught.value.message
    assert caught.value.message.startswith("icons.json")


def test_a_record_that_breaks_its_schema_far_down_is_not_written(long: Manifest) -> None:
    broken = replace(long.items[SLICE + 1], sha256="no digest")

    with pytest.raises(RecordError):
        encode_record(replace(long, items=(*long.items, broken)), "icons.json")


def test_elements_that_are_written_fast_hold_no_fractions() -> None:
    fields = msgspec.inspect.type_info(Item).fields  # type: ignore[attr-defined]
    kinds = {type(field.type) for field in fields}

    assert kinds <= {
        msgspec.inspect.StrType, msgspec.inspect.IntType, msgspec.inspect.VarTupleType,
        msgspec.inspect.LiteralType,
    }  # fmt: skip


def test_elements_of_a_long_list_are_judged_one_by_one() -> None:
    # Else a slice could be valid where the whole is not.
    form = load_schema("dataset/v1")["properties"]["items"]

    assert set(form) <= {"type", "description", "items", "minItems"}
