"""How much a LoRA changes each module, as far as its file alone can tell.

- What is added to the weights has a Frobenius norm, and that follows from the factors. Of a
  product it needs small matrices alone: ``|U D|² = sum((UᵀU) · (DDᵀ))``, so a rank of 16 needs
  matrices of 16 by 16. LoHa adds ``(A₁B₁) ∘ (A₂B₂)``, which is built a part at a time; LoKr adds
  ``W₁ ⊗ W₂``, whose norm is the product of both (FedPara, arXiv 2108.06098, and LoKr, 2309.14859,
  as LyCORIS has them in ``functional/loha.py`` and ``lokr.py``).
- DoRA adds a product too, and then gives every row or column of the sum a length of its own
  (``m · (W + BA) / |W + BA|``, arXiv 2402.09353). The change depends on the base model; what is
  told is the norm of what is added before that.
- OFT adds nothing: it turns the weights, ``R W`` with ``R = (I + Q)(I - Q)⁻¹`` and ``Q = -Qᵀ``
  (arXiv 2306.07280; sd-scripts ``networks/oft.py``, LyCORIS ``functional/diag_oft.py``, peft's
  ``OFTRotationModule``). Told is ``|R - I|``, which needs no ``R``: with the singular values ``s``
  of ``Q`` its square is the sum of ``4s² / (1 + s²)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import msgspec

from lora_pipeline.training.weights.blocks import Block, block_of
from lora_pipeline.training.weights.file import Tensor, WeightsHeader
from lora_pipeline.training.weights.keys import AdaptedModule
from lora_pipeline.training.weights.values import as_numbers

if TYPE_CHECKING:
    import numpy

    Matrix = numpy.ndarray[Any, Any]

# Factors are small; a tensor beyond this is none, and is not read into memory.
_LARGEST_TENSOR = 256 * 1024 * 1024
_ROWS_AT_ONCE = 512

Measure = Literal["added", "before_rescaling", "turned"]
MEASURES: tuple[Measure, ...] = ("added", "before_rescaling", "turned")


class ModuleNorm(msgspec.Struct, frozen=True):
    """How much one module is changed.

    Attributes:
        measure: What was measured: what is added, what is added before a rescaling that depends
            on the base model, or how far the weights are turned.
        norm: Its Frobenius norm at strength 1.
    """

    measure: Measure
    norm: float


class BlockNorm(msgspec.Struct, frozen=True):
    """How much one block of the base model is changed.

    Attributes:
        block: Which one.
        measure: What was measured.
        modules: How many modules of it are adapted so.
        norm: Frobenius norm of all of them together, at strength 1.
    """

    block: Block
    measure: Measure
    modules: int
    norm: float


class OpenModules(msgspec.Struct, frozen=True):
    """A weights file whose modules are read one by one.

    Attributes:
        stream: The open file.
        header: Its header.
        alpha: Alpha of modules that do not state their own; None is their rank.
    """

    stream: BinaryIO
    header: WeightsHeader
    alpha: float | None = None

    def parts(self, module: AdaptedModule) -> dict[str, Matrix] | None:
        """Return the tensors of a module, or None when they are too large to be factors."""
        if any(one.end - one.start > _LARGEST_TENSOR for one in module.parts.values()):
            return None
        return {name: self._values(one) for name, one in module.parts.items()}

    def scale(self, module: AdaptedModule) -> float:
        """Return what the product of a module's factors is multiplied with at strength 1."""
        stated, alpha = module.parts.get("alpha"), self.alpha
        if module.rank is None or module.algorithm == "full":
            return 1.0
        if stated is not None and stated.count:
            alpha = float(self._values(stated).ravel()[0])
        # A factor that stands whole has no rank to divide by: programs take a scale of one.
        if module.algorithm == "lokr" and {"lokr_w1", "lokr_w2"} <= set(module.parts):
            return 1.0
        return 1.0 if alpha is None else alpha / module.rank

    def _values(self, tensor: Tensor) -> Matrix:
        self.stream.seek(self.header.data_start + tensor.start)
        data = self.stream.read(tensor.end - tensor.start)
        return as_numbers(data, tensor.dtype).reshape(tensor.shape)


def module_norms(
    path: Path, header: WeightsHeader, modules: Iterable[AdaptedModule], alpha: float | None = None
) -> dict[str, ModuleNorm]:
    """Return how much each module is changed, by its path; one is in memory at a time.

    Modules are left out where the file does not tell it: GLoRA and IA3, which multiply the base
    model's own weights, and OFT with a rescaling or of butterfly form.

    Args:
        path: The file.
        header: Its header.
        modules: Its modules.
        alpha: Alpha of modules that do not state their own; None is their rank.
    """
    norms = {}
    with path.open("rb") as stream:
        opened = OpenModules(stream, header, alpha)
        for module in modules:
            parts = opened.parts(module)
            square = None if parts is None else _square(module, parts)
            if square is None or not math.isfinite(square):
                continue
            measure = _measure(module)
            scale = 1.0 if measure == "turned" else abs(opened.scale(module))
            norms[module.path] = ModuleNorm(measure, scale * math.sqrt(max(square, 0)))
    return norms


def block_norms(norms: Mapping[str, ModuleNorm]) -> list[BlockNorm]:
    """Return the norms of blocks, in the order in which data passes through them."""
    squares: dict[tuple[Measure, Block], list[float]] = {}
    for path, one in norms.items():
        squares.setdefault((one.measure, block_of(path)), []).append(one.norm**2)
    return [
        BlockNorm(block, measure, len(found), math.sqrt(sum(found)))
        for (measure, block), found in sorted(
            squares.items(), key=lambda item: (MEASURES.index(item[0][0]), item[0][1].order)
        )
    ]


def _measure(module: AdaptedModule) -> Measure:
    if module.algorithm == "oft":
        return "turned"
    return "before_rescaling" if "magnitude" in module.parts else "added"


def inner_product(one: Mapping[str, Matrix], other: Mapping[str, Matrix]) -> float | None:
    """Return the inner product of two changes that are pairs, without their scales.

    None when they are no pairs of the same sizes.
    """
    if not ({"up", "down"} <= set(one) and {"up", "down"} <= set(other)) or "mid" in {*one, *other}:
        return None
    first = _rows(one["up"]).astype("f4"), _rows(one["down"]).astype("f4")
    second = _rows(other["up"]).astype("f4"), _rows(other["down"]).astype("f4")
    if len(first[0]) != len(second[0]) or first[1].shape[1] != second[1].shape[1]:
        return None
    return _total(first[0].T @ second[0], first[1] @ second[1].T)


def _square(module: AdaptedModule, parts: Mapping[str, Matrix]) -> float | None:
    """Return the squared norm without its scale, or None when the file does not tell it."""
    measure = _SQUARES.get(module.algorithm)
    try:
        return measure(parts) if measure else None
    except (KeyError, ValueError):  # tensors that do not fit are a finding of their own
        return None


def _difference(parts: Mapping[str, Matrix]) -> float:
    return sum(_own(parts[name]) for name in parts if name != "alpha")


def _kronecker(parts: Mapping[str, Matrix]) -> float:
    return _factor(parts, "lokr_w1") * _factor(parts, "lokr_w2")


def _pair(parts: Mapping[str, Matrix]) -> float:
    up, down = _rows(parts["up"]).astype("f4"), _rows(parts["down"]).astype("f4")
    return _product(up.T @ up, down @ down.T, parts.get("mid"))


def _product(left: Matrix, right: Matrix, core: Matrix | None) -> float:
    """Return the squared norm of a product by its factors' own products, with a core between."""
    if core is None:
        return _total(left, right)
    import numpy

    mid = core.astype("f4").reshape(*core.shape[:2], -1)
    return float(numpy.einsum("abk,ac,cdk,bd->", mid, left, mid, right, optimize=True))


def _hadamard(parts: Mapping[str, Matrix]) -> float:
    """Return the squared norm of ``(A₁B₁) ∘ (A₂B₂)``, some rows of it at a time.

    With cores (Tucker) ``Aᵢ`` is one for each place of the kernel: ``Aᵢᵀ Tᵢ``.
    """
    first, second = _factors(parts, "1"), _factors(parts, "2")
    total = 0.0
    for (left, right), (other_left, other_right) in zip(first, second, strict=True):
        for start in range(0, len(left), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            total += _own((left[rows] @ right) * (other_left[rows] @ other_right))
    return total


def _factors(parts: Mapping[str, Matrix], number: str) -> list[tuple[Matrix, Matrix]]:
    """Return the pairs whose products are one factor of LoHa: one, or one for each place."""
    first, second = (parts[f"hada_w{number}_{half}"].astype("f4") for half in "ab")
    core = parts.get(f"hada_t{number}")
    if core is None:
        return [(_rows(first), _rows(second))]
    places = core.astype("f4").reshape(*core.shape[:2], -1)
    return [(first.T @ places[:, :, one], second) for one in range(places.shape[2])]


def _factor(parts: Mapping[str, Matrix], name: str) -> float:
    if name in parts:
        return _own(parts[name])
    core = parts.get(name.replace("_w", "_t"))
    first, second = _rows(parts[f"{name}_a"]).astype("f4"), _rows(parts[f"{name}_b"]).astype("f4")
    return _product(first.T @ first if core is None else first @ first.T, second @ second.T, core)


def _rotation(parts: Mapping[str, Matrix]) -> float | None:
    """Return the squared norm of ``R - I`` of all blocks of a rotation.

    A share of blocks (peft) is counted once: how many share it, the file does not tell.
    """
    import numpy

    blocks = next((parts[one] for one in ("oft_blocks", "oft_R") if one in parts), None)
    if blocks is None or blocks.ndim not in {2, 3} or "rescale" in parts:
        return None
    skew = _unpacked(blocks) if blocks.ndim == 2 else blocks.astype("f4")
    skew = skew - skew.transpose(0, 2, 1)
    norm, limit = math.sqrt(_own(skew)), _constraint(parts, skew)
    if limit and norm > limit:
        skew = skew * (limit / norm)
    squares = numpy.linalg.eigvalsh(skew.transpose(0, 2, 1) @ skew).clip(min=0)
    return float((4 * squares / (1 + squares)).sum())


def _constraint(parts: Mapping[str, Matrix], skew: Matrix) -> float:
    """Return how long ``Q`` may be: alpha for each output, in sd-scripts and LyCORIS alike."""
    alpha = parts.get("alpha")
    outputs = skew.shape[0] * skew.shape[1]
    return float(alpha.ravel()[0]) * outputs if alpha is not None and alpha.size else 0.0


def _unpacked(triangles: Matrix) -> Matrix:
    """Return blocks of which peft keeps what stands above the diagonal."""
    import numpy

    count = triangles.shape[1]
    side = (1 + math.isqrt(1 + 8 * count)) // 2
    if side * (side - 1) // 2 != count:
        raise ValueError("no triangle has so many numbers")
    blocks = numpy.zeros((len(triangles), side, side), "f4")
    blocks[:, *numpy.triu_indices(side, 1)] = triangles
    return blocks


def _own(values: Matrix) -> float:
    flat = values.ravel().astype("f8")
    return float(flat @ flat)


def _total(left: Matrix, right: Matrix) -> float:
    return float((left.astype("f8") * right.astype("f8")).sum())


def _rows(values: Matrix) -> Matrix:
    return values.reshape(values.shape[0], -1)


_SQUARES: Mapping[str, Callable[[Mapping[str, Matrix]], float | None]] = {
    "lora": _pair,
    "dora": _pair,
    "full": _difference,
    "loha": _hadamard,
    "lokr": _kronecker,
    "oft": _rotation,
}
