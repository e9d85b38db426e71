"""Recording settings of this machine: whole, and without touching the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import SettingsError
from lora_pipeline.workspace.local_settings import record_local_settings
from lora_pipeline.workspace.settings import LOCAL_FILE, read_settings
from tests.support.workspace_builders import make_workspace, reopen


def test_a_recorded_setting_is_read_back_and_others_stay(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False)
    (tmp_path / LOCAL_FILE).write_text('{"identity": "kim@studio.example"}', encoding="utf-8")
    written = record_local_settings(workspace, {"trainers.mflux.program": "/opt/mflux-train"})
    settings = read_settings(tmp_path, {})
    assert written == [LOCAL_FILE]
    assert settings.text("trainers.mflux.program") == "/opt/mflux-train"
    assert settings.text("identity") == "kim@studio.example"


def test_recording_what_is_there_writes_nothing(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False)
    record_local_settings(workspace, {"identity": "kim@studio.example"})
    before = (tmp_path / LOCAL_FILE).stat().st_mtime_ns
    assert record_local_settings(workspace, {"identity": "kim@studio.example"}) == []
    assert (tmp_path / LOCAL_FILE).stat().st_mtime_ns == before


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)
    workspace = reopen(tmp_path, dry_run=True)
    assert record_local_settings(workspace, {"identity": "kim@studio.example"}) == [LOCAL_FILE]
    assert not (tmp_path / LOCAL_FILE).exists()


def test_a_section_that_is_a_value_is_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False)
    (tmp_path / LOCAL_FILE).write_text('{"trainers": 4}', encoding="utf-8")
    with pytest.raises(SettingsError, match="its section is a value"):
        record_local_settings(workspace, {"trainers.mflux.program": "/opt/mflux-train"})
