"""Masks in the jobs of ai-toolkit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation import strict_yaml
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.trainers.ai_toolkit.trainer import AI_TOOLKIT
from tests.support.trainer_requests import make_request, settings_with


def datasets_of(plan: Plan) -> list[dict[str, Any]]:
    (job,) = (file.content for file in plan.files if file.path.endswith(".yaml"))
    document: Any = strict_yaml.loads(job.encode(), "job.yaml")
    found: list[dict[str, Any]] = document["config"]["process"][0]["datasets"]
    return found


def plan_of(tmp_path: Path, request: TrainingRequest) -> Plan:
    return AI_TOOLKIT.prepare(request, settings_with(tmp_path / "workspace"), "unknown")


@pytest.mark.parametrize("repeats", [(), (1, 3)])
def test_every_list_of_images_is_given_the_folder_of_masks(
    repeats: tuple[int, ...], tmp_path: Path
) -> None:
    request = make_request(tmp_path, "sdxl", masked=True, repeats=repeats)

    datasets = datasets_of(plan_of(tmp_path, request))

    assert {one["mask_path"] for one in datasets} == {str(request.data.folder / "masks")}


def test_without_masks_none_are_named(tmp_path: Path) -> None:
    (dataset,) = datasets_of(plan_of(tmp_path, make_request(tmp_path, "sdxl")))

    assert "mask_path" not in dataset


def test_where_masks_are_is_not_for_the_user_s_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("datasets:\n- mask_path: /elsewhere\n")
    request = make_request(tmp_path, "sdxl", masked=True, config_file=file)

    plan = plan_of(tmp_path, request)

    assert datasets_of(plan)[0]["mask_path"] == str(request.data.folder / "masks")
    assert "own.yaml: datasets.mask_path is not used: the pipeline sets it" in plan.warnings
