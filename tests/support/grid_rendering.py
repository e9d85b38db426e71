"""Whole grids for tests, drawn by the fake renderer."""

from __future__ import annotations

from typing import Any

from lora_pipeline.operations.evaluation.evaluate import GridOptions, render_subject
from lora_pipeline.operations.evaluation.evaluation_subject import find_target, subject_of
from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import LORA
from tests.support.fake_renderer import FakeRenderer


def render(workspace: Workspace, renderer: FakeRenderer | None = None, **options: Any) -> None:
    """Render the grid of the builders' release."""
    target = find_target(workspace, LORA, "", project=None, scope="project")
    subject = subject_of(workspace, target, suite_id="", prompts=())
    chosen = GridOptions(**{"renderer": "fake", **options})
    render_subject(workspace, subject, chosen, {"fake": renderer or FakeRenderer()})
