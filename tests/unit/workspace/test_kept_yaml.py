"""YAML is parsed once for each content, and what is kept is never believed for another one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.workspace.kept_yaml import loads

TEXT = b"project: icons\nimages:\n  maxPixels: 64\n"
VALUE = {"project": "icons", "images": {"maxPixels": 64}}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache" / "settings.json"


def test_the_second_time_is_answered_from_what_was_kept(kept: Path) -> None:
    assert loads(TEXT, "x", kept) == VALUE

    digest, _ = msgspec.json.decode(kept.read_bytes())
    kept.write_bytes(msgspec.json.encode([digest, {"project": "kept"}]))

    assert loads(TEXT, "x", kept) == {"project": "kept"}


def test_another_content_is_parsed(kept: Path) -> None:
    loads(TEXT, "x", kept)

    assert loads(b"project: other\n", "x", kept) == {"project": "other"}
    assert loads(TEXT, "x", kept) == VALUE


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"7", b'{"a": 1}', b"\xff\xfe"])
def test_damage_is_as_if_nothing_had_been_kept(kept: Path, damage: bytes) -> None:
    loads(TEXT, "x", kept)
    kept.write_bytes(damage)

    assert loads(TEXT, "x", kept) == VALUE


def test_what_json_would_change_is_not_kept(kept: Path) -> None:
    assert loads(b"a: 1e400\n", "x", kept) == {"a": float("inf")}
    assert not kept.exists()
    assert loads(b"a: 1e400\n", "x", kept) == {"a": float("inf")}


def test_what_is_no_yaml_is_refused_each_time(kept: Path) -> None:
    for _ in range(2):
        with pytest.raises(RecordInvalidError, match="not valid YAML"):
            loads(b"a: [1", "x", kept)


def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    assert loads(TEXT, "x", tmp_path / "no" / "cache" / "settings.json") == VALUE
    assert not (tmp_path / "no").exists()


def test_whoever_must_not_write_keeps_nothing(kept: Path) -> None:
    assert loads(TEXT, "x", kept, keep=False) == VALUE
    assert not kept.exists()
