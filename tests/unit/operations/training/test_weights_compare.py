"""Two LoRAs are alike by what they change, whatever their factors, ranks and spellings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from lora_pipeline.foundation.errors import WeightsRefusedError
from lora_pipeline.operations.training.weights_compare import compare_weights
from lora_pipeline.workspace.root import Workspace
from tests.support.training_builders import RawTensor, safetensors_bytes, write_lora
from tests.support.workspace_builders import make_workspace

Matrix = numpy.ndarray[Any, Any]
DOTTED = "unet.mid_block.attentions.0.proj_in"
FLAT = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def random(*shape: int, seed: int = 0) -> Matrix:
    return numpy.random.default_rng(seed).normal(size=shape).astype("f4")


def written(path: Path, down: Matrix, up: Matrix, *, flat: bool = False, **more: str) -> str:
    names = (
        (f"{FLAT}.lora_down.weight", f"{FLAT}.lora_up.weight")
        if flat
        else (f"{DOTTED}.lora_A.weight", f"{DOTTED}.lora_B.weight")
    )
    tensors = [
        RawTensor(name, "F32", one.shape, one.astype("<f4").tobytes())
        for name, one in zip(names, (down, up), strict=True)
    ]
    path.write_bytes(safetensors_bytes(tensors, more))
    return str(path)


def test_the_same_change_from_other_factors_is_the_same(
    workspace: Workspace, tmp_path: Path
) -> None:
    down, up = random(4, 16), random(12, 4, seed=1)
    one = written(tmp_path / "a.safetensors", down, up)
    other = written(tmp_path / "b.safetensors", down * 2, up / 2, flat=True)

    data = compare_weights(workspace, one, other).data

    assert not data["sameTensors"]
    assert data["likeness"] == pytest.approx(1)
    assert data["distance"] == pytest.approx(0, abs=1e-3)
    assert data["onlyFirst"] == data["onlySecond"] == data["uncompared"] == []


def test_likeness_and_distance_are_those_of_the_changes_themselves(
    workspace: Workspace, tmp_path: Path
) -> None:
    first = random(4, 16), random(12, 4, seed=1)
    second = random(6, 16, seed=2), random(12, 6, seed=3)
    one = written(tmp_path / "a.safetensors", *first)
    other = written(tmp_path / "b.safetensors", *second)
    a, b = first[1] @ first[0], second[1] @ second[0]

    data = compare_weights(workspace, one, other).data

    norms = [float(numpy.linalg.norm(each)) for each in (a, b)]
    assert data["norms"] == pytest.approx(norms, rel=1e-4)
    assert data["likeness"] == pytest.approx(float((a * b).sum()) / (norms[0] * norms[1]), abs=1e-5)
    assert data["distance"] == pytest.approx(float(numpy.linalg.norm(a - b)) / norms[0], rel=1e-4)
    assert data["ranks"] == [4, 6]
    assert [(one["series"], one["likeness"]) for one in data["blocks"]] == [
        ("middle", data["likeness"])
    ]


def test_another_header_is_told_as_such(workspace: Workspace, tmp_path: Path) -> None:
    pair = random(4, 16), random(12, 4, seed=1)
    one = written(tmp_path / "a.safetensors", *pair, format="pt", ss_steps="1")
    other = written(tmp_path / "b.safetensors", *pair, ss_steps="2", ss_seed="3")

    result = compare_weights(workspace, one, other)

    assert result.reasoning.endswith("hold the same tensors under other headers")
    assert result.data["metadata"] == {
        "onlyFirst": ["format"], "onlySecond": ["ss_seed"], "changed": ["ss_steps"],
    }  # fmt: skip


def test_modules_that_only_one_has_and_other_sizes_are_named(
    workspace: Workspace, tmp_path: Path
) -> None:
    one = write_lora(tmp_path / "a.safetensors", modules={DOTTED: (8, 8), f"{DOTTED}2": (8, 8)})
    other = write_lora(tmp_path / "b.safetensors", modules={DOTTED: (8, 16), f"{DOTTED}3": (8, 8)})

    data = compare_weights(workspace, str(one), str(other)).data

    assert (data["onlyFirst"], data["onlySecond"]) == ([f"{DOTTED}2"], [f"{DOTTED}3"])
    assert data["uncompared"] == [DOTTED]
    assert data["likeness"] is None


def test_what_cannot_be_used_is_not_compared(workspace: Workspace, tmp_path: Path) -> None:
    good = write_lora(tmp_path / "a.safetensors")
    bad = write_lora(tmp_path / "b.safetensors", up=0.0)

    with pytest.raises(WeightsRefusedError, match="every up matrix is zero"):
        compare_weights(workspace, str(good), str(bad))
