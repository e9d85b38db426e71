"""What is to be expected of a plan: captions that its own trainer cuts, minutes, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.training.trainers.interface import LimitsCaptions
from lora_pipeline.training.trainers.registry import TRAINERS
from tests.support.plan_cases import settings_for_goldens
from tests.support.trainer_requests import make_request
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import invoke

LONG = "a " + "very " * 90 + "long caption"


def reach(trainer: str, architecture: str, folder: Path, user: str = "", **changes: Any) -> int:
    config = folder / ("own.toml" if trainer == "kohya_ss" else "own.json")
    config.write_text(user)
    own: dict[str, Any] = {"config_file": config} if user else {}
    request = make_request(folder, architecture, **own, **changes)
    adapter = TRAINERS[trainer]
    assert isinstance(adapter, LimitsCaptions)
    plan = adapter.prepare(request, settings_for_goldens(folder / "ws"), "1.2.3")
    tokens = adapter.caption_reach(request, plan)
    assert tokens is not None
    return tokens


@pytest.mark.parametrize(
    ("architecture", "user", "tokens"),
    [
        ("sdxl", "", 75),
        ("sdxl", "max_token_length = 225\n", 225),
        ("sd15", "[any]\nmax_token_length = 150\n", 150),
        ("sd3", "", 255),
        ("sd3", "t5xxl_max_token_length = 512\n", 511),
        ("anima", "", 512),
        ("lumina2", "", 256),
    ],
)
def test_sd_scripts_reads_what_its_options_say(
    architecture: str, user: str, tokens: int, tmp_path: Path
) -> None:
    companions = {"anima": ("qwen3", "vae"), "lumina2": ("gemma2", "ae")}.get(architecture, ())

    assert reach("kohya_ss", architecture, tmp_path, user, companions=companions) == tokens


@pytest.mark.parametrize(
    ("arguments", "tokens"),
    [(("--max_token_length", "225"), 225), (("--max_token_length=225",), 225)],
)
def test_an_argument_counts_before_the_run_file(
    arguments: tuple[str, ...], tokens: int, tmp_path: Path
) -> None:
    user = "max_token_length = 150\n"

    assert reach("kohya_ss", "sdxl", tmp_path, user, extra_arguments=arguments) == tokens


@pytest.mark.parametrize(
    ("checkpoint", "tokens"), [("flux1-dev.safetensors", 511), ("flux1-schnell.safetensors", 255)]
)
def test_flux_schnell_reads_half(checkpoint: str, tokens: int, tmp_path: Path) -> None:
    companions = ("clip_l", "t5xxl", "ae")

    found = reach("kohya_ss", "flux1", tmp_path, checkpoint=checkpoint, companions=companions)

    assert found == tokens


@pytest.mark.parametrize(
    ("name", "architecture", "tokens"),
    [
        ("z-image", "zimage", 512),
        ("krea-2-raw", "krea2", 1024),
        ("ernie-image", "ernie_image", 2048),
    ],
)
def test_mflux_reads_what_its_models_read(
    name: str, architecture: str, tokens: int, tmp_path: Path
) -> None:
    found = reach("mflux", architecture, tmp_path, checkpoint=name, checkpoint_id=name)

    assert found == tokens


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    root = training_studio(tmp_path / "studio", git=False).root
    answer = invoke(["dataset", "build", DATASET, "--suffix", LONG], root)
    assert answer.exit_code == 0, answer.stderr
    return root


def cautions(root: Path, *options: str) -> dict[str, str]:
    answer = invoke(
        ["train", "--lora", LORA, "--dataset", DATASET, "--plan", "--json", *options], root
    )
    assert answer.exit_code == 0, answer.stderr
    return {one["code"]: one["message"] for one in answer.document["data"]["cautions"]}


def test_captions_that_this_trainer_cuts_are_told_with_its_own_limit(studio: Path) -> None:
    found = cautions(studio)["captions_cut"]

    assert found.startswith("4 of 4 captions are longer than the 75 tokens that CLIP-L reads")
    assert "with diffusers" in found


def test_an_option_of_the_users_own_moves_the_limit(studio: Path, tmp_path: Path) -> None:
    own = tmp_path / "run.toml"
    own.write_text("max_token_length = 225\n")

    assert "captions_cut" in cautions(studio, "--trainer", "kohya_ss")
    assert "captions_cut" not in cautions(
        studio, "--trainer", "kohya_ss", "--trainer-config", str(own)
    )


def test_every_warning_has_a_code_and_stands_among_the_warnings(studio: Path) -> None:
    answer = invoke(
        ["train", "--lora", LORA, "--dataset", DATASET, "--plan", "--json"], studio
    ).document

    assert [one["message"] for one in answer["data"]["cautions"]] == answer["warnings"]
    assert all(one["code"].replace("_", "").isalpha() for one in answer["data"]["cautions"])


def test_sizes_and_minutes_are_told_or_said_to_be_unknown(studio: Path) -> None:
    data = invoke(
        ["train", "--lora", LORA, "--dataset", DATASET, "--plan", "--json"], studio
    ).document["data"]

    assert data["sizes"]["imageBytes"] > 0
    assert data["sizes"]["checkpointBytes"] > 0
    assert data["sizes"]["weightsBytes"] is None
    assert data["minutes"] == {
        "low": None, "high": None,
        "basis": "no run of this trainer on this base model tells yet",
    }  # fmt: skip
