"""Plans for fal: which endpoint, which inputs, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.fal.trainer import ENDPOINTS, FAL
from tests.support.trainer_requests import make_request, settings_with

FOUR = ("one", "two", "three", "four")


def plan_of(folder: Path, architecture: str = "flux1", *, endpoint: str = "", **own: Any) -> Plan:
    chosen = {"trainers__fal__endpoint": endpoint} if endpoint else {}
    settings = settings_with(folder / "ws", **chosen)
    request = make_request(folder, architecture, **({"captions": FOUR} | own))
    return FAL.prepare(request, settings, FAL.version(settings))


def request_of(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan.files[0].content)
    return found


@pytest.mark.parametrize(
    ("architecture", "checkpoint", "endpoint"),
    [
        ("flux1", "flux-dev", "fal-ai/flux-lora-fast-training"),
        ("flux2", "flux2", "fal-ai/flux-2-trainer"),
        ("zimage", "z-image", "fal-ai/z-image-base-trainer"),
        ("zimage", "z-image-turbo", "fal-ai/z-image-trainer"),
        ("qwen_image", "qwen", "fal-ai/qwen-image-trainer"),
    ],
)
def test_each_model_goes_to_its_own_endpoint(
    architecture: str, checkpoint: str, endpoint: str, tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, architecture, checkpoint=checkpoint, recipe={"steps": 500})

    request = request_of(plan)
    assert request["endpoint"] == endpoint
    assert request["input"][ENDPOINTS[endpoint].images] == "{IMAGES}"
    assert request["input"]["steps"] == 500


def test_an_endpoint_that_is_set_is_taken_where_it_trains_the_model(tmp_path: Path) -> None:
    chosen = "fal-ai/z-image-trainer"

    zimage = plan_of(tmp_path / "a", "zimage", endpoint=chosen, recipe={"steps": 100})
    flux = plan_of(tmp_path / "b", "flux1", endpoint=chosen)

    assert request_of(zimage)["endpoint"] == chosen
    assert request_of(flux)["endpoint"] == "fal-ai/flux-lora-fast-training"


def test_only_what_an_endpoint_takes_is_sent_and_the_rest_is_named(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "flux2", recipe={"learning_rate": 3e-5, "rank": 8, "seed": 3})

    (told,) = [one for one in plan.warnings if "decides by itself" in one]
    assert request_of(plan)["input"] == {
        "image_data_url": "{IMAGES}", "steps": 4, "learning_rate": 3e-5,
        "output_lora_format": "fal",
    }  # fmt: skip
    assert "rank 8" in told
    assert "seed 3" in told
    assert "learningRate" not in told


@pytest.mark.parametrize(
    ("architecture", "changes", "words", "hint"),
    [
        ("sdxl", {}, "is sdxl", "kohya_ss"),
        ("zimage", {"recipe": {"steps": 150}}, "100 to 10000 steps, by the 100", "--steps 200"),
        ("zimage", {"recipe": {"steps": 20}}, "not 20", "--steps 100"),
        ("flux1", {"recipe": {"steps": 20_000}}, "not 20000", "--steps 10000"),
        ("flux1", {"captions": ("a", "b")}, "4 images or more, not 2", "dataset build"),
        ("flux1", {"recipe": {"alpha": 1.0}}, "alpha equal to rank", "--alpha 4"),
        ("flux1", {"masked": True}, "no masks", "--alpha background"),
    ],
)
def test_what_it_cannot_do_is_refused_with_advice(
    architecture: str, changes: dict[str, Any], words: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeInvalidError, match=words) as caught:
        plan_of(tmp_path, architecture, **changes)

    assert hint in (caught.value.hint or "")


def test_a_distilled_model_that_fal_does_not_train_is_refused(tmp_path: Path) -> None:
    request = make_request(tmp_path, "flux1", captions=FOUR)
    adapter = {"training_adapter": tmp_path / "adapter.safetensors"}
    distilled = type(request.checkpoint)(**(asdict(request.checkpoint) | adapter))
    request = type(request)(**(asdict(request) | {"checkpoint": distilled}))

    with pytest.raises(RecipeInvalidError, match="is distilled"):
        FAL.prepare(request, settings_with(tmp_path / "ws"), "unknown")


def test_an_endpoint_whose_price_nobody_knows_has_no_estimate(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "qwen_image", recipe={"steps": 1000})
    own = settings_with(tmp_path / "b", trainers__fal__pricePerThousandSteps=1.5)  # type: ignore[arg-type]

    unknown = FAL.estimate(plan, Recipe(), settings_with(tmp_path / "a"))
    known = FAL.estimate(plan, Recipe(), own)

    assert unknown.cost is None
    assert "pricePerThousandSteps" in unknown.basis
    assert (known.cost, known.minutes) == (1.5, None)


def test_progress_is_read_from_the_words_that_fals_trainers_use() -> None:
    told = FAL.read_line(OutputLine("stdout", "INFO Step 12/1000 done"))

    assert told is not None
    assert (told.step, told.total) == (12, 1000)
