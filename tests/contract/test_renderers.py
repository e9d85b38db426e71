"""What every renderer keeps, whichever program draws.

The fake stands for renderers of which nothing is installed here; ``diffusers`` draws for real
with tiny checkpoints of each architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.orders import NAME as ORDERS
from lora_pipeline.evaluation.pixels import is_constant, read_pixels
from lora_pipeline.evaluation.renderers.diffusers.renderer import DiffusersRenderer
from lora_pipeline.evaluation.renderers.interface import (
    CellRequest,
    RenderSession,
    RenderSource,
)
from lora_pipeline.evaluation.renderers.registry import RENDERERS
from lora_pipeline.foundation.errors import ImageRefusedError, RendererError
from tests.support.fake_renderer import FakeRenderer
from tests.support.lora_files import write_lora
from tests.support.renderer_cases import (
    Case,
    a1111_case,
    comfyui_case,
    fal_case,
    lora_file,
    mflux_case,
    replicate_case,
    settings_with,
)


def _fake(folder: Path) -> Case:
    weights = folder / "weights"
    weights.write_bytes(b"weights")
    beside = folder / "beside"
    beside.write_bytes(b"others")
    source = RenderSource(folder / "base", "sd15", (lora_file(weights),))
    settings, session = settings_with(folder, {}), _session_folder(folder)
    return Case(FakeRenderer(), source, settings, session, beside)


def _diffusers(folder: Path, architecture: str) -> Case:
    pytest.importorskip("diffusers")
    from tests.support import tiny_checkpoint

    make = getattr(tiny_checkpoint, f"make_tiny_{architecture}")
    checkpoint = make(folder / "checkpoint")
    weights = write_lora(checkpoint, folder / "weights")
    # The other one is for other parts: what one has and the other lacks must not get in the way.
    parts = {"sd15": ("unet", "text_encoder"), "sdxl": ("unet",), "flux1": ("transformer",)}
    beside = write_lora(checkpoint, folder / "beside", parts=parts[architecture], seed=8)
    source = RenderSource(checkpoint, architecture, (lora_file(weights),))
    settings, session = settings_with(folder, {}), _session_folder(folder)
    return Case(DiffusersRenderer(), source, settings, session, beside)


def _session_folder(folder: Path) -> Path:
    session = folder / "session"
    session.mkdir()
    return session


CASES = [
    "fake",
    "comfyui",
    "a1111",
    "mflux",
    "replicate",
    "fal",
    pytest.param("diffusers sd15", marks=pytest.mark.train),
    pytest.param("diffusers sdxl", marks=[pytest.mark.train, pytest.mark.slow]),
    pytest.param("diffusers flux1", marks=[pytest.mark.train, pytest.mark.slow]),
]
SERVED = {
    "comfyui": comfyui_case,
    "a1111": a1111_case,
    "mflux": mflux_case,
    "replicate": replicate_case,
    "fal": fal_case,
}


@pytest.fixture(scope="module", params=CASES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("renderer")
    name, _, architecture = request.param.partition(" ")
    if name in SERVED:
        if name != "mflux":
            pytest.importorskip("httpx2")
        with SERVED[name](folder) as served:
            yield served
    else:
        yield _fake(folder) if name == "fake" else _diffusers(folder, architecture)


@pytest.fixture(scope="module")
def session(case: Case) -> Iterator[RenderSession]:
    with case.renderer.open(case.source, case.settings, case.folder) as opened:
        yield opened


def cell(**changes: Any) -> CellRequest:
    request = CellRequest(
        cell_id="0" * 16,
        prompt="trg, a red heart icon",
        negative="",
        seed=11,
        strength=0.0,
        width=64,
        height=64,
        steps=2,
        guidance=3.0,
        sampler="default",
    )
    return replace(request, **changes)


@pytest.fixture
def draw(session: RenderSession, tmp_path: Path) -> Any:
    def drawn(**changes: Any) -> np.ndarray:
        request, target = cell(**changes), tmp_path / "cell.png"
        target.unlink(missing_ok=True)
        session.render(request, target)
        return read_pixels(target, width=request.width, height=request.height)

    return drawn


def test_a_renderer_says_what_draws_and_on_what(case: Case, session: RenderSession) -> None:
    identity = session.identity
    assert identity.name == case.renderer.name
    assert identity.version
    assert re.fullmatch("sha256:[0-9a-f]{64}", identity.fingerprint)
    assert case.renderer.health(case.settings) is None


def test_a_picture_has_the_size_that_was_asked_for_and_shows_something(draw: Any) -> None:
    assert draw().shape == (64, 64, 3)
    assert draw(width=96, height=64).shape == (64, 96, 3)
    assert not is_constant(draw())


def test_the_same_request_gives_the_same_pixels_whatever_was_drawn_between(draw: Any) -> None:
    first = draw(strength=1.0)
    draw(seed=12, strength=0.3)
    draw()
    assert np.array_equal(draw(strength=1.0), first)


def test_the_base_is_the_same_before_and_after_the_lora_was_used(draw: Any) -> None:
    before = draw()
    draw(strength=1.0)
    assert np.array_equal(draw(), before)


def test_seed_prompt_and_strength_all_change_the_picture(draw: Any) -> None:
    pictures = [
        draw(),
        draw(seed=12),
        draw(prompt="a blue house icon"),
        draw(strength=0.5),
        draw(strength=1.0),
    ]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_the_lora_changes_more_the_stronger_it_is(draw: Any) -> None:
    base, half, full = (draw(strength=s).astype(int) for s in (0.0, 0.5, 1.0))
    assert 0 < np.abs(half - base).mean() < np.abs(full - base).mean()


def test_a_request_that_cannot_be_drawn_leaves_the_session_usable(
    case: Case, session: RenderSession, draw: Any
) -> None:
    if isinstance(case.renderer, FakeRenderer):
        pytest.skip("the fake draws everything; its faults have tests of their own")
    with pytest.raises((RendererError, ImageRefusedError)):
        draw(width=7)  # some refuse, some round it: then the size tells
    with pytest.raises(RendererError, match="sampler 'magic' does not go with"):
        draw(sampler="magic")
    assert session.alive
    assert draw().shape == (64, 64, 3)


def test_another_session_draws_the_same_and_leaves_nothing_but_its_log(
    case: Case, session: RenderSession, draw: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    with case.renderer.open(case.source, case.settings, folder) as second:
        second.render(cell(strength=1.0), tmp_path / "again.png")
        again = read_pixels(tmp_path / "again.png", width=64, height=64)
        assert second.identity == session.identity
    assert np.array_equal(draw(strength=1.0), again)
    # What was ordered for money stays until whoever opened the session has counted it.
    ordered = {ORDERS} if case.renderer.name in {"replicate", "fal"} else set[str]()
    assert {path.name for path in folder.iterdir()} == {"renderer.log"} | ordered


def test_loras_that_go_together_make_another_picture_than_each_alone(
    case: Case, draw: Any, tmp_path: Path
) -> None:
    base, alone = draw(), draw(strength=1.0)
    pictures = {"base": base, "alone": alone}
    stacks = {
        "both": case.stacked(1.0, 0.7),
        "both weaker": case.stacked(0.5, 0.7),
        "the other alone": replace(case.source, loras=(case.stacked(1.0, 1.0).loras[1],)),
    }
    for number, (name, source) in enumerate(stacks.items()):
        folder = tmp_path / f"stack-{number}"
        folder.mkdir()
        with case.renderer.open(source, case.settings, folder) as session:
            target = folder / "joint.png"
            session.render(cell(strength=1.0), target)
            pictures[name] = read_pixels(target, width=64, height=64)
            base_again = folder / "base.png"
            session.render(cell(), base_again)
            assert np.array_equal(read_pixels(base_again, width=64, height=64), base)
            if name == "both":
                assert session.identity.name == case.renderer.name
                again = folder / "again.png"
                session.render(cell(strength=1.0), again)
                assert again.read_bytes() == target.read_bytes()
    assert len({one.tobytes() for one in pictures.values()}) == len(pictures)


def test_a_program_that_uses_one_of_several_loras_is_refused(case: Case, tmp_path: Path) -> None:
    if case.server is None:
        pytest.skip("its pipeline is ours: tensors in use are counted")
    tell = getattr(case.server, "fail_with", lambda fault: setattr(case.server, "fault", fault))
    folder = tmp_path / "session"
    folder.mkdir()
    tell("only_one_lora")
    try:
        with (
            pytest.raises(RendererError, match=r"of the 2 LoRAs changes nothing"),
            case.renderer.open(case.stacked(1.0, 1.0), case.settings, folder),
        ):
            pass
    finally:
        tell("")


def test_the_registry_names_every_renderer_by_its_name() -> None:
    assert list(RENDERERS) == ["diffusers", "comfyui", "a1111", "mflux", "replicate", "fal"]
    assert all(name == one.name for name, one in RENDERERS.items())
