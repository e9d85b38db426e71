from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_pipeline.evaluation.renderers.diffusers.renderer import (
    DiffusersRenderer,
    DiffusersSession,
)
from lora_pipeline.evaluation.renderers.interface import CellRequest, RenderSource
from lora_pipeline.foundation.errors import RendererError
from lora_pipeline.foundation.process import Conversation, child_environment
from lora_pipeline.workspace.settings import Settings, read_settings
from tests.support.renderer_cases import lora_file

CELL = CellRequest("0" * 16, "a red heart", "", 1, 1.0, 64, 64, 2, 3.0, "default")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(tmp_path, {"LORA_DEVICE": "cpu", "LORA_THREADS": "1"})


Started = Callable[[str], DiffusersSession]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """A session with a child of the test's own instead of the worker."""
    children: list[Conversation] = []

    def start(program: str) -> DiffusersSession:
        log = tmp_path / "renderer.log"
        child = Conversation(
            [sys.executable, "-c", program], environment=child_environment(), log=log
        )
        children.append(child)
        source = RenderSource(tmp_path, "sd15", ())
        return DiffusersSession(source, child, log, 0.3)

    yield start
    for child in children:
        child.stop()


def test_a_child_that_hangs_is_stopped_and_the_session_is_over(
    started: Started, tmp_path: Path
) -> None:
    session = started("import sys; sys.stdin.read()")
    with pytest.raises(RendererError, match=r"no answer within 0\.3 s and was stopped") as caught:
        session.render(CELL, tmp_path / "cell.png")
    assert not session.alive
    assert "renderers.timeoutSeconds" in str(caught.value.hint)


def test_a_child_that_crashes_is_explained_by_its_last_words(
    started: Started, tmp_path: Path
) -> None:
    session = started(
        "import sys; sys.stdin.readline(); print('CUDA error: out of memory', file=sys.stderr);"
        "sys.exit(4)"
    )
    with pytest.raises(RendererError, match=r"CUDA error: out of memory \(status 4\)"):
        session.render(CELL, tmp_path / "cell.png")
    assert not session.alive


def test_a_child_that_says_no_stays_usable(started: Started, tmp_path: Path) -> None:
    reply = json.dumps({"ok": False, "error": "the picture holds NaN"})
    session = started(f"import sys\nfor _ in sys.stdin: print('''{reply}''', flush=True)")
    with pytest.raises(RendererError, match="the picture holds NaN"):
        session.render(CELL, tmp_path / "cell.png")
    assert session.alive


def test_nothing_is_said_about_what_draws_before_it_is_loaded(started: Started) -> None:
    with pytest.raises(RendererError, match="loaded nothing yet"):
        _ = started("").identity


@pytest.mark.train
def test_a_checkpoint_that_cannot_be_opened_says_why(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    weights = tmp_path / "weights"
    weights.write_bytes(b"never read")
    source = RenderSource(tmp_path / "empty", "sd15", (lora_file(weights),))
    with (
        pytest.raises(RendererError, match="no diffusers checkpoint folder"),
        DiffusersRenderer().open(source, settings, tmp_path),
    ):
        pass


@pytest.mark.train
def test_a_worker_whose_parent_is_gone_ends(tmp_path: Path) -> None:
    worker = "lora_pipeline.evaluation.renderers.diffusers.worker"
    child = Conversation([sys.executable, "-m", worker], environment=child_environment())
    assert child.ask(b"not json", timeout_s=60) is not None
    stdin = child._process.stdin
    assert stdin is not None
    stdin.close()
    assert child.next_reply(timeout_s=60) is None
    assert child._process.wait(60) == 0
