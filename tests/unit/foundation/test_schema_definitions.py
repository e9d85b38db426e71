"""The forms that all records share, by table; and both validators mean the same by them."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.schema_bundle import bundled_schema
from lora_pipeline.foundation.schemas import _compiled

DEFINITIONS: dict[str, dict[str, Any]] = bundled_schema("common/v1")["$defs"]
PATTERNS = {name: one["pattern"] for name, one in DEFINITIONS.items() if "pattern" in one}
HEX = "0123456789abcdef" * 4

TABLE: dict[str, tuple[list[Any], list[Any]]] = {
    "sha256": ([HEX], [HEX[:-1], f"{HEX}0", HEX.upper(), f"sha256:{HEX}", f"{HEX}\n", "", 1, None]),
    "digest": ([f"sha256:{HEX}"],
               [HEX, f"SHA256:{HEX}", f"sha256:{HEX.upper()}", f"sha1:{HEX}", f"sha256:{HEX}\n"]),
    "xxh3": ([HEX[:32]], [HEX, HEX[:31], HEX[:32].upper()]),
    "ulid": (["01ARZ3NDEKTSV4RRFFQ69G5FAV"],
             ["01arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FA",
              "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAI",
              "01ARZ3NDEKTSV4RRFFQ69G5FAV\n"]),
    "time": (["2026-03-01T12:00:00Z", "2038-01-19T03:14:08Z", "0001-01-01T00:00:00Z",
              "2026-03-01T12:00:00.123Z"],
             ["2026-03-01T12:00:00", "2026-03-01T12:00:00+00:00", "2026-03-01",
              "2026-03-01T24:00:00Z",
              "2026-13-01T12:00:00Z", "2026-03-01T12:00:60Z", "2026-03-01T12:00:00z",
              "2026-03-01 12:00:00Z", "2026-3-1T12:00:00Z", 0, None]),
    "date": (["2026-01-31", "0001-12-01"],
             ["2026-1-31", "2026-13-01", "2026-01-32", "2026-01-31T00:00:00Z", "31.01.2026",
              "2026-01-31\n", 20260131, None]),
    "slug": (["neon_city", "a", "0-x"],
             ["", "Neon", "a b", ".", "..", ".git", "-x", "a/b", "é", "a\n"]),
    "tag": (["style:flat", "assetType:ui_icon"],
            ["flat", "style:", ":flat", "style: flat", "a:b\n"]),
    "relativePath": (
        ["a", "a/b.png", "猫/犬.png", "..a/b", "a..b", ".hidden", "a/.b"],
        ["", "/a", "~/a", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "C:/a", "a:b",
         "file:///a", "a\nb", "a\x00", "x" * 1025],
    ),
    "imagePath": (["a/b.png", "assetsRoot:a/b.png"],
                  ["assetsRoot:/a", "assetsRoot:../a", "other:a", "assetsRoot:", "/a"]),
    "color": (["#FFFFFF", "#00000080"], ["FFFFFF", "#FFF", "#GGGGGG", "white", "#FFFFFF\n"]),
    "label": (["Neon City", "猫"], ["", "a\nb", "a\tb", "\x1b[31m", "x" * 201]),
    "text": (["", "two\nlines", "tab\t"], ["\x00", "\x1b[31m", "\x7f"]),
}  # fmt: skip
CASES = [
    (name, value, good)
    for name, (valid, invalid) in TABLE.items()
    for values, good in ((valid, True), (invalid, False))
    for value in values
]


def quick(name: str) -> Any:
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/$defs/{name}", "$defs": bundled_schema("common/v1")["$defs"]}
    )


@pytest.mark.parametrize(("name", "value", "good"), CASES)
def test_one_form_is_accepted_and_its_look_alikes_are_not(
    name: str, value: Any, good: bool
) -> None:
    assert quick(name).is_valid(value) is good


def test_every_form_has_its_table() -> None:
    assert set(PATTERNS) - set(TABLE) <= {"recordId", "tagGroup"}


@pytest.mark.parametrize("name", PATTERNS)
@given(data=st.data())
def test_both_validators_mean_the_same_by_a_pattern(name: str, data: st.DataObject) -> None:
    pattern = PATTERNS[name]
    near = st.from_regex(_compiled(pattern)).map(lambda text: text[:60])
    text = data.draw(near | st.text(st.characters(codec="utf-8"), max_size=20))

    explained = bool(_compiled(pattern).search(text))

    validator = jsonschema_rs.Draft202012Validator({"type": "string", "pattern": pattern})
    assert validator.is_valid(text) is explained


@given(st.text(st.sampled_from("ab./~\\:\n 猫"), max_size=8))
def test_a_path_that_a_record_may_hold_can_be_joined_or_is_only_not_portable(text: str) -> None:
    if not quick("relativePath").is_valid(text):
        return
    reason = unsafe_reason(text)
    assert reason is None or "Windows" in reason
