"""How much a module is changed, against the change itself, built as programs build it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from lora_pipeline.training.weights.file import read_header
from lora_pipeline.training.weights.keys import read_keys
from lora_pipeline.training.weights.norms import ModuleNorm, block_norms, module_norms
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
    found = module_norms(path, header, read_keys(header.tensors).modules, alpha).get(NAME)
    return None if found is None else found.norm


def measure_of(folder: Path, tensors: Values) -> str:
    path = written(folder, {NAME: tensors})
    header = read_header(path)
    return module_norms(path, header, read_keys(header.tensors).modules)[NAME].measure


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


def test_loha_of_a_high_rank_is_measured_too(tmp_path: Path) -> None:
    one = values(hada_w1_a=(600, 40), hada_w1_b=(40, 8), hada_w2_a=(600, 40), hada_w2_b=(40, 8))
    change = (one["hada_w1_a"] @ one["hada_w1_b"]) * (one["hada_w2_a"] @ one["hada_w2_b"])

    assert norm_of(tmp_path, one) == pytest.approx(frobenius(change), rel=1e-5)


def test_loha_of_a_convolution_with_cores_is_measured_place_by_place(tmp_path: Path) -> None:
    one = values(hada_t1=(2, 2, 3, 3), hada_w1_a=(2, 7), hada_w1_b=(2, 5),
                 hada_t2=(2, 2, 3, 3), hada_w2_a=(2, 7), hada_w2_b=(2, 5))  # fmt: skip
    first, second = (
        numpy.einsum("ijkl,jr,ip->prkl", one[f"hada_t{n}"], one[f"hada_w{n}_b"],
                     one[f"hada_w{n}_a"])
        for n in (1, 2)
    )  # fmt: skip

    assert norm_of(tmp_path, one) == pytest.approx(frobenius(first * second), rel=1e-5)


def test_lokr_of_a_convolution_with_a_core_is_measured_whole(tmp_path: Path) -> None:
    one = values(lokr_w1=(2, 3), lokr_t2=(2, 2, 3, 3), lokr_w2_a=(2, 4), lokr_w2_b=(2, 5))
    core = numpy.einsum("ijkl,ip,jr->prkl", one["lokr_t2"], one["lokr_w2_a"], one["lokr_w2_b"])
    change = numpy.kron(one["lokr_w1"][:, :, None, None], core)

    assert norm_of(tmp_path, one) == pytest.approx(frobenius(change), rel=1e-5)


@pytest.mark.parametrize("name", ["dora_scale", "lora_magnitude_vector.default"])
def test_dora_is_measured_by_what_it_adds_before_it_rescales(tmp_path: Path, name: str) -> None:
    one = values(**{"lora_down.weight": (4, 32), "lora_up.weight": (16, 4), name: (16, 1)})

    expected = frobenius(one["lora_up.weight"] @ one["lora_down.weight"])

    assert norm_of(tmp_path, one) == pytest.approx(expected, rel=1e-5)
    assert measure_of(tmp_path, one) == "before_rescaling"


def cayley(skew: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    unit = numpy.eye(skew.shape[-1])
    turned: numpy.ndarray[Any, Any] = (unit + skew) @ numpy.linalg.inv(unit - skew)
    return turned


def test_oft_is_measured_by_how_far_it_turns(tmp_path: Path) -> None:
    one = values(oft_blocks=(3, 6, 6))
    skew = one["oft_blocks"] - one["oft_blocks"].transpose(0, 2, 1)

    assert norm_of(tmp_path, one) == pytest.approx(frobenius(cayley(skew) - numpy.eye(6)), rel=1e-4)
    assert measure_of(tmp_path, one) == "turned"


def test_alpha_of_oft_bounds_how_far_it_turns(tmp_path: Path) -> None:
    one = values(oft_blocks=(3, 6, 6)) | {"alpha": numpy.array(0.01, dtype="f4")}
    skew = (one["oft_blocks"] - one["oft_blocks"].transpose(0, 2, 1)).astype("f8")
    skew *= 0.01 * 18 / frobenius(skew)

    expected = frobenius(cayley(skew) - numpy.eye(6))
    assert norm_of(tmp_path, one) == pytest.approx(expected, rel=1e-4)


@pytest.mark.train
def test_what_peft_turns_is_what_is_measured(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    from safetensors.torch import save_file

    torch.manual_seed(3)
    base = torch.nn.Sequential(torch.nn.Linear(12, 8))
    config = peft.OFTConfig(target_modules=["0"], r=0, oft_block_size=4, use_cayley_neumann=False)
    model = peft.get_peft_model(base, config)
    (layer,) = [one for one in model.modules() if hasattr(one, "oft_R")]
    rotation = layer.oft_R["default"]
    with torch.no_grad():
        rotation.weight.normal_(std=0.3)
        turned = rotation._cayley_batch(rotation.weight, 4, use_cayley_neumann=False)
    path = tmp_path / "oft.safetensors"
    save_file(peft.get_peft_model_state_dict(model), path)

    header = read_header(path)
    (found,) = module_norms(path, header, read_keys(header.tensors).modules).values()

    expected = frobenius((turned - torch.eye(4)).numpy())
    assert found.measure == "turned"
    assert found.norm == pytest.approx(expected, rel=1e-4)


def test_a_full_difference_is_its_own_change(tmp_path: Path) -> None:
    one = values(diff=(4, 6), diff_b=(4,))

    expected = numpy.sqrt(frobenius(one["diff"]) ** 2 + frobenius(one["diff_b"]) ** 2)

    assert norm_of(tmp_path, one) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "shapes",
    [
        {"oft_blocks": (2, 4, 4), "rescale": (8, 1)},
        {"oft_blocks": (2, 3, 4, 4)},  # BOFT: a product of rotations
        {"oft_R.weight": (2, 4)},  # four numbers are no triangle
        {"ia3_l.weight": (8, 1)},
    ],
)
def test_what_the_file_does_not_tell_is_not_made_up(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    assert norm_of(tmp_path, values(**shapes)) is None


def test_blocks_stand_in_the_order_in_which_data_passes(tmp_path: Path) -> None:
    paths = ["lora_unet_up_blocks_1_a", "lora_unet_down_blocks_0_a", "lora_unet_mid_block_a",
             "lora_unet_down_blocks_10_a", "lora_unet_down_blocks_2_a"]  # fmt: skip

    blocks = [one.block for one in block_norms(dict.fromkeys(paths, ModuleNorm("added", 1.0)))]

    assert [(one.series, one.number) for one in blocks] == [
        ("down", 0), ("down", 2), ("down", 10), ("middle", 0), ("up", 1),
    ]  # fmt: skip


def test_the_norm_of_a_block_joins_those_of_its_modules() -> None:
    norms = {"lora_unet_mid_block_a": 3.0, "lora_unet_mid_block_b": 4.0}
    (block,) = block_norms({path: ModuleNorm("added", one) for path, one in norms.items()})

    assert (block.modules, block.norm) == (2, 5.0)
