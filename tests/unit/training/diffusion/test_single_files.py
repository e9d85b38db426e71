"""A checkpoint as one file is the same model as its folder, and trains to the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lora_pipeline.training.diffusion import loop  # noqa: E402
from lora_pipeline.training.diffusion.checkpoint_folder import open_pipeline  # noqa: E402
from lora_pipeline.training.diffusion.job import Job  # noqa: E402
from lora_pipeline.training.weights.inspection import inspect_weights  # noqa: E402
from tests.support import single_files, tiny_checkpoint  # noqa: E402
from tests.unit.training.diffusion.test_training import a_job  # noqa: E402

# Read here, because no LORA_ variable reaches a test.
_LARGE = os.environ.get("LORA_TEST_LARGE", "")
pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore"),  # of the libraries; the child ignores them too
]
MAKERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path, Path], Path]]] = {
    "sd15": (tiny_checkpoint.make_tiny_sd15, single_files.write_sd15),
    # In a file, diffusers knows the two text encoders of SDXL by their widths.
    "sdxl": (partial(tiny_checkpoint.make_tiny_sdxl, second=48), single_files.write_sdxl),
}


@pytest.fixture(autouse=True)
def _settings_of_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    monkeypatch.setattr(loop, "tell", lambda *_, **__: None)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module", params=sorted(MAKERS))
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """An architecture, a folder of it, and the same as one file."""
    make, write = MAKERS[request.param]
    home = tmp_path_factory.mktemp(request.param)
    folder = make(home / "folder")
    return request.param, folder, write(folder, home / "model.safetensors")


def test_every_number_of_the_file_comes_to_where_it_is_in_the_folder(
    both: tuple[str, Path, Path],
) -> None:
    _, folder, file = both
    ours = open_pipeline(file, dtype=torch.float32, device="cpu", config=folder)
    theirs = open_pipeline(folder, dtype=torch.float32, device="cpu")

    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        part = getattr(theirs, name, None)
        if part is None:
            continue
        expected = part.state_dict()
        found = getattr(ours, name).state_dict()
        assert found.keys() == expected.keys(), name
        assert [key for key, one in expected.items() if not torch.equal(one, found[key])] == []


def test_a_file_trains_to_the_bytes_that_its_folder_trains_to(
    both: tuple[str, Path, Path], tmp_path: Path
) -> None:
    name, folder, file = both
    settings: dict[str, Any] = {"steps": 2, "trainTextEncoder": name == "sd15"}
    one = a_job(tmp_path / "folder", folder, name, **settings)
    other = a_job(tmp_path / "file", file, name, **settings)
    other = Job.from_dict(other.to_dict() | {"config": str(folder)})

    assert loop.train(other).read_bytes() == loop.train(one).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not _LARGE, reason="not set: LORA_TEST_LARGE (4 GB of memory)")
def test_a_file_of_flux_is_trained_with_the_other_parts_of_a_folder(tmp_path: Path) -> None:
    # diffusers knows one width of FLUX in single files, so that this one is as wide as the real.
    folder = tiny_checkpoint.make_tiny_flux1(tmp_path / "folder", heads=24, head_size=128)
    file = single_files.write_flux1(folder, tmp_path / "flux1.safetensors")
    job = a_job(tmp_path, file, "flux1", steps=1, mixedPrecision="bf16", batchSize=1)
    job = Job.from_dict(job.to_dict() | {"config": str(folder)})
    expected = open_pipeline(folder, dtype=torch.bfloat16, device="cpu").transformer.state_dict()
    found = open_pipeline(file, dtype=torch.bfloat16, device="cpu", config=folder)
    loaded = found.transformer.state_dict()
    assert [key for key, one in expected.items() if not torch.equal(one, loaded[key])] == []
    del expected, found, loaded

    report = inspect_weights(loop.train(job))

    assert report.problems == ()
    assert "flux1" in report.architectures
