"""Environments of trainers, made with the real venv and the real pip, without a network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import TrainerUnavailableError
from lora_pipeline.foundation.process import run
from lora_pipeline.training.trainers.environment import MARKER, Environment, python_version
from tests.support.wheels import make_wheel


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "brushes", files={"brushes.py": "COUNT = 3\n"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def build(own: Environment, steps: tuple[tuple[str, ...], ...], said: list[str]) -> None:
    own.build(
        Path(sys.executable), steps, cwd=None, facts=lambda: {"version": "1"}, say=said.append
    )


def test_a_finished_environment_is_complete_and_runs(tmp_path: Path, wheels: Path) -> None:
    own, said = Environment(tmp_path / "own"), list[str]()
    build(own, (("brushes",),), said)
    assert own.complete
    assert not own.left_over
    done = run([str(own.python), "-c", "import brushes; print(brushes.COUNT)"])
    assert done.stdout == "3\n"
    assert said[-1] == "installing 1 package"


def test_what_was_installed_is_recorded_and_a_change_by_hand_is_seen(
    tmp_path: Path, wheels: Path
) -> None:
    own = Environment(tmp_path / "own")
    build(own, (("brushes",),), [])
    noted = json.loads((tmp_path / "own" / MARKER).read_bytes())
    assert noted == {"version": "1", "packages": {"brushes": "1.0"}}
    assert own.changed() == []

    (about,) = own.venv.rglob("brushes-*.dist-info/METADATA")
    about.write_text(about.read_text().replace("1.0", "1.1"))

    assert own.changed() == ["brushes 1.0 → 1.1"]


def test_a_package_that_is_not_there_is_told_and_nothing_is_left(
    tmp_path: Path, wheels: Path
) -> None:
    own = Environment(tmp_path / "own")
    with pytest.raises(TrainerUnavailableError, match="pip install inks failed: Could not find"):
        build(own, (("brushes",), ("inks",)), [])
    assert not own.venv.exists()
    assert not own.left_over


def test_without_a_network_it_says_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    own = Environment(tmp_path / "own")
    with pytest.raises(TrainerUnavailableError, match="cannot reach the package index") as caught:
        build(own, (("brushes",),), [])
    assert "PIP_INDEX_URL" in str(caught.value.hint)
    assert not own.venv.exists()


def test_a_check_that_fails_takes_the_environment_away(tmp_path: Path, wheels: Path) -> None:
    own = Environment(tmp_path / "own")

    def facts() -> dict[str, str]:
        raise TrainerUnavailableError("not what was asked for")

    with pytest.raises(TrainerUnavailableError):
        own.build(Path(sys.executable), (), cwd=None, facts=facts, say=lambda _: None)
    assert not own.venv.exists()


def test_what_an_interrupted_set_up_left_is_seen_and_replaced(tmp_path: Path, wheels: Path) -> None:
    own = Environment(tmp_path / "own")
    build(own, (), [])
    (own.folder / MARKER).unlink()
    (own.venv / "half").touch()
    assert own.left_over
    build(own, (), [])
    assert own.complete
    assert not (own.venv / "half").exists()


def test_a_program_that_is_no_python_is_refused(tmp_path: Path) -> None:
    assert python_version(Path(sys.executable)) == sys.version_info[:2]
    with pytest.raises(TrainerUnavailableError, match="cannot run"):
        python_version(tmp_path / "python")
    with pytest.raises(TrainerUnavailableError, match="is no Python that runs"):
        python_version(Path("/bin/true"))
