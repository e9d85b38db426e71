"""How much a LoRA changes each module: the Frobenius norm of what it adds to the weights.

The change itself (up times down) is never built. Of a product the norm follows from small
matrices: ``|U D|² = sum((UᵀU) · (DDᵀ))``, so a rank of 16 needs matrices of 16 by 16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from lora_pipeline.training.weights_blocks import Block, block_of
from lora_pipeline.training.weights_file import Tensor, WeightsHeader
from lora_pipeline.training.weights_keys import AdaptedModule
from lora_pipeline.training.weights_values import as_numbers

if TYPE_CHECKING:
    import numpy

    Matrix = numpy.ndarray[Any, Any]

# Factors are small; a tensor beyond this is none, and is not read into memory.
_LARGEST_TENSOR = 256 * 1024 * 1024
_LARGEST_LOHA_RANK = 32  # its matrices have the square of the rank as side


class BlockNorm(msgspec.Struct, frozen=True):
    """How much one block of the base model is changed.

    Attributes:
        block: Which one.
        modules: How many modules of it are adapted.
        norm: Frobenius norm of all that is added to it at strength 1.
    """

    block: Block
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
) -> dict[str, float]:
    """Return the norm of the change of each module, by its path.

    Modules are left out where the change depends on the base model (DoRA, OFT) or is not told
    by such a formula. One module is in memory at a time.

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
            if square is not None and math.isfinite(square):
                norms[module.path] = abs(opened.scale(module)) * math.sqrt(max(square, 0))
    return norms


def block_norms(norms: Mapping[str, float]) -> list[BlockNorm]:
    """Return the norms of blocks, in the order in which data passes through them."""
    squares: dict[Block, list[float]] = {}
    for path, norm in norms.items():
        squares.setdefault(block_of(path), []).append(norm**2)
    return [
        BlockNorm(block, len(squares[block]), math.sqrt(sum(squares[block])))
        for block in sorted(squares, key=lambda one: one.order)
    ]


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
    """Return the squared norm of the change without its scale, or None when it is not told."""
    try:
        if module.algorithm == "lora":
            return _pair(parts)
        if module.algorithm == "full":
            return sum(_own(parts[name]) for name in parts if name != "alpha")
        if module.algorithm == "loha" and not {"hada_t1", "hada_t2"} & set(parts):
            return _hadamard(parts)
        if module.algorithm == "lokr" and "lokr_t2" not in parts:
            return _factor(parts, "lokr_w1") * _factor(parts, "lokr_w2")
    except (KeyError, ValueError):  # tensors that do not fit are a finding of their own
        return None
    return None


def _pair(parts: Mapping[str, Matrix]) -> float:
    up, down = _rows(parts["up"]).astype("f4"), _rows(parts["down"]).astype("f4")
    left, right = up.T @ up, down @ down.T
    if "mid" not in parts:
        return _total(left, right)
    import numpy

    mid = parts["mid"].astype("f4").reshape(*parts["mid"].shape[:2], -1)
    return float(numpy.einsum("abk,ac,cdk,bd->", mid, left, mid, right, optimize=True))


def _hadamard(parts: Mapping[str, Matrix]) -> float | None:
    rank = parts["hada_w1_b"].shape[0]
    if rank > _LARGEST_LOHA_RANK:
        return None
    left = _row_products(_rows(parts["hada_w1_a"]), _rows(parts["hada_w2_a"]))
    right = _row_products(_rows(parts["hada_w1_b"]).T, _rows(parts["hada_w2_b"]).T)
    return _total(left.T @ left, right.T @ right)


def _factor(parts: Mapping[str, Matrix], name: str) -> float:
    if name in parts:
        return _own(parts[name])
    first, second = _rows(parts[f"{name}_a"]).astype("f4"), _rows(parts[f"{name}_b"]).astype("f4")
    return _total(first.T @ first, second @ second.T)


def _row_products(one: Matrix, other: Matrix) -> Matrix:
    """Return, for each row, every product of a value of one matrix and one of the other."""
    product: Matrix = one.astype("f4")[:, :, None] * other.astype("f4")[:, None, :]
    return product.reshape(len(one), -1)


def _own(values: Matrix) -> float:
    flat = values.ravel().astype("f8")
    return float(flat @ flat)


def _total(left: Matrix, right: Matrix) -> float:
    return float((left.astype("f8") * right.astype("f8")).sum())


def _rows(values: Matrix) -> Matrix:
    return values.reshape(values.shape[0], -1)
