"""Which objects records need."""

from __future__ import annotations

import json
from pathlib import Path

from lora_pipeline.workspace.store_references import expected_here, named_anywhere
from tests.support.workspace_builders import make_workspace, reopen

CELL, LOOK_ALIKE, WEIGHTS = "a" * 64, "b" * 64, "c" * 64


def test_an_image_that_a_measure_names_is_no_object_and_is_kept_all_the_same(
    tmp_path: Path,
) -> None:
    make_workspace(tmp_path, project="neon_city")
    record = tmp_path / "data/projects/neon_city/evals/E.json"
    record.parent.mkdir(parents=True)
    cells = [{"imageSha256": CELL}]
    weights = {"kind": "store", "sha256": WEIGHTS}
    metrics = {"lookAlike": {"imageSha256": LOOK_ALIKE}}
    record.write_text(json.dumps({"cells": cells, "weights": weights, "metrics": metrics}))
    workspace = reopen(tmp_path)

    assert set(expected_here(workspace)) == {CELL, WEIGHTS}
    assert named_anywhere(workspace) >= {CELL, WEIGHTS, LOOK_ALIKE}
