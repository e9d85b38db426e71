"""Drawing for money: never two jobs for one picture, no key to strangers, no picture on trust."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from lora_pipeline.evaluation.renderers.hosted.replicate_inputs import ModelInputs
from lora_pipeline.evaluation.renderers.hosted.session import PENDING
from lora_pipeline.evaluation.renderers.interface import CellRequest
from lora_pipeline.foundation.errors import ImageRefusedError, RendererError
from tests.support.fake_hosted_drawing import TOKEN
from tests.support.renderer_cases import (
    TOKEN_VARIABLE,
    Case,
    fal_case,
    replicate_case,
    settings_with,
)

pytest.importorskip("httpx2")
CELL = CellRequest("c" * 16, "trg, a red heart", "", 7, 1.0, 64, 64, 4, 3.0, "default")
SUBMIT = {"replicate": "POST /v1/predictions", "fal": "POST /fal-ai/flux-lora"}
LOOK = {"replicate": "GET /v1/predictions/job-", "fal": "GET /fal-ai/flux-lora/requests/"}


@pytest.fixture(params=["replicate", "fal"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    make = {"replicate": replicate_case, "fal": fal_case}[request.param]
    with make(tmp_path, **{"renderers.timeoutSeconds": 60}) as case:
        yield case


@pytest.fixture
def replicate(tmp_path: Path) -> Iterator[Case]:
    with replicate_case(tmp_path) as case:
        yield case


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[Case]:
    with fal_case(tmp_path) as case:
        yield case


def opened(case: Case) -> Any:
    return case.renderer.open(case.source, case.settings, case.folder)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("fails", RendererError, "did not draw it: .*(CUDA error|cannot be loaded)"),
        ("wrong_size", ImageRefusedError, "the image is 64 x 32, asked for 64 x 64"),
        ("two_pictures", RendererError, "brought 2 pictures, one was asked for"),
        ("plain_http", RendererError, "a picture at no https address"),
        ("hangs", RendererError, "told nothing new of the picture for 60 s, it was stopped"),
    ],
)
def test_a_cell_that_goes_wrong_says_why_and_the_next_one_is_drawn(
    case: Case, tmp_path: Path, fault: str, error: type[Exception], words: str
) -> None:
    with opened(case) as session:
        case.server.fault = fault
        with pytest.raises(error, match=words) as caught:
            session.render(CELL, tmp_path / "cell.png")
        assert TOKEN not in str(caught.value)
        assert session.alive
        case.server.fault = ""
        other = CellRequest(**{**asdict(CELL), "seed": 8})
        session.render(other, tmp_path / "cell.png")
    assert TOKEN not in (case.folder / "renderer.log").read_text()


def test_fal_says_another_seed_or_holds_a_picture_back(fal: Case, tmp_path: Path) -> None:
    with opened(fal) as session:
        for fault, words in (
            ("other_seed", "drew seed 8, asked for was 7"),
            ("held_back", "safety checker held the picture back"),
        ):
            fal.server.fault = fault
            with pytest.raises(RendererError, match=words):
                session.render(CELL, tmp_path / "cell.png")
            (fal.folder / PENDING).unlink(missing_ok=True)


def test_a_lora_without_effect_is_refused_after_three_small_pictures(case: Case) -> None:
    case.server.fault = "no_effect"
    with pytest.raises(RendererError, match="it changes nothing"), opened(case):
        pass
    assert case.server.paid == 3


def test_the_base_is_drawn_without_weights(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        session.render(CellRequest(**{**asdict(CELL), "strength": 0.0}), tmp_path / "cell.png")
    asked = list(case.server.jobs.values())[-1]["body"]
    assert not asked.get("loras")
    assert not {"lora_weights", "lora_scale"} & asked.keys()


def test_pictures_are_fetched_without_the_token(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        session.render(CELL, tmp_path / "cell.png")
    assert case.server.on_pictures
    assert all("authorization" not in headers for headers in case.server.on_pictures)


def test_a_submission_that_is_refused_for_now_is_made_again(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        paid = case.server.paid
        case.server.misbehave(SUBMIT[case.renderer.name], "429:5", "503")
        session.render(CELL, tmp_path / "cell.png")
        assert case.server.paid == paid + 1


def test_replicate_a_lost_answer_is_looked_for_and_not_paid_twice(
    replicate: Case, tmp_path: Path
) -> None:
    with opened(replicate) as session:
        paid = replicate.server.paid
        replicate.server.misbehave("POST /v1/predictions", "lost")
        session.render(CELL, tmp_path / "cell.png")
        assert replicate.server.paid == paid + 1


def test_fal_lists_nothing_so_a_lost_answer_is_told_and_not_repeated(
    fal: Case, tmp_path: Path
) -> None:
    with opened(fal) as session:
        paid = fal.server.paid
        fal.server.misbehave("POST /fal-ai/flux-lora", "lost")
        with pytest.raises(RendererError, match="not known whether the picture is drawn and paid"):
            session.render(CELL, tmp_path / "cell.png")
        assert fal.server.paid == paid + 1


@pytest.mark.parametrize("status", ["401", "402", "404", "422"])
def test_a_submission_that_is_refused_costs_nothing(
    case: Case, tmp_path: Path, status: str
) -> None:
    with opened(case) as session:
        paid = case.server.paid
        case.server.misbehave(SUBMIT[case.renderer.name], status)
        with pytest.raises(RendererError, match=f"refused .*{status}"):
            session.render(CELL, tmp_path / "cell.png")
        assert case.server.paid == paid


def test_a_grid_that_was_killed_takes_up_the_picture_that_was_being_drawn(
    case: Case, tmp_path: Path
) -> None:
    class Killed(BaseException):
        """As if the process had ended here."""

    def kill() -> None:
        raise Killed

    with contextlib.suppress(Killed), opened(case) as session:
        case.server.looks = 10_000
        case.naps.at.append((case.naps.now + 3, kill))
        session.render(CELL, tmp_path / "cell.png")
        pytest.fail("it was not killed")
    paid = case.server.paid
    assert json.loads((case.folder / PENDING).read_text())["id"] == f"job-{paid}"
    case.server.looks = 1
    # The probes before it are jobs of their own, so the note is put back after them.
    kept = (case.folder / PENDING).read_bytes()
    with opened(case) as session:
        before = case.server.paid
        (case.folder / PENDING).write_bytes(kept)
        session.render(CELL, tmp_path / "cell.png")
        assert case.server.paid == before
    assert not (case.folder / PENDING).exists()


def test_an_interruption_stops_the_job(case: Case, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), opened(case) as session:
        case.server.looks = 10_000
        case.naps.at.append((case.naps.now + 3, interrupt))
        session.render(CELL, tmp_path / "cell.png")
        pytest.fail("it was not interrupted")
    assert case.server.stopped == [f"job-{case.server.paid}"]
    assert not (case.folder / PENDING).exists()


def test_a_service_that_is_away_for_a_while_is_waited_for(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        paid = case.server.paid
        case.server.misbehave(LOOK[case.renderer.name], *["502"] * 8)
        session.render(CELL, tmp_path / "cell.png")
        assert case.server.paid == paid + 1


def test_a_job_that_is_gone_is_a_failed_cell_and_can_be_drawn_anew(
    case: Case, tmp_path: Path
) -> None:
    with opened(case) as session:
        case.server.misbehave(LOOK[case.renderer.name], "404")
        with pytest.raises(RendererError, match="404"):
            session.render(CELL, tmp_path / "cell.png")
        session.render(CELL, tmp_path / "cell.png")


def test_weights_at_an_address_of_the_studio_are_read_and_compared(
    case: Case, tmp_path: Path
) -> None:
    name = case.renderer.name
    address = {f"{key}": case.settings.text(key) for key in _address_keys(name)}
    data = case.source.loras[0].path.read_bytes()
    local = address | {
        _token_key(name): TOKEN_VARIABLE,
        f"renderers.{name}.loraUrl": f"{case.server.address}/cdn/{{sha256}}",
    }
    case.settings = settings_with(tmp_path, local)
    case.server.stored[f"/cdn/{case.source.loras[0].sha256}"] = data
    with opened(case) as session:
        assert session.addresses[0].endswith(case.source.loras[0].sha256)
    case.server.stored[f"/cdn/{case.source.loras[0].sha256}"] = data + b"x"
    with pytest.raises(RendererError, match="has other weights than the release"), opened(case):
        pass
    local[f"renderers.{name}.loraUrl"] = f"{case.server.address}/cdn/always"
    case.settings = settings_with(tmp_path, local)
    with pytest.raises(RendererError, match="it would be the same for every LoRA"), opened(case):
        pass
    local[f"renderers.{name}.loraUrl"] = "http://cdn.example/{sha256}"
    case.settings = settings_with(tmp_path, local)
    with pytest.raises(RendererError, match="must be an https address"), opened(case):
        pass


def test_an_upload_that_arrived_otherwise_is_refused(replicate: Case) -> None:
    replicate.server.lies_about_upload = True
    with (
        pytest.raises(RendererError, match="received other weights than were sent"),
        opened(replicate),
    ):
        pass
    assert replicate.server.paid == 0


def test_the_base_of_a_service_is_never_proven(case: Case) -> None:
    with opened(case) as session:
        assert session.identity.unproven[0].startswith("which base model")


def test_without_a_token_nothing_is_asked(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert case.renderer.health(case.settings) is None
    monkeypatch.delenv(TOKEN_VARIABLE)
    problem = case.renderer.health(case.settings)
    assert problem is not None
    assert TOKEN_VARIABLE in problem.message
    assert case.server.requests == []


def test_what_a_picture_costs_is_told_or_not_known(case: Case) -> None:
    price = case.renderer.price(case.settings, 1000, 1000)
    assert price == {"replicate": None, "fal": pytest.approx(0.035)}[case.renderer.name]
    assert case.renderer.address(case.settings) == case.server.address


@pytest.mark.parametrize("fault", ["black", "wrong_size"])
def test_a_bad_picture_is_never_taken_up_again(case: Case, tmp_path: Path, fault: str) -> None:
    with contextlib.suppress(ImageRefusedError), opened(case) as session:
        case.server.fault = fault
        session.render(CELL, tmp_path / "cell.png")
        assert not (case.folder / PENDING).exists()
    assert not (case.folder / PENDING).exists()


def inputs(**properties: Any) -> ModelInputs:
    known = {
        "prompt": {}, "seed": {}, "num_inference_steps": {"maximum": 50}, "guidance": {},
        "lora_weights": {}, "lora_scale": {},
    }  # fmt: skip
    return ModelInputs("a/b", known | properties, {"ratio": {"enum": ["1:1", "16:9"]}})


def test_a_model_that_draws_shapes_gets_the_shape() -> None:
    shaped = inputs(
        aspect_ratio={"allOf": [{"$ref": "#/components/schemas/ratio"}]},
        megapixels={"enum": ["1", "0.25"]},
    )
    cell = CellRequest(**{**asdict(CELL), "width": 1024, "height": 1024})
    body = shaped.body(cell, [], ())
    assert (body["aspect_ratio"], body["megapixels"]) == ("1:1", "1")
    with pytest.raises(RendererError, match="64 x 64 does not go with a/b"):
        shaped.body(CELL, [], ())


def test_a_model_is_asked_for_nothing_that_it_does_not_take() -> None:
    sized = inputs(width={"maximum": 1440}, height={})
    assert sized.body(CELL, ["https://x"], (1.0,))["lora_scale"] == 1.0
    for changes, words in (
        ({"steps": 60}, "num_inference_steps 60 does not go with a/b"),
        ({"width": 2000}, "width 2000 does not go with a/b"),
        ({"negative": "blurry"}, "a/b takes no negative"),
        ({"sampler": "euler"}, "sampler 'euler' does not go with a/b"),
    ):
        with pytest.raises(RendererError, match=words):
            sized.body(CellRequest(**{**asdict(CELL), **changes}), [], ())
    without = ModelInputs("a/b", {"prompt": {}, "seed": {}}, {})
    with pytest.raises(RendererError, match="a/b takes no steps"):
        without.body(CELL, ["https://x"], (1.0,))


def test_a_model_that_takes_two_loras_gets_both_and_none_gets_more() -> None:
    two = inputs(width={}, height={}, extra_lora={}, extra_lora_scale={"maximum": 3})
    two.require_takes(2)
    body = two.body(CELL, ["https://a", "https://b"], (0.8, 0.5))
    assert (body["lora_weights"], body["lora_scale"]) == ("https://a", 0.8)
    assert (body["extra_lora"], body["extra_lora_scale"]) == ("https://b", 0.5)
    with pytest.raises(RendererError, match="takes at most 2 LoRAs, 3 go together"):
        two.require_takes(3)
    with pytest.raises(RendererError, match="a/b takes no second lora"):
        inputs(width={}, height={}).require_takes(2)


def test_a_model_for_one_lora_is_refused_several_before_anything_is_sent(
    replicate: Case, tmp_path: Path
) -> None:
    for name in ("extra_lora", "extra_lora_scale"):
        del replicate.server.properties[name]
    replicate.source = replicate.stacked(1.0, 0.5)
    with pytest.raises(RendererError, match="takes no second lora"), opened(replicate):
        pass
    assert (replicate.server.paid, replicate.server.stored) == (0, {})


def _address_keys(name: str) -> tuple[str, ...]:
    if name == "replicate":
        return ("trainers.replicate.baseUrl",)
    return ("trainers.fal.baseUrl", "trainers.fal.storageUrl")


def _token_key(name: str) -> str:
    return f"trainers.{name}.{'tokenVariable' if name == 'replicate' else 'keyVariable'}"
