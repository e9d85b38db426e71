"""ComfyUI that misbehaves: each fault becomes words, and no wrong picture becomes a cell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import asdict

from lora_pipeline.evaluation.pixels import read_pixels
from lora_pipeline.evaluation.renderers.comfyui.session import ComfySession
from lora_pipeline.evaluation.renderers.interface import CellRequest
from lora_pipeline.foundation.errors import ImageRefusedError, RendererError
from tests.support.fake_comfyui import FakeComfyUi
from tests.support.renderer_cases import (
    Case,
    comfyui_case,
    make_source,
    settings_with,
    write_sd15_lora,
)

pytest.importorskip("httpx2")
CELL = CellRequest("c" * 16, "trg, a red heart", "blurry", 7, 1.0, 64, 64, 4, 3.0, "default")


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with comfyui_case(tmp_path, **{"renderers.timeoutSeconds": 60}) as case:
        yield case


@contextlib.contextmanager
def opened(case: Case) -> Iterator[ComfySession]:
    with case.renderer.open(case.source, case.settings, case.folder) as session:
        assert isinstance(session, ComfySession)
        yield session


def drawn(session: ComfySession, folder: Path, cell: CellRequest = CELL) -> np.ndarray:
    target = folder / "cell.png"
    session.render(cell, target)
    return read_pixels(target, width=cell.width, height=cell.height)


def local(case: Case, **shared: Any) -> dict[str, Any]:
    return {
        "comfyui.baseUrl": case.server.address,
        "renderers.comfyui.modelsRoot": str(case.server.models),
    } | {f"renderers.comfyui.{name}": value for name, value in shared.items()}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no_effect", "it is loaded, but it changes nothing"),
        ("leaves_a_trace", "the LoRA at strength 0 does not draw the base"),
        ("black", "at strength 0 does not draw the base"),
    ],
)
def test_a_lora_that_is_not_used_as_it_must_be_is_refused_before_the_first_cell(
    case: Case, fault: str, words: str
) -> None:
    case.server.fault = fault
    with pytest.raises(RendererError, match=words), opened(case):
        pass


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("wrong_size", ImageRefusedError, "the image is 64 x 32, asked for 64 x 64"),
        ("truncated", ImageRefusedError, "damaged or no PNG"),
        ("empty", RendererError, "an empty picture"),
        ("no_output", RendererError, "with no pictures, one was asked for"),
        ("two_pictures", RendererError, "with 2 pictures, one was asked for"),
        ("others_picture", RendererError, "not ours: stranger_00007_.png"),
        (
            "half_refused",
            RendererError,
            "a part of the workflow: node 7 .CLIPTextEncode., input te",
        ),
        ("out_of_memory", RendererError, "node 3 .KSampler.: OutOfMemoryError: Allocation on devi"),
        ("hangs", RendererError, "did not end the job within 60 s"),
    ],
)
def test_a_cell_that_goes_wrong_says_why_and_the_next_one_is_drawn(
    case: Case, tmp_path: Path, fault: str, error: type[Exception], words: str
) -> None:
    with opened(case) as session:
        case.server.fault = fault
        with pytest.raises(error, match=words) as caught:
            drawn(session, tmp_path)
        assert "/home/kim" not in str(caught.value)
        assert session.alive
        assert not (tmp_path / "cell.png").exists()
        case.server.fault = ""
        assert drawn(session, tmp_path).shape == (64, 64, 3)


def test_what_is_kept_is_the_picture_without_the_workflow_in_it(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        drawn(session, tmp_path)
    (sent,) = (case.server.output / "lora-eval").glob("cccc*.png")
    assert b"a red heart" in sent.read_bytes()
    assert b"a red heart" not in (tmp_path / "cell.png").read_bytes()


def test_a_picture_that_came_cut_short_is_fetched_again(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.misbehave("GET /view", "short", "cut", "503")
        assert drawn(session, tmp_path).shape == (64, 64, 3)


def test_a_page_instead_of_a_picture_is_no_picture(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.misbehave("GET /view", "html")
        with pytest.raises(RendererError, match="with text/html instead of an image"):
            drawn(session, tmp_path)


def test_a_submission_whose_answer_is_lost_is_not_sent_twice(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        before = case.server.number
        case.server.misbehave("POST /prompt", "lost")
        drawn(session, tmp_path)
        assert case.server.number == before + 1


def test_a_submission_that_never_arrived_is_sent_again(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        before = case.server.number
        case.server.misbehave("POST /prompt", "cut")
        drawn(session, tmp_path)
        assert case.server.number == before + 1


def test_a_server_that_is_busy_is_asked_again_after_the_time_it_says(
    case: Case, tmp_path: Path
) -> None:
    with opened(case) as session:
        case.server.misbehave("POST /prompt", "429:40", "503")
        began = case.naps.now
        drawn(session, tmp_path)
        assert case.naps.now - began >= 40


def test_a_server_that_restarts_is_waited_for_and_given_the_job_again(
    case: Case, tmp_path: Path
) -> None:
    with opened(case) as session:
        before = drawn(session, tmp_path, CELL)
        case.server.looks = 10_000
        case.naps.at.append((case.naps.now + 5, case.server.restart))
        case.naps.at.append((case.naps.now + 5, lambda: setattr(case.server, "looks", 1)))
        case.server.misbehave("GET /history", *["cut"] * 12)
        other = drawn(session, tmp_path, CellRequest(**{**asdict(CELL), "seed": 8}))
        assert not np.array_equal(before, other)
        assert session.alive


def test_a_restart_with_another_version_ends_the_session(case: Case, tmp_path: Path) -> None:
    def restart() -> None:
        case.server.restart()
        case.server.version = "0.4.0"

    with opened(case) as session:
        case.server.looks = 10_000
        case.naps.at.append((case.naps.now + 5, restart))
        with pytest.raises(RendererError, match="restarted with other versions"):
            drawn(session, tmp_path)
        assert not session.alive


def test_a_server_that_stays_away_ends_the_session(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.looks = 10_000
        case.server.misbehave("GET /history", *["cut"] * 5_000)
        with pytest.raises(RendererError, match="does not answer /history"):
            drawn(session, tmp_path)
        assert not session.alive
        assert case.naps.now < 2_000


def test_a_job_that_somebody_interrupts_is_a_failed_cell(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.looks = 10_000
        case.naps.at.append(
            (case.naps.now + 3, lambda: case.server.interrupt(next(iter(case.server.jobs))))
        )
        with pytest.raises(RendererError, match="somebody interrupted it on the server"):
            drawn(session, tmp_path)
        case.server.looks = 1
        assert drawn(session, tmp_path).shape == (64, 64, 3)  # and it can be drawn later


def test_a_job_that_somebody_deletes_is_a_failed_cell(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.looks = 10_000
        case.naps.at.append((case.naps.now + 3, case.server.jobs.clear))
        with pytest.raises(RendererError, match="somebody took the job out of ComfyUI's queue"):
            drawn(session, tmp_path)


def test_jobs_of_others_are_waited_for_and_left_alone(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.strangers = 3
        assert drawn(session, tmp_path).shape == (64, 64, 3)
        assert case.server.stopped == []


def test_a_queue_in_which_nothing_moves_is_left_and_the_job_taken_out(
    case: Case, tmp_path: Path
) -> None:
    with opened(case) as session:
        case.server.strangers = 3
        case.server.fault = "hangs"
        with pytest.raises(RendererError, match="3 jobs of others stand before"):
            drawn(session, tmp_path)
        assert len(case.server.stopped) == 1
        assert case.server.jobs == {}


def test_an_interruption_here_takes_only_our_job_out(case: Case, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with opened(case) as session:
        case.server.looks = 10_000
        case.naps.at.append((case.naps.now + 3, interrupt))
        with pytest.raises(KeyboardInterrupt):
            drawn(session, tmp_path)
        assert len(case.server.stopped) == 1


def test_a_grid_that_was_killed_finds_the_picture_that_was_drawn_for_it(
    case: Case, tmp_path: Path
) -> None:
    with opened(case) as session:
        first = drawn(session, tmp_path)
    sent = case.server.number
    with opened(case) as session:
        assert np.array_equal(drawn(session, tmp_path), first)
    assert case.server.number == sent  # probes and cell were all taken up


def test_another_grid_asks_for_pictures_of_its_own(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        drawn(session, tmp_path)
    sent = case.server.number
    case.folder = tmp_path / "other"
    case.folder.mkdir()
    with opened(case) as session:
        drawn(session, tmp_path)
    assert case.server.number == sent + 4


def test_a_picture_that_is_gone_from_the_server_is_drawn_again(case: Case, tmp_path: Path) -> None:
    with opened(case) as session:
        case.server.fault = "file_vanishes"
        assert drawn(session, tmp_path).shape == (64, 64, 3)


def test_tensors_that_the_server_could_not_load_are_read_in_its_log(
    case: Case, tmp_path: Path
) -> None:
    weights = write_sd15_lora(tmp_path / "foreign", foreign=True)
    case.source = make_source(tmp_path, weights)
    # The fake loads nothing of such a file; let it look as if a part had been used.
    case.server._fitting = lambda path: FakeComfyUi._fitting(case.server, path) or True
    with (
        pytest.raises(RendererError, match="could not load 3 of the LoRA's tensors, the first is"),
        opened(case),
    ):
        pass


def test_one_of_several_loras_that_does_not_fit_is_noticed(case: Case) -> None:
    case.beside = write_sd15_lora(case.folder.parent / "foreign", foreign=True, seed=6)
    case.source = case.stacked(1.0, 1.0)
    with (
        pytest.raises(RendererError, match="the second of the 2 LoRAs changes nothing"),
        opened(case),
    ):
        pass


def test_a_lora_for_another_architecture_is_refused_before_anything_is_sent(
    case: Case, tmp_path: Path
) -> None:
    case.source = make_source(tmp_path, case.source.loras[0].path, architecture="sdxl")
    with (
        pytest.raises(RendererError, match=r"is for sd15.*, the checkpoint base64 is sdxl"),
        opened(case),
    ):
        pass
    assert case.server.requests == []


def test_weights_that_are_no_lora_are_refused_before_anything_is_sent(
    case: Case, tmp_path: Path
) -> None:
    path = tmp_path / "no.safetensors"
    path.write_bytes(b"\x00" * 100)
    case.source = make_source(tmp_path, path)
    with pytest.raises(RendererError), opened(case):
        pass
    assert case.server.requests == []


def test_a_base_with_other_bytes_is_refused(case: Case) -> None:
    (case.server.models / "checkpoints" / "base64.safetensors").write_bytes(b"another model")
    with (
        pytest.raises(RendererError, match=r"draws with base64.safetensors, which is sha256"),
        opened(case),
    ):
        pass


def test_a_base_that_the_server_lacks_is_refused(case: Case) -> None:
    (case.server.models / "checkpoints" / "base64.safetensors").unlink()
    with (
        pytest.raises(RendererError, match=r"lists no checkpoint base64.safetensors"),
        opened(case),
    ):
        pass


def test_a_lora_file_with_other_bytes_under_its_name_is_refused(case: Case) -> None:
    with opened(case):
        pass
    (placed,) = (case.server.models / "loras" / "lora-eval").iterdir()
    placed.write_bytes(b"half a file")
    with (
        pytest.raises(RendererError, match="is there with other bytes than its name says"),
        opened(case),
    ):
        pass


def test_a_server_whose_models_cannot_be_seen_draws_and_says_what_is_not_proven(
    case: Case, tmp_path: Path
) -> None:
    with opened(case):
        pass  # puts the LoRA there
    case.settings = settings_with(tmp_path, {"comfyui.baseUrl": case.server.address})
    with opened(case) as session:
        assert [one.partition(":")[0] for one in session.identity.unproven] == [
            "which base model ComfyUI draws with",
            "the LoRA's bytes on the server",
        ]


def test_a_server_without_the_lora_says_where_to_put_it(case: Case, tmp_path: Path) -> None:
    case.settings = settings_with(tmp_path, {"comfyui.baseUrl": case.server.address})
    with (
        pytest.raises(RendererError, match="does not have lora-eval/lora-eval-") as caught,
        opened(case),
    ):
        pass
    assert "models/loras/lora-eval/lora-eval-" in str(caught.value.hint)


def test_a_lora_that_was_copied_in_part_is_refused_by_its_length(
    case: Case, tmp_path: Path
) -> None:
    with opened(case):
        pass
    case.settings = settings_with(tmp_path, {"comfyui.baseUrl": case.server.address})
    (placed,) = (case.server.models / "loras" / "lora-eval").iterdir()
    placed.write_bytes(placed.read_bytes()[:-8])
    with pytest.raises(RendererError, match="bytes on the server, and"), opened(case):
        pass


def test_a_server_that_lists_with_backslashes_is_understood(case: Case) -> None:
    case.server.separator = "\\"
    with opened(case) as session:
        assert session.workflow.loras[0].name.startswith("lora-eval\\lora-eval-")


def test_the_fingerprint_knows_versions_and_flags_and_no_addresses(case: Case) -> None:
    prints = set()
    for argv, version in (
        (["main.py", "--cpu", "--port", "8188"], "0.3.64"),
        (["main.py", "--cpu", "--port", "9999", "--listen", "10.0.0.1"], "0.3.64"),
        (["main.py", "--cpu", "--fp16-unet"], "0.3.64"),
        (["main.py", "--cpu"], "0.3.65"),
    ):
        case.server.argv, case.server.version = argv, version
        with opened(case) as session:
            prints.add(session.identity.fingerprint)
    assert len(prints) == 3


def test_a_server_that_is_open_to_everybody_is_said(case: Case) -> None:
    with opened(case) as session:
        assert session.cautions == ()
    case.server.argv = ["main.py", "--listen", "--cpu"]
    with opened(case) as session:
        assert "listens on every address" in session.cautions[0]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("html", "text/html instead of JSON"),
        ("list", "another document than its interface has"),
        ("401", "refused /system_stats .401"),
        ("redirect", "refused /system_stats .302"),
    ],
)
def test_what_is_no_comfyui_is_told_by_its_first_answer(case: Case, fault: str, words: str) -> None:
    case.server.misbehave("GET /system_stats", fault)
    with pytest.raises(RendererError, match=words):
        case.renderer.found(case.settings)


def test_doctor_is_told_which_server_answers_and_which_does_not(case: Case) -> None:
    assert case.renderer.found(case.settings) == f"ComfyUI 0.3.64 at {case.server.address}"
    case.server.misbehave("GET /system_stats", *["cut"] * 5)
    with pytest.raises(RendererError, match="does not answer /system_stats"):
        case.renderer.found(case.settings)


def test_no_origin_is_sent_and_a_token_only_where_one_is_set(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.renderer.found(case.settings)
    assert not {"origin", "authorization"} & case.server.headers[-1].keys()
    monkeypatch.setenv("COMFYUI_TOKEN", "proxy-secret")
    case.renderer.found(case.settings)
    assert case.server.headers[-1]["authorization"] == "Bearer proxy-secret"


def test_an_address_that_is_none_is_a_problem_and_no_question(tmp_path: Path) -> None:
    with comfyui_case(tmp_path) as case:
        for value in ("ftp://x", "no address"):
            settings = settings_with(tmp_path, {"comfyui.baseUrl": value})
            problem = case.renderer.health(settings)
            assert problem is not None
            assert "no http address" in problem.message
        assert case.renderer.address(settings_with(tmp_path, local(case))) == ""
        away = settings_with(tmp_path, {"comfyui.baseUrl": "http://render.studio.example:8188"})
        assert case.renderer.address(away) == "http://render.studio.example:8188"
