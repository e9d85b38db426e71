"""Plans for Replicate: what is sent, what is refused, what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.replicate.trainer import REPLICATE
from tests.support.trainer_requests import make_request, settings_with

VERSION = "2" * 64


def plan_of(folder: Path, architecture: str = "flux1", **changes: Any) -> Plan:
    settings = settings_with(folder / "ws", trainers__replicate__version=VERSION)
    request = make_request(folder, architecture, **changes)
    return REPLICATE.prepare(request, settings, REPLICATE.version(settings))


def inputs_of(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan.files[0].content)["input"]
    return found


def own_file(folder: Path, **values: Any) -> Path:
    path = folder / "own.json"
    path.write_text(json.dumps(values))
    return path


def test_the_request_holds_the_recipe_and_no_word_that_would_change_captions(
    tmp_path: Path,
) -> None:
    recipe = {"steps": 1200, "rank": 32, "learning_rate": 2e-4, "optimizer": "adamw8bit",
              "resolution": 1024, "batch_size": 2, "caption_dropout": 0.05}  # fmt: skip
    inputs = inputs_of(plan_of(tmp_path, recipe=recipe))

    assert inputs == {
        "input_images": "{IMAGES}", "trigger_word": "", "autocaption": False, "steps": 1200,
        "learning_rate": 2e-4, "batch_size": 2, "resolution": "1024", "lora_rank": 32,
        "caption_dropout_rate": 0.05, "optimizer": "adamw8bit", "gradient_checkpointing": False,
        "wandb_run": "lora-01jz8b9q6v3w2k4m5n7p8r9s0t",
    }  # fmt: skip


def test_what_is_not_sent_is_named(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, recipe={"seed": 7, "weight_decay": 0.1, "save_every": 100})

    (told,) = [one for one in plan.warnings if "decides by itself" in one]
    assert "seed 7" in told
    assert "weightDecay 0.1" in told
    assert "saveEvery 100" in told
    assert "rank" not in told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": {"steps": 2}}, "3 to 6000 steps"),
        ({"recipe": {"steps": 6001}}, "3 to 6000 steps"),
        ({"recipe": {"rank": 200}}, "ranks of 1 to 128"),
        ({"recipe": {"alpha": 8.0}}, "alpha equal to rank"),
        ({"recipe": {"train_text_encoder": True}}, "no text encoder"),
        ({"recipe": {"target_convolutions": True}}, "no convolutions"),
        ({"recipe": {"min_snr_gamma": 5.0}}, "SNR"),
        ({"recipe": {"noise_offset": 0.1}}, "noise offset"),
        ({"recipe": {"flip": True}}, "does not mirror"),
        ({"recipe": {"lr_scheduler": "cosine"}}, "learning rate constant"),
        ({"recipe": {"gradient_accumulation": 2}}, "accumulates no gradients"),
        ({"recipe": {"optimizer": "prodigy"}}, "learning rate of 1"),
        ({"repeats": (1, 3)}, "equally often"),
        ({"masked": True}, "no masks"),
        ({"extra_arguments": ("--lowram",)}, "no program"),
        ({"architecture": "sdxl"}, "trains flux1"),
    ],
)
def test_what_it_cannot_do_is_refused_with_advice(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeInvalidError, match=words) as caught:
        plan_of(tmp_path, **changes)

    assert caught.value.hint


def test_the_users_file_says_what_the_recipe_does_not_speak_of(tmp_path: Path) -> None:
    own = own_file(
        tmp_path, layers_to_optimize_regex="single.*", resolution="32,64", lora_rank=99,
        autocaption=True, stepz=3,
    )  # fmt: skip

    plan = plan_of(tmp_path, config_file=own)

    inputs = inputs_of(plan)
    assert inputs["layers_to_optimize_regex"] == "single.*"
    assert (inputs["resolution"], inputs["lora_rank"], inputs["autocaption"]) == ("32,64", 4, False)
    said = "\n".join(plan.warnings)
    assert "own.json: lora_rank is not used: the recipe says rank" in said
    assert "own.json: autocaption is not used: the pipeline sets it" in said
    assert "did you mean steps?" in said


@pytest.mark.parametrize(
    "values",
    [{"hf_token": "x"}, {"hf_repo_id": "a/b"}, {"wandb_api_key": "x"}, {"webhook": "https://x"}],
)
def test_secrets_and_uploads_in_the_users_file_are_refused(
    values: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RecipeInvalidError, match="elsewhere"):
        plan_of(tmp_path, config_file=own_file(tmp_path, **values))


def test_a_resolution_that_is_not_the_recipes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalidError, match="64 is the largest"):
        plan_of(tmp_path, config_file=own_file(tmp_path, resolution="512,1024"))


def test_the_estimate_is_the_time_at_the_price_of_a_second(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, recipe={"steps": 1000, "batch_size": 2})
    recipe = Recipe(batch_size=2)
    dated = REPLICATE.estimate(plan, recipe, settings_with(tmp_path / "a"))
    own = settings_with(tmp_path / "b", trainers__replicate__pricePerSecond=0.002)  # type: ignore[arg-type]
    settled = REPLICATE.estimate(plan, recipe, own)

    assert dated.cost == pytest.approx((120 + 1000 * 2 * 1.2) * 0.001525, abs=1e-3)
    assert dated.minutes == 42.0
    assert "price of 20" in dated.basis
    assert settled.cost == pytest.approx(5.04)
    assert "price of" not in settled.basis


def test_a_bar_of_its_log_is_progress() -> None:
    line = (
        "flux_train_replicate:  12%|#2 | 120/1000 [01:00<07:20,  2.0it/s, lr: 4e-4 loss: 3.1e-01]"
    )

    told = REPLICATE.read_line(OutputLine("stdout", line))

    assert told is not None
    assert (told.step, told.total, told.loss) == (120, 1000, 0.31)
