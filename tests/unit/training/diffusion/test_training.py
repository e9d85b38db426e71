"""Real training on tiny checkpoints of every kind: learns, repeats itself, and is read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")

from lora_pipeline.training.diffusion import loop, messages  # noqa: E402
from lora_pipeline.training.diffusion.batches import Shown  # noqa: E402
from lora_pipeline.training.diffusion.checkpoint_folder import open_pipeline  # noqa: E402
from lora_pipeline.training.diffusion.examples import Examples  # noqa: E402
from lora_pipeline.training.diffusion.job import Job, JobImage, read_job  # noqa: E402
from lora_pipeline.training.diffusion.models import Model, open_model  # noqa: E402
from lora_pipeline.training.plan import CheckpointOnDisk  # noqa: E402
from lora_pipeline.training.recipe import Layer, resolve_recipe  # noqa: E402
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights, require_usable  # noqa: E402
from tests.support.tiny_checkpoint import (  # noqa: E402
    make_tiny_flux1,
    make_tiny_sd15,
    make_tiny_sdxl,
)

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore"),  # of the libraries; the child ignores them too
]
MAKERS = {"sd15": make_tiny_sd15, "sdxl": make_tiny_sdxl, "flux1": make_tiny_flux1}


@pytest.fixture(autouse=True)
def _settings_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny checkpoint of each architecture."""
    home = tmp_path_factory.mktemp("checkpoints")
    return {name: make(home / name) for name, make in MAKERS.items()}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the trainer said."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(loop, "tell", lambda event, **facts: said.append({"event": event, **facts}))
    return said


def drawn(folder: Path, count: int = 4, size: tuple[int, int] = (64, 64)) -> tuple[JobImage, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number in range(1, count + 1):
        image = Image.new("RGB", size, (255, 255, 255))
        ImageDraw.Draw(image).ellipse((8, 8, 40 + number, 40), fill=(200, 40 * number % 255, 60))
        image.save(folder / f"{number:06}.png")
        images.append(
            JobImage(
                name=f"{number:06}.png", caption=f"trg blob {number}", repeats=1,
                width=size[0], height=size[1],
            )
        )  # fmt: skip
    return tuple(images)


def a_job(folder: Path, checkpoint: Path, architecture: str, **settings: Any) -> Job:
    """Return a short job; ``settings`` are those of a recipe."""
    steps = settings.pop("steps", 4)
    images = settings.pop("images", None) or drawn(folder / "images")
    values = {"steps": steps, "resolution": 64, "rank": 2, "learningRate": 0.01, "batchSize": 2}
    return Job(
        checkpoint=str(checkpoint),
        architecture=architecture,
        images_folder=str(folder / "images"),
        images=images,
        output_folder=str(folder / "output"),
        output_name="w",
        total_steps=steps,
        recipe=resolve_recipe([Layer("test", values | settings)]).recipe,
        metadata={"modelspec.title": "w"},
        device="cpu",
    )


def trained(job: Job) -> WeightsReport:
    return inspect_weights(loop.train(job))


@pytest.mark.parametrize("name", MAKERS)
def test_every_architecture_is_trained_and_its_weights_fit(
    name: str, checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    job = a_job(
        tmp_path, checkpoints[name], name,
        trainTextEncoder=name == "sd15", targetConvolutions=name != "flux1",
    )  # fmt: skip

    report = trained(job)

    fit = require_usable(report, CheckpointOnDisk(name, name, checkpoints[name], ""))
    assert fit is not None
    assert fit.proven
    assert name in report.architectures
    assert report.rank == 2
    assert [one["step"] for one in told if one["event"] == "step"] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["sd15", "flux1"])
def test_training_learns(
    name: str, checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    trained(a_job(tmp_path, checkpoints[name], name, steps=30, rank=8))

    averages = [one["average"] for one in told if one["event"] == "step"]
    assert averages[-1] < 0.93 * averages[4]


def test_same_seed_gives_the_same_file_and_another_seed_another(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    digests = [
        trained(
            a_job(tmp_path / str(number), checkpoints["sd15"], "sd15", seed=seed, flip=True,
                  captionDropout=0.5)
        ).sha256
        for number, seed in enumerate((1, 1, 2))
    ]  # fmt: skip

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.parametrize("name", MAKERS)
def test_diffusers_loads_the_file_whole_and_draws_something_else(
    name: str, checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    report = trained(a_job(tmp_path, checkpoints[name], name))
    pipeline = open_pipeline(checkpoints[name], dtype=torch.float32, device="cpu")
    before = _drawn_by(pipeline)

    pipeline.load_lora_weights(str(report.path), adapter_name="trained")

    denoiser = pipeline.transformer if name == "flux1" else pipeline.unet
    loaded = [key for key, _ in denoiser.named_parameters() if "lora_A" in key]
    assert len(loaded) == report.components["denoiser"]
    assert _drawn_by(pipeline) != before


def _drawn_by(pipeline: Any) -> bytes:
    generator = torch.Generator().manual_seed(0)
    image = pipeline(
        "trg blob", num_inference_steps=2, height=64, width=64, generator=generator
    ).images[0]
    data: bytes = image.tobytes()
    return data


def test_scale_is_in_the_weights_so_that_every_program_reads_the_same(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    from lora_pipeline.training.diffusion.adapters import add_adapters
    from lora_pipeline.training.diffusion.models import open_model
    from lora_pipeline.training.diffusion.saving import lora_tensors

    job = a_job(tmp_path, checkpoints["sd15"], "sd15", alpha=1, rank=4)
    model = open_model(open_pipeline(checkpoints["sd15"], dtype=torch.float32, device="cpu"))
    add_adapters(model, job.recipe)
    for key, parameter in model.denoiser.named_parameters():
        if "lora_B" in key:
            torch.nn.init.ones_(parameter)

    tensors = lora_tensors({"unet": model.denoiser}, 1 / 4)

    ups = [tensor for key, tensor in tensors.items() if key.endswith("lora_B.weight")]
    assert all(bool((tensor == 0.25).all()) for tensor in ups)


def test_the_file_does_what_the_model_did_that_was_trained(
    checkpoints: dict[str, Path],
    tmp_path: Path,
    told: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Model] = []

    def remember(pipeline: Any) -> Model:
        seen.append(open_model(pipeline))
        return seen[-1]

    monkeypatch.setattr(loop, "open_model", remember)
    report = trained(
        a_job(
            tmp_path, checkpoints["sd15"], "sd15", alpha=1, rank=4, learningRate=0.05,
            trainTextEncoder=True, targetConvolutions=True,
        )
    )  # fmt: skip
    fresh = open_pipeline(checkpoints["sd15"], dtype=torch.float32, device="cpu")
    before = _predicted(fresh)

    fresh.load_lora_weights(str(report.path))

    after = _predicted(seen[0].pipeline)
    assert torch.allclose(_predicted(fresh), after, atol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)


def _predicted(pipeline: Any) -> Any:
    hidden, _ = pipeline.encode_prompt("trg blob", "cpu", 1, False)
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return pipeline.unet(noisy, 500, encoder_hidden_states=hidden).sample


def test_checkpoints_are_kept_as_often_as_asked(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    trained(a_job(tmp_path, checkpoints["sd15"], "sd15", steps=6, saveEvery=2))

    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == [
        "w-step000002.safetensors", "w-step000004.safetensors", "w.safetensors",
    ]  # fmt: skip


def test_samples_are_drawn_as_often_as_asked(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    trained(a_job(tmp_path, checkpoints["sd15"], "sd15", sampleEvery=2, samplePrompts=["trg blob"]))

    names = [path.name for path in sorted((tmp_path / "samples").iterdir())]
    assert names == ["step000002-01.png", "step000004-01.png"]
    assert Image.open(tmp_path / "samples" / names[0]).size == (64, 64)


@pytest.mark.parametrize(
    "settings",
    [
        {"mixedPrecision": "bf16"},
        {"gradientCheckpointing": True},
        {"cacheLatents": False},
        {"lowMemory": True},
        {"optimizer": "adafactor"},
        {"lrScheduler": "cosine", "warmupSteps": 2},
        {"lrScheduler": "linear"},
        {"minSnrGamma": 5, "noiseOffset": 0.1},
        {"gradientAccumulation": 2},
        {"maxGradNorm": 0},
        {"trainTextEncoder": True, "textEncoderLearningRate": 0.001},
    ],
    ids=str,
)
def test_every_setting_trains(
    settings: dict[str, Any],
    checkpoints: dict[str, Path],
    tmp_path: Path,
    told: list[dict[str, Any]],
) -> None:
    report = trained(a_job(tmp_path, checkpoints["sd15"], "sd15", steps=2, **settings))

    assert report.problems == ()
    assert report.types == (
        {"BF16": len(report.modules) * 2}
        if settings.get("mixedPrecision") == "bf16"
        else {"F32": len(report.modules) * 2}
    )


def test_images_of_several_shapes_are_trained_together(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    square = drawn(tmp_path / "images", 3)
    wide = drawn(tmp_path / "images" / "wide", 3, (120, 40))
    images = (*square, *(_below("wide", one) for one in wide))

    assert trained(a_job(tmp_path, checkpoints["sdxl"], "sdxl", images=images)).problems == ()


def _below(folder: str, image: JobImage) -> JobImage:
    return JobImage.from_dict(image.to_dict() | {"name": f"{folder}/{image.name}"})


def test_a_loss_that_is_no_number_stops_with_a_reason(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    job = Job.from_dict(_poisoned(a_job(tmp_path, checkpoints["sd15"], "sd15")))

    with pytest.raises(messages.TrainingStoppedError) as caught:
        loop.train(job)

    assert caught.value.code == "diverged"
    assert not (tmp_path / "output" / "w.safetensors").exists()


def _poisoned(job: Job) -> dict[str, Any]:
    # A noise offset far beyond what the rules allow makes the numbers overflow for certain.
    document = job.to_dict()
    document["recipe"] |= {"noiseOffset": 1e38}
    return document


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"mixedPrecision": "fp16"}, "recipe_invalid", "needs a GPU"),
        ({"device": "cuda"}, "no_gpu", "device cuda is not available"),
        ({"checkpoint": "/nowhere"}, "checkpoint_unreadable", "no checkpoint at /nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(
    settings: dict[str, Any],
    code: str,
    words: str,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    told: list[dict[str, Any]],
) -> None:
    outside = {key: settings.pop(key) for key in ("device", "checkpoint") if key in settings}
    job = a_job(tmp_path, checkpoints["sd15"], "sd15", **settings)

    with pytest.raises(messages.TrainingStoppedError, match=words) as caught:
        loop.train(Job.from_dict(job.to_dict() | outside))

    assert caught.value.code == code


def test_long_captions_are_said_to_be_cut(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    (first, *others) = drawn(tmp_path / "images")
    long = JobImage.from_dict(first.to_dict() | {"caption": "trg " + "word " * 60})

    trained(a_job(tmp_path, checkpoints["sd15"], "sd15", steps=1, images=(long, *others)))

    assert [one["message"] for one in told if one["event"] == "warning"] == [
        "1 captions are longer than 77 tokens and are cut"
    ]


def test_a_job_is_read_back_as_it_was_written(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    job = a_job(tmp_path, checkpoints["sd15"], "sd15")
    (tmp_path / "job.json").write_text(job.to_text())

    assert read_job(tmp_path / "job.json") == job


# ---- masks


def with_masks(job: Job, left: int, right: int) -> Job:
    """Return a job whose images have masks: the left half of each counts so, the right so."""
    folder = Path(job.images_folder) / "masks"
    folder.mkdir()
    for one in job.images:
        mask = Image.new("L", (one.width, one.height), left)
        mask.paste(right, (one.width // 2, 0, one.width, one.height))
        mask.save(folder / one.name)
    images = tuple(replace(one, mask=f"masks/{one.name}") for one in job.images)
    return replace(job, images=images)


def losses_of(told: list[dict[str, Any]]) -> list[float]:
    return [one["loss"] for one in told if one["event"] == "step"]


@pytest.mark.parametrize("name", ["sd15", "flux1"])
def test_white_masks_train_the_same_file_as_no_masks(
    name: str, checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    plain = a_job(tmp_path / "plain", checkpoints[name], name, flip=True)
    masked = with_masks(a_job(tmp_path / "masked", checkpoints[name], name, flip=True), 255, 255)

    assert trained(plain).sha256 == trained(masked).sha256


@pytest.mark.parametrize("name", MAKERS)
def test_a_mask_weighs_the_loss_by_what_it_shows(
    name: str, checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    left, right, both = (
        a_job(tmp_path / folder, checkpoints[name], name, steps=1)
        for folder in ("left", "right", "both")
    )
    loop.train(with_masks(left, 255, 0))
    loop.train(with_masks(right, 0, 255))
    loop.train(both)

    one, other, whole = losses_of(told)
    # Each half of the latents counts in one of them, and both together are the whole.
    assert one + other == pytest.approx(whole, rel=1e-3)
    assert 0 < one < whole


def test_what_is_masked_out_is_not_learnt(
    checkpoints: dict[str, Path], tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    job = with_masks(a_job(tmp_path, checkpoints["sd15"], "sd15", weightDecay=0.0), 0, 0)

    report = trained(job)

    assert losses_of(told) == [0, 0, 0, 0]
    assert any("nothing was trained" in one.message for one in report.problems)


@pytest.mark.parametrize("cache", [True, False])
def test_masks_are_mirrored_with_their_images(
    cache: bool, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    job = a_job(tmp_path, checkpoints["sd15"], "sd15", flip=True, cacheLatents=cache)
    job = with_masks(job, 255, 0)
    model = open_model(
        open_pipeline(checkpoints["sd15"], dtype=torch.float32, device="cpu", config=None)
    )
    examples = Examples(job, model, torch.device("cpu"), torch.float32)
    shown = [Shown(0, (64, 64), mirrored, silent=False) for mirrored in (False, True)]
    latents = torch.zeros(2, 4, 8, 8)

    masks = examples.masks(shown, latents)

    assert masks is not None
    assert masks.shape == (2, 1, 8, 8)
    assert bool((masks[0] == masks[1].flip(-1)).all())
    assert masks[0, 0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
