"""Every plan for sd-scripts, read by sd-scripts' own parsers, when a checkout is there.

    LORA_TEST_KOHYA         checkout of sd-scripts
    LORA_TEST_KOHYA_PYTHON  Python that has its requirements

Nothing is trained and no model is loaded; half a minute, most of it imports.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.process import child_environment, run
from lora_pipeline.training.trainers.kohya import keys as kohya_keys
from lora_pipeline.training.trainers.kohya.families import FAMILIES
from lora_pipeline.training.trainers.kohya.trainer import KOHYA_SS
from lora_pipeline.training.trainers.offline import OFFLINE
from tests.support.trainer_requests import make_folder, make_request, settings_with, write_files

# Read here, because no LORA_ variable reaches a test.
_HOME = os.environ.get("LORA_TEST_KOHYA", "")
_PYTHON = os.environ.get("LORA_TEST_KOHYA_PYTHON", "")
_READER = Path(__file__).parents[3] / "support" / "programs" / "kohya_parsers.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (_HOME and _PYTHON), reason="not set: LORA_TEST_KOHYA and LORA_TEST_KOHYA_PYTHON"
    ),
]

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "resolution": 512, "mixed_precision": "bf16", "gradient_checkpointing": True, "alpha": 2.5,
        "save_every": 2, "sample_every": 2, "sample_prompts": ('a "moon" --n 1e-4', "é"),
        "batch_size": 2, "lr_scheduler": "cosine", "warmup_steps": 2, "weight_decay": 0.0,
        "gradient_accumulation": 2, "max_grad_norm": 0.5,
    },
    "linear": {"lr_scheduler": "linear", "epochs": 3, "steps": None},
    "warm-up": {"lr_scheduler": "constant_with_warmup", "warmup_steps": 3},
    "captions that change": {"caption_dropout": 0.1, "flip": True},
    "text encoder": {"train_text_encoder": True, "text_encoder_learning_rate": 5e-5},
    "convolutions": {"target_convolutions": True, "alpha": 1.0},
    "snr": {"min_snr_gamma": 5.0, "noise_offset": 0.05},
    "quantised": {"quantize": 8, "mixed_precision": "bf16", "low_memory": True},
    "without cache": {"cache_latents": False},
    "adafactor": {"optimizer": "adafactor"},
    "adamw8bit": {"optimizer": "adamw8bit"},
    "lion": {"optimizer": "lion"},
    "prodigy": {"optimizer": "prodigy", "learning_rate": 1.0},
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "alike": {},
    "buckets": {"sizes": ((512, 512), (768, 512)), "repeats": (3, 3)},
    "counts": {"repeats": (1, 4)},
    "masks": {"masked": True},
}
OWN = """
clip_skip = 2
[memory]
lowram = true
max_data_loader_n_workers = 1
[course]
optimizer_args = ["betas=0.9,0.99"]
loss_type = "huber"
huber_c = 0.2
guidance_scale = 2.0
blocks_to_swap = 2
shuffle_caption = true
network_args = ["rank_dropout=0.1"]
validation_split = 0.0
save_state = false
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("plans")
    plans = dict(_plans(folder))
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    done = run(
        [_PYTHON, str(_READER), str(folder / "plans.json"), str(folder / "answers.json")],
        cwd=Path(_HOME),
        environment=child_environment({**OFFLINE, "OMP_NUM_THREADS": "1"}),
        timeout_s=600,
    )
    assert done.status == 0, done.stderr[-3000:]
    document: dict[str, Any] = json.loads((folder / "answers.json").read_bytes())
    return document


def _plans(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    own = folder / "own.toml"
    own.write_text(OWN, encoding="utf-8")
    asked: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        *((name, recipe, {}) for name, recipe in RECIPES.items()),
        *((name, {"resolution": 512}, shape) for name, shape in SHAPES.items()),
        ("own file", {}, {"config_file": own}),
        ("arguments", {}, {"extra_arguments": ("--mixed_precision=no", "--", "--lowram")}),
    ]
    for architecture, family in FAMILIES.items():
        for number, (name, recipe, changes) in enumerate(asked):
            place = make_folder(folder / architecture / str(number))
            here = settings_with(place, trainers__kohya_ss__home=_HOME)
            companions = (*family.required, *family.optional)
            try:
                request = make_request(
                    place, architecture, recipe=recipe, companions=companions, **changes
                )
                plan = KOHYA_SS.prepare(request, here, "unknown")
            except RecipeInvalidError:
                continue  # another test says which are refused
            write_files(plan, request.run_folder)
            yield f"{architecture}, {name}", {"argv": list(plan.argv)}


@pytest.mark.parametrize("architecture", FAMILIES)
def test_sd_scripts_reads_every_plan_as_it_is_meant(
    architecture: str, answers: dict[str, Any]
) -> None:
    of_this = {
        name: problems
        for name, problems in answers["plans"].items()
        if name.startswith(f"{architecture}, ")
    }
    assert len(of_this) >= 12
    assert {name: problems for name, problems in of_this.items() if problems} == {}


def test_the_options_that_we_know_are_those_of_the_checkout(answers: dict[str, Any]) -> None:
    theirs = {f"{name}.py": set(keys) - {"help"} for name, keys in answers["keys"].items()}
    ours = {name: kohya_keys.EVERYWHERE | keys for name, keys in kohya_keys.BESIDES.items()}
    assert {name: sorted(theirs[name] ^ keys) for name, keys in ours.items()} == {
        name: [] for name in ours
    }
