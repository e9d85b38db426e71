"""GPUs are what ``nvidia-smi`` says, when it can be asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_pipeline.engine import gpus
from lora_pipeline.engine.gpus import Gpu, parse_gpus, read_gpus, shown

LINE = "0, GPU-aaaa, NVIDIA H200, 143771, 143154\n"
TWO = LINE + "1, GPU-bbbb, NVIDIA RTX 4090, 24564, 1024\n"
GIB = 1024**3
POSIX = pytest.mark.skipif(os.name == "nt", reason="a program made of a shell script")


def program(folder: Path, answer: str, status: int = 0) -> Path:
    """Make a program that answers as nvidia-smi does."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\nexit {status}\n")
    path.chmod(0o755)
    return path


def test_lines_are_read_and_others_left_out() -> None:
    found = parse_gpus(f"warning: something\n{TWO}2, GPU-c, MIG, [N/A], [N/A]\n\n")

    assert [one.uuid for one in found] == ["GPU-aaaa", "GPU-bbbb"]
    assert found[0].title == "GPU 0 (NVIDIA H200)"
    assert found[1].free_bytes == GIB


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("GPU-bb", ["1"]),
        ("", []),
        ("7,0", []),
        ("0,7,1", ["0"]),
    ],
)
def test_what_cuda_may_see_is_what_counts(visible: str | None, left: list[str]) -> None:
    assert [one.index for one in shown(parse_gpus(TWO), visible)] == left


@POSIX
def test_the_program_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, TWO)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    found = read_gpus("1")

    assert found == (Gpu("1", "GPU-bbbb", "NVIDIA RTX 4090", 24564 * 1024**2, GIB),)


@POSIX
def test_a_program_that_fails_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "Failed to initialize NVML: Driver/library version mismatch\n", 18)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert read_gpus() is None


@pytest.mark.parametrize(("amd", "told"), [(True, None), (False, ())])
def test_without_the_program_there_is_none_unless_another_maker_has_one(
    amd: bool, told: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "_AMD", tmp_path if amd else tmp_path / "none")

    assert read_gpus() == told
