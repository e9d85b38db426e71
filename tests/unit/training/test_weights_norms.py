"""How much a module is changed, against the change itself, built as programs build it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from lora_pipeline.training.weights_file import read_header
from lora_pipeline.training.weights_keys import read_keys
from lora_pipeline.training.weights_norms import block_norms, module_norms
from tests.support.training_builders import RawTensor, safetensors_bytes

NAME = "lora_unet_mid_block_attentions_0_proj_in"
Values = dict[str, "numpy.ndarray[Any, Any]"]


def values(**shapes: tuple[int, ...]) -> Values:
    random = numpy.random.default_rng(3)
    return {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}


def written(folder: Path, modules: dict[str, Values]) -> Path:
    path = folder / "w.safetensors"
    path.write_bytes(
        safetensors_bytes(
            [
                RawTensor(f"{module}.{name}", "F32", one.shape, one.astype("<f4").tobytes())
                for module, tensors in modules.items()
                for name, one in tensors.items()
            ]
        )
    )
    return path


def norm_of(folder: Path, tensors: Values, alpha: float | None = None) -> float | None:
    path = written(folder, {NAME: tensors})
    header = read_header(path)
    return module_norms(path, header, read_keys(header.tensors).modules, alpha).get(NAME)


def frobenius(change: numpy.ndarray[Any, Any]) -> float:
    return float(numpy.sqrt((change.astype("f8") ** 2).sum()))


def test_a_pair_is_measured_by_its_product(tmp_path: Path) -> None:
    one = values(**{"lora_down.weight": (4, 32), "lora_up.weight": (16, 4)})

    expected = frobenius(one["lora_up.weight"] @ one["lora_down.weight"])

    assert norm_of(tmp_path, one) == pytest.approx(expected, rel=1e-5)


def test_alpha_scales_it_whether_the_module_or_the_file_states_it(tmp_path: Path) -> None:
    one = values(**{"lora_down.weight": (4, 32), "lora_up.weight": (16, 4)})
    plain = norm_of(tmp_path, one)
    assert plain is not None

    stated = norm_of(tmp_path, one | {"alpha": numpy.array(1.0, dtype="f4")})

    assert stated == pytest.approx(plain / 4)
    assert norm_of(tmp_path, one, alpha=2.0) == pytest.approx(plain / 2)


def test_a_convolution_with_a_core_is_measured_whole(tmp_path: Path) -> None:
    one = values(**{"lora_down.weight": (4, 6, 1, 1), "lora_mid.weight": (4, 4, 3, 3),
                    "lora_up.weight": (5, 4, 1, 1)})  # fmt: skip
    change = numpy.einsum(
        "oa,abhw,bi->oihw", one["lora_up.weight"][:, :, 0, 0], one["lora_mid.weight"],
        one["lora_down.weight"][:, :, 0, 0],
    )  # fmt: skip

    assert norm_of(tmp_path, one) == pytest.approx(frobenius(change), rel=1e-5)


def test_loha_is_measured_by_its_product_of_products(tmp_path: Path) -> None:
    one = values(hada_w1_a=(8, 3), hada_w1_b=(3, 12), hada_w2_a=(8, 3), hada_w2_b=(3, 12))
    change = (one["hada_w1_a"] @ one["hada_w1_b"]) * (one["hada_w2_a"] @ one["hada_w2_b"])

    assert norm_of(tmp_path, one) == pytest.approx(frobenius(change), rel=1e-5)


def test_lokr_is_measured_by_its_kronecker_product(tmp_path: Path) -> None:
    one = values(lokr_w1=(2, 3), lokr_w2_a=(4, 2), lokr_w2_b=(2, 5))
    change = numpy.kron(one["lokr_w1"], one["lokr_w2_a"] @ one["lokr_w2_b"])

    assert norm_of(tmp_path, one) == pytest.approx(frobenius(change), rel=1e-5)


def test_a_full_difference_is_its_own_change(tmp_path: Path) -> None:
    one = values(diff=(4, 6), diff_b=(4,))

    expected = numpy.sqrt(frobenius(one["diff"]) ** 2 + frobenius(one["diff_b"]) ** 2)

    assert norm_of(tmp_path, one) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "shapes",
    [
        {"lora_down.weight": (4, 8), "lora_up.weight": (8, 4), "dora_scale": (8, 1)},
        {"oft_blocks": (2, 4, 4)},
    ],
)
def test_what_depends_on_the_base_model_is_not_made_up(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    assert norm_of(tmp_path, values(**shapes)) is None


def test_blocks_stand_in_the_order_in_which_data_passes(tmp_path: Path) -> None:
    paths = ["lora_unet_up_blocks_1_a", "lora_unet_down_blocks_0_a", "lora_unet_mid_block_a",
             "lora_unet_down_blocks_10_a", "lora_unet_down_blocks_2_a"]  # fmt: skip

    blocks = [one.block for one in block_norms(dict.fromkeys(paths, 1.0))]

    assert [(one.series, one.number) for one in blocks] == [
        ("down", 0), ("down", 2), ("down", 10), ("middle", 0), ("up", 1),
    ]  # fmt: skip


def test_the_norm_of_a_block_joins_those_of_its_modules() -> None:
    (block,) = block_norms({"lora_unet_mid_block_a": 3.0, "lora_unet_mid_block_b": 4.0})

    assert (block.modules, block.norm) == (2, 5.0)
