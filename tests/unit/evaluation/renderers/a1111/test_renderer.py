"""AUTOMATIC1111 and Forge that misbehave, and what their infotexts are held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from lora_pipeline.evaluation.renderers.a1111.answer import answer_of, hashes_in, infotext
from lora_pipeline.evaluation.renderers.interface import CellRequest
from lora_pipeline.foundation.errors import ImageRefusedError, RendererError
from tests.support.renderer_cases import (
    BASE_BYTES,
    Case,
    a1111_case,
    lora_file,
    settings_with,
    write_flux_lora,
)

pytest.importorskip("httpx2")
CELL = CellRequest("c" * 16, "trg, a red heart", "", 7, 1.0, 64, 64, 4, 3.0, "default")


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with a1111_case(tmp_path) as case:
        yield case


def opened(case: Case) -> Any:
    return case.renderer.open(case.source, case.settings, case.folder)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no_effect", "it is loaded, but it changes nothing"),
        ("lora_not_found", "names the LoRA not at all among what it used"),
        ("other_lora", "names the LoRA with digest 0123456789ab"),
        ("other_model", "drew with model ffffffffff, the checkpoint is"),
        ("other_seed", "drew seed 1, asked: 0"),
        ("two_pictures", "sent 2 pictures, one was asked for"),
        ("no_base64", "no base64"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_before_the_first_cell(
    case: Case, fault: str, words: str
) -> None:
    case.server.fault = fault
    with pytest.raises(RendererError, match=words), opened(case):
        pass


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("wrong_size", ImageRefusedError, "the image is 32 x 64, asked for 64 x 64"),
        ("out_of_memory", RendererError, "500: OutOfMemoryError"),
        ("lora_not_found", RendererError, "not at all among what it used"),
    ],
)
def test_a_cell_that_goes_wrong_says_why_and_the_next_one_is_drawn(
    case: Case, tmp_path: Path, fault: str, error: type[Exception], words: str
) -> None:
    with opened(case) as session:
        case.server.fault = fault
        with pytest.raises(error, match=words):
            session.render(CELL, tmp_path / "cell.png")
        assert session.alive
        case.server.fault = ""
        session.render(CELL, tmp_path / "cell.png")


def test_a_connection_that_is_cut_is_waited_for_and_the_cell_drawn_again(
    case: Case, tmp_path: Path
) -> None:
    with opened(case) as session:
        case.server.misbehave("POST /sdapi/v1/txt2img", "lost")
        case.server.misbehave("GET /sdapi/v1/options", *["cut"] * 7)
        session.render(CELL, tmp_path / "cell.png")
        assert session.alive


def test_a_server_that_stays_away_ends_the_session(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.misbehave("POST /sdapi/v1/txt2img", "cut")
        case.server.misbehave("GET /sdapi/v1/options", *["cut"] * 5_000)
        with pytest.raises(RendererError, match="does not answer /sdapi/v1/options"):
            session.render(CELL, tmp_path / "cell.png")
        assert not session.alive


def test_what_a_prompt_may_not_hold_is_refused(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        for words in ("a heart <lora:other:1>", "a heart < LYCO:other:1>"):
            cell = CellRequest(**{**asdict(CELL), "prompt": words})
            with pytest.raises(RendererError, match="names a LoRA itself"):
                session.render(cell, tmp_path / "cell.png")


def test_the_request_sets_everything_that_makes_the_picture(case: Case) -> None:
    with opened(case) as session:
        body = session.asking.request(CELL, (1.0,))
        base = session.asking.request(CELL, ())
    assert body["prompt"] == f"trg, a red heart <lora:{session.asking.loras[0].stem}:1>"
    assert base["prompt"] == "trg, a red heart"
    assert (body["batch_size"], body["n_iter"], body["subseed_strength"]) == (1, 1, 0)
    assert body["override_settings"]["randn_source"] == "CPU"
    assert body["override_settings"]["sd_model_checkpoint"] == session.asking.model


def test_several_loras_are_tags_in_their_order_and_each_must_be_named(case: Case) -> None:
    case.source = case.stacked(1.0, 0.5)
    with opened(case) as session:
        first, second = session.asking.loras
        body = session.asking.request(CELL, (0.8, 0.4))
        told = {
            "Model hash": session.told["Model hash"],
            "Lora hashes": f"{first.stem}: {first.report.tensor_sha256[:12]}",
        }
        with pytest.raises(RendererError, match="names the LoRA not at all"):
            session.asking.require_told(told, CELL, (0.8, 0.4))

    tags = f"<lora:{first.stem}:0.8> <lora:{second.stem}:0.4>"
    assert body["prompt"] == f"trg, a red heart {tags}"


def test_forge_is_told_from_automatic1111_and_draws_flux(case: Case, tmp_path: Path) -> None:
    assert case.renderer.found(case.settings) == f"AUTOMATIC1111 at {case.server.address}"
    weights = write_flux_lora(tmp_path / "flux")
    case.source = type(case.source)(
        **{
            **asdict(case.source),
            "architecture": "flux1",
            "loras": (lora_file(weights),),
        }
    )
    with pytest.raises(RendererError, match="AUTOMATIC1111 does not draw FLUX"), opened(case):
        pass
    case.server.forge = True
    assert case.renderer.found(case.settings).startswith("Forge at")
    with opened(case) as session:
        body = session.asking.request(CELL, (1.0,))
    assert (body["cfg_scale"], body["distilled_cfg_scale"]) == (1.0, 3.0)
    assert session.identity.details["program"] == "forge"


def test_a_server_without_its_interface_says_how_to_start_it(case: Case) -> None:
    case.server.api = False
    with pytest.raises(RendererError, match="does not offer its interface") as caught:
        case.renderer.found(case.settings)
    assert caught.value.hint == "start it with --api"


def test_a_login_is_sent_as_it_is_wanted_and_never_shown(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.server.login = "ana:correct-horse"
    with pytest.raises(RendererError, match="401") as caught:
        case.renderer.found(case.settings)
    assert "A1111_AUTH" in str(caught.value.hint)
    monkeypatch.setenv("A1111_AUTH", "ana:correct-horse")
    with opened(case):
        pass
    assert "correct-horse" not in (case.folder / "renderer.log").read_text()


def test_the_base_is_found_by_its_digest_or_not_at_all(case: Case) -> None:
    case.server.base_sha256 = "9" * 64
    with (
        pytest.raises(RendererError, match="drew with model 9999999999, the checkpoint is"),
        opened(case),
    ):
        pass


def test_a_lora_that_is_not_listed_says_where_to_put_it(case: Case, tmp_path: Path) -> None:
    case.settings = settings_with(tmp_path, {"renderers.a1111.baseUrl": case.server.address})
    with (
        pytest.raises(RendererError, match=r"does not have lora-eval-\w+\.safetensors") as caught,
        opened(case),
    ):
        pass
    assert "renderers.a1111.lorasRoot" in str(caught.value.hint)


def test_a_lora_that_was_put_there_by_hand_is_not_proven(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        assert session.identity.unproven == ()
    case.settings = settings_with(tmp_path, {"renderers.a1111.baseUrl": case.server.address})
    with opened(case) as session:
        assert session.identity.unproven[0].startswith("the LoRA's bytes on the server")


def test_an_infotext_is_read_from_its_end_whatever_the_prompt_holds() -> None:
    text = (
        "a heart, Seed: 9\nNegative prompt: x\nSteps: 3, Seed: 1\n"
        'Steps: 20, Sampler: DPM++ 2M, Seed: 7, Size: 64x64, Lora hashes: "a: 12, b-c: 34", '
        "Version: v1.10.1"
    )
    told = infotext(text)
    assert (told["Steps"], told["Seed"], told["Sampler"]) == ("20", "7", "DPM++ 2M")
    assert told["Version"] == "v1.10.1"
    assert hashes_in(told["Lora hashes"]) == {"a": "12", "b-c": "34"}
    assert hashes_in("") == {}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no pictures"),
        ({"images": [1]}, "1 pictures"),
        ({"images": ["AAAA"]}, "says nothing of the picture"),
        ({"images": ["AAAA"], "info": "[]"}, "says nothing of the picture"),
        ({"images": ["AAAA"], "info": '{"infotexts": []}'}, "says nothing of the picture"),
    ],
)
def test_answers_that_are_not_whole_are_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(RendererError, match=words):
        answer_of(document)


def test_a_picture_may_come_with_its_kind_before_it() -> None:
    info = '{"infotexts": ["a\\nSteps: 1, Seed: 2"]}'
    data, told = answer_of({"images": ["data:image/png;base64,QUJD"], "info": info})
    assert (data, told) == (b"ABC", {"Steps": "1", "Seed": "2"})
    assert BASE_BYTES  # the base is bytes that stand for one
