"""A run that was broken off goes on, and ends as if nobody had stopped it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lora_pipeline.training.diffusion import loop  # noqa: E402
from lora_pipeline.training.diffusion.job import Job  # noqa: E402
from lora_pipeline.training.diffusion.running_mean import RunningMean  # noqa: E402
from lora_pipeline.training.diffusion.state import State, read_state, save_state  # noqa: E402
from tests.support.tiny_checkpoint import make_tiny_sd15  # noqa: E402
from tests.unit.training.diffusion.test_training import a_job  # noqa: E402

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore"),  # of the libraries; the child ignores them too
]


@pytest.fixture(autouse=True)
def _settings_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_sd15(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the trainer said; it is stopped where the last entry says so."""
    said: list[dict[str, Any]] = []

    def tell(event: str, **facts: Any) -> None:
        said.append({"event": event, **facts})
        if stops and event == "step" and facts["step"] == stops[0]:
            stops.clear()
            raise KeyboardInterrupt

    stops: list[int] = []
    said.append({"event": "stops", "at": stops})
    monkeypatch.setattr(loop, "tell", tell)
    return said


def job_in(folder: Path, checkpoint: Path, **settings: Any) -> Job:
    """Return a job of six steps that keeps its state after every second."""
    job = a_job(folder, checkpoint, "sd15", steps=6, **settings)
    document = job.to_dict() | {"stateFile": str(folder / "state.safetensors"), "stateEvery": 2}
    return Job.from_dict(document)


SETTINGS: list[Any] = [
    {"lrScheduler": "cosine", "warmupSteps": 3, "emaDecay": 0.9},
    pytest.param(
        {"optimizer": "adafactor", "gradientAccumulation": 2, "saveEvery": 2},
        marks=pytest.mark.slow,
    ),
    pytest.param(
        {"mixedPrecision": "bf16", "flip": True, "captionDropout": 0.4}, marks=pytest.mark.slow
    ),
    pytest.param(
        {"trainTextEncoder": True, "cacheLatents": False, "lrScheduler": "linear"},
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_run_that_goes_on_ends_with_the_same_bytes(
    settings: dict[str, Any], checkpoint: Path, tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    whole = loop.train(job_in(tmp_path / "whole", checkpoint, **settings)).read_bytes()
    job = job_in(tmp_path / "broken", checkpoint, **settings)
    told[0]["at"].append(5)
    with pytest.raises(KeyboardInterrupt):
        loop.train(job)
    told.clear()

    again = loop.train(job).read_bytes()

    assert again == whole
    assert [one["step"] for one in told if one["event"] == "step"] == [5, 6]


@pytest.mark.parametrize(
    "broken", ["of another seed", "changed", pytest.param("cut short", marks=pytest.mark.slow)]
)
def test_a_state_that_cannot_be_trusted_is_not_gone_on_from(
    broken: str, checkpoint: Path, tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    job = job_in(tmp_path, checkpoint)
    other = job_in(tmp_path, checkpoint, seed=8)
    loop.train(other if broken == "of another seed" else job)
    path = Path(job.state_file)
    if broken == "cut short":
        path.write_bytes(path.read_bytes()[:-100])
    elif broken == "changed":
        data = bytearray(path.read_bytes())
        data[-1] ^= 0xFF
        path.write_bytes(data)
    told.clear()

    loop.train(job)

    assert [one["step"] for one in told if one["event"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert "begins anew" in next(one["message"] for one in told if one["event"] == "warning")


def test_a_state_comes_back_as_it_was_and_belongs_to_one_job(tmp_path: Path) -> None:
    job = job_in(tmp_path, Path("/models/base"))
    path = tmp_path / "s.safetensors"
    tensors = {
        "trained.00000": torch.arange(6.0).view(2, 3),
        "memory.00000.step": torch.tensor(4.0),
    }

    save_state(path, job, State(4, tensors, {"losses": [0.5]}))

    found = read_state(path, job)
    assert found is not None
    assert (found.step, found.scalars) == (4, {"losses": [0.5]})
    assert all(torch.equal(found.tensors[name], one) for name, one in tensors.items())
    moved = Job.from_dict(job.to_dict() | {"outputFolder": "/elsewhere", "stateFile": "/x"})
    assert read_state(path, moved) is not None
    assert read_state(path, Job.from_dict(job.to_dict() | {"totalSteps": 7})) is None


def test_a_running_mean_begins_fast_and_becomes_slow() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    mean = RunningMean([weight], 0.5)
    weight.data.fill_(1.0)

    mean.follow(1)
    first = float(mean.means[0])
    mean.follow(100)

    assert first == pytest.approx(0.9)
    assert float(mean.means[0]) == pytest.approx(0.95)
    with mean.in_place():
        assert float(weight) == pytest.approx(0.95)
    assert float(weight) == 1.0


def test_the_running_mean_is_what_is_kept(
    checkpoint: Path, tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    plain = loop.train(job_in(tmp_path / "plain", checkpoint, learningRate=0.05))
    mean = loop.train(job_in(tmp_path / "mean", checkpoint, learningRate=0.05, emaDecay=0.99))

    assert _size_of_up(mean) < _size_of_up(plain)


def _size_of_up(path: Path) -> float:
    from safetensors.torch import load_file

    ups = [one for name, one in load_file(path).items() if name.endswith("lora_B.weight")]
    return float(torch.cat([one.flatten() for one in ups]).norm())


def test_an_image_model_gets_the_weights_of_the_paper() -> None:
    from lora_pipeline.training.diffusion.objective import NoiseSchedule

    kept = torch.tensor([0.99, 0.5, 0.1])
    times, ratio = torch.arange(3), torch.tensor([99.0, 1.0, 1 / 9])
    capped = ratio.clamp_max(5.0)
    for prediction, expected in (
        ("sample", capped),
        ("epsilon", capped / ratio),
        ("v_prediction", capped / (ratio + 1)),
    ):
        weights = NoiseSchedule(kept, prediction).weights(times, 5.0)
        assert torch.allclose(weights, expected, atol=1e-4), prediction


def test_a_job_without_a_state_keeps_none(
    checkpoint: Path, tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    job = replace_job(job_in(tmp_path, checkpoint), stateFile="", stateEvery=0)

    loop.train(job)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "output"]


def replace_job(job: Job, **changes: Any) -> Job:
    """Return a job with other settings."""
    return Job.from_dict(job.to_dict() | changes)
