"""mflux, which ends with 0 whatever happened: its words and its one picture are what counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.renderers.interface import CellRequest
from lora_pipeline.evaluation.renderers.mflux.command import (
    MfluxModel,
    chosen_model,
    require_applied,
)
from lora_pipeline.foundation.errors import ImageRefusedError, RendererError
from tests.support.renderer_cases import Case, mflux_case, settings_with

CELL = CellRequest("c" * 16, "--help me draw a heart", "", 7, 0.8, 64, 64, 4, 3.0, "default")


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with mflux_case(tmp_path) as case:
        yield case


def opened(case: Case) -> Any:
    return case.renderer.open(case.source, case.settings, case.folder)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("not_found", RendererError, "left the LoRA out: .*LoRA file not found"),
        ("unreadable", RendererError, "left the LoRA out: .*Failed to load LoRA file"),
        ("half_matched", RendererError, "applied only 3 of the LoRA's 6 tensors"),
        ("none_matched", RendererError, "applied only 0 of the LoRA's 6 tensors"),
        ("disk_full", RendererError, "without an error and left 0 pictures"),
        ("traceback", RendererError, "mflux ended with status 1: RuntimeError"),
        ("wrong_size", ImageRefusedError, "the image is 64 x 32, asked for 64 x 64"),
    ],
)
def test_a_cell_that_goes_wrong_says_why_and_the_next_one_is_drawn(
    case: Case, tmp_path: Path, fault: str, error: type[Exception], words: str
) -> None:
    with opened(case) as session:
        case.server.fail_with(fault)
        with pytest.raises(error, match=words):
            session.render(CELL, tmp_path / "cell.png")
        assert session.alive
        case.server.fail_with("")
        session.render(CELL, tmp_path / "cell.png")


def test_a_lora_without_effect_is_refused_before_the_first_cell(case: Case) -> None:
    case.server.fail_with("no_effect")
    with pytest.raises(RendererError, match="it changes nothing"), opened(case):
        pass


def test_a_prompt_that_looks_like_an_option_is_none(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        session.render(CELL, tmp_path / "cell.png")
        other = replace(CELL, prompt="@file $(touch x); `touch y`")
        session.render(other, tmp_path / "other.png")
    assert (tmp_path / "cell.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    assert not list(case.folder.rglob("[xy]"))


def model(**changes: Any) -> MfluxModel:
    made = MfluxModel("z-image", "mflux-generate-z-image", Path("/m"), "zimage", 0, (0, 24))
    return replace(made, **changes)


def test_a_lora_and_its_scale_are_one_argument_since_mflux_0_19() -> None:
    lora = Path("/x/lora.safetensors")
    assert model().arguments(CELL, [lora], (0.8,))[-3:] == ["--lora", "/x/lora.safetensors", "0.8"]
    older = model(version=(0, 18)).arguments(CELL, [lora], (0.8,))
    assert older[-4:] == ["--lora-paths", "/x/lora.safetensors", "--lora-scales", "0.8"]
    assert "--lora" not in model().arguments(CELL, [lora], ())


def test_several_loras_stand_in_order_each_with_its_scale() -> None:
    paths, strengths = [Path("/x/a.safetensors"), Path("/x/b.safetensors")], (0.8, 0.5)
    newer = model().arguments(CELL, paths, strengths)
    older = model(version=(0, 18)).arguments(CELL, paths, strengths)
    assert newer[-6:] == ["--lora", "/x/a.safetensors", "0.8", "--lora", "/x/b.safetensors", "0.5"]
    assert older[-6:] == [
        "--lora-paths", "/x/a.safetensors", "/x/b.safetensors", "--lora-scales", "0.8", "0.5",
    ]  # fmt: skip


def test_what_mflux_would_take_without_a_word_is_refused() -> None:
    negative = replace(CELL, negative="--blurry")
    assert "--negative-prompt=--blurry" in model().arguments(negative, [], ())
    with pytest.raises(RendererError, match="takes no negative prompt"):
        model(architecture="flux1").arguments(negative, [], ())
    with pytest.raises(RendererError, match="100 x 64 does not go with mflux"):
        model().arguments(replace(CELL, width=100), [], ())
    assert model(quantize=8).arguments(CELL, [], ())[-2:] == ["--quantize", "8"]


def test_which_model_it_is_is_told_by_its_name_or_by_the_setting(case: Case) -> None:
    chosen = chosen_model(case.source, None, quantize=0, version=(0, 24))
    assert (chosen.alias, chosen.program) == ("dev", "mflux-generate")
    unnamed = replace(case.source, checkpoint_id="house_base", checkpoint_path=case.folder)
    with pytest.raises(RendererError, match=r"nothing says which FLUX.1 checkpoint house_base is"):
        chosen_model(unnamed, None, quantize=0, version=(0, 24))
    assert chosen_model(unnamed, "schnell", quantize=0, version=(0, 24)).alias == "schnell"
    with pytest.raises(RendererError, match="mflux has no model 'devv'"):
        chosen_model(unnamed, "devv", quantize=0, version=(0, 24))
    zimage = replace(case.source, architecture="zimage", checkpoint_id="z-image-turbo")
    chosen = chosen_model(zimage, None, quantize=0, version=(0, 24))
    assert chosen.program == "mflux-generate-z-image-turbo"
    with pytest.raises(RendererError, match="mflux does not train sd15"):
        chosen_model(replace(zimage, architecture="sd15"), None, quantize=0, version=(0, 24))
    file = case.folder / "one.safetensors"
    file.touch()
    with pytest.raises(RendererError, match=r"one.safetensors is a single file"):
        chosen_model(replace(zimage, checkpoint_path=file), None, quantize=0, version=(0, 24))


def test_its_words_about_a_lora_are_read_exactly() -> None:
    assert require_applied(["✅ Applied to 3 layers (99/100 keys matched)"], 1)
    for lines in ([], ["All LoRA weights applied successfully"]):
        with pytest.raises(RendererError, match="does not say that it applied the LoRA"):
            require_applied(lines, 1)
    with pytest.raises(RendererError, match="applied only 97 of the LoRA's 100"):
        require_applied(["Applied to 3 layers (97/100 keys matched)"], 1)


def test_each_of_several_loras_has_to_be_applied() -> None:
    whole = "✅ Applied to 3 layers (6/6 keys matched)"
    assert require_applied([whole, whole], 2)
    with pytest.raises(RendererError, match="does not say 2 times, as it did 1"):
        require_applied([whole], 2)
    with pytest.raises(RendererError, match="applied only 3 of the LoRA's 6"):
        require_applied(["✅ Applied to 3 layers (3/6 keys matched)", whole], 2)


def test_a_machine_without_mflux_is_told_how_to_set_it_up(case: Case, tmp_path: Path) -> None:
    assert case.renderer.health(case.settings) is None
    assert case.renderer.found(case.settings) == "mflux 0.24.0"
    missing = settings_with(tmp_path, {"renderers.mflux.program": "/nowhere/mflux-generate"})
    problem = case.renderer.health(missing)
    assert problem is not None
    assert (problem.message, problem.hint) == (
        "renderers.mflux.program is /nowhere/mflux-generate, and no program is there",
        "lora setup mflux",
    )


def test_a_program_that_this_mflux_lacks_is_named(case: Case) -> None:
    (case.server.program.with_name("mflux-generate-z-image")).unlink()
    case.source = replace(case.source, architecture="zimage", checkpoint_id="z-image")
    case.settings = settings_with(
        case.source.root, {"trainers.mflux.program": str(case.server.program)}
    )
    with pytest.raises(RendererError), opened(case):
        pass


def test_bits_that_mflux_does_not_know_are_refused(case: Case) -> None:
    case.settings = settings_with(
        case.source.root,
        {"trainers.mflux.program": str(case.server.program), "renderers.mflux.quantize": 7},
    )
    with pytest.raises(RendererError, match=r"renderers.mflux.quantize is 7"), opened(case):
        pass
