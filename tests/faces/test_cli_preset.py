"""``lora preset`` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.workspace_builders import invoke, make_workspace


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "studio", git=False).root


def test_presets_are_listed_with_what_they_are_for(studio: Path) -> None:
    text = invoke(["preset", "list"], studio).stdout

    assert "icons-sdxl" in text
    assert "Icons and logos on SDXL" in text
    assert "next  lora preset show" in text


def test_a_preset_is_shown_with_reasons(studio: Path) -> None:
    text = invoke(["preset", "show", "icons-sdxl"], studio).stdout

    assert text.startswith("icons-sdxl · Icons and logos on SDXL")
    assert "Flat shapes need little room" in text
    assert "0.0001" in text


def test_every_setting_is_shown_without_an_id(studio: Path) -> None:
    text = invoke(["preset", "show"], studio).stdout

    assert "captionDropout" in text
    assert "noiseOffset" in text


def test_an_unknown_preset_is_one_clear_error(studio: Path) -> None:
    answer = invoke(["preset", "show", "icons-sdx", "--json"], studio)

    assert answer.exit_code == 3
    assert "did you mean icons-sdxl?" in answer.error["hint"]
