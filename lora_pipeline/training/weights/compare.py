"""How alike two LoRAs are: by what they change, whatever their rank, spelling and factors.

Two files with other numbers may do the same (half of one factor, twice of the other), and two
files of equal size may have nothing in common. What counts is the angle between the changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from lora_pipeline.training.weights.architecture import component_of
from lora_pipeline.training.weights.blocks import Block, block_of
from lora_pipeline.training.weights.inspection import WeightsReport
from lora_pipeline.training.weights.keys import AdaptedModule
from lora_pipeline.training.weights.norms import OpenModules, inner_product

Key = tuple[str, str]


class Products(msgspec.Struct, frozen=True):
    """Inner products of two changes: of one with itself, the other with itself, and both."""

    one: float = 0.0
    other: float = 0.0
    both: float = 0.0

    def __add__(self, more: Products) -> Products:
        """Return those of two modules together."""
        return Products(self.one + more.one, self.other + more.other, self.both + more.both)

    @property
    def norms(self) -> tuple[float, float]:
        """The norms of both changes."""
        return math.sqrt(max(self.one, 0.0)), math.sqrt(max(self.other, 0.0))

    @property
    def likeness(self) -> float | None:
        """Cosine of the angle between them: 1 the same direction, 0 nothing in common."""
        first, second = self.norms
        return self.both / (first * second) if first and second else None

    @property
    def distance(self) -> float | None:
        """Norm of the difference, as a share of the norm of the first."""
        square = max(self.one + self.other - 2 * self.both, 0.0)
        return math.sqrt(square / self.one) if self.one > 0 else None


class Comparison(msgspec.Struct, frozen=True):
    """How alike two LoRAs are.

    Attributes:
        total: Over all modules that could be compared.
        blocks: The same of each block.
        compared: How many modules both have that could be compared.
        uncompared: Modules of both that could not be: other kinds, other sizes.
        only_one: Modules that only the first has.
        only_other: Modules that only the second has.
    """

    total: Products
    blocks: Mapping[Block, Products]
    compared: int
    uncompared: tuple[str, ...]
    only_one: tuple[str, ...]
    only_other: tuple[str, ...]


def compare_reports(one: WeightsReport, other: WeightsReport) -> Comparison:
    """Compare two files by what they change; two modules are in memory at a time."""
    first, second = _by_name(one), _by_name(other)
    blocks: dict[Block, Products] = {}
    total, uncompared, compared = Products(), [], 0
    with one.path.open("rb") as left, other.path.open("rb") as right:
        readers = (
            OpenModules(left, one.header, _alpha(one)),
            OpenModules(right, other.header, _alpha(other)),
        )
        for name in sorted(first.keys() & second.keys()):
            module = first[name]
            products = _products(readers, module, second[name])
            if products is None:
                uncompared.append(module.path)
                continue
            compared += 1
            total += products
            block = block_of(module.path)
            blocks[block] = blocks.get(block, Products()) + products
    return Comparison(
        total,
        {block: blocks[block] for block in sorted(blocks, key=lambda found: found.order)},
        compared,
        tuple(uncompared),
        tuple(first[name].path for name in sorted(first.keys() - second.keys())),
        tuple(second[name].path for name in sorted(second.keys() - first.keys())),
    )


def _products(
    readers: tuple[OpenModules, OpenModules], one: AdaptedModule, other: AdaptedModule
) -> Products | None:
    if (one.algorithm, other.algorithm) != ("lora", "lora"):
        return None
    first, second = readers[0].parts(one), readers[1].parts(other)
    if first is None or second is None:
        return None
    scales = readers[0].scale(one), readers[1].scale(other)
    both = inner_product(first, second)
    if both is None:
        return None
    own, others = inner_product(first, first) or 0.0, inner_product(second, second) or 0.0
    return Products(own * scales[0] ** 2, others * scales[1] ** 2, both * scales[0] * scales[1])


def _by_name(report: WeightsReport) -> dict[Key, AdaptedModule]:
    found = {}
    for module in report.modules:
        part, name = component_of(module.path)
        found[part, name.replace(".", "_").removeprefix("text_model_")] = module
    return found


def _alpha(report: WeightsReport) -> float | None:
    return report.alphas[0] if len(report.alphas) == 1 else None
