"""The boundary: errors become exit codes and words."""
from __future__ import annotations

from pathlib import Path

from tests.support.workspace_builders import invoke, make_workspace, run_lora


def test_help_is_printed_and_succeeds(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    assert invoke(["--help"], tmp_path).stdout == run_lora(["--help"], tmp_path).stdout
