"""Compare two weights files by what they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_pipeline.foundation.result import Result
from lora_pipeline.training.weights.compare import Comparison, Products, compare_reports
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights, require_usable
from lora_pipeline.workspace.root import Workspace


def compare_weights(workspace: Workspace, path: str, other: str) -> Result:  # noqa: ARG001
    """Say how alike two LoRAs are: files, tensors, headers, and what they change.

    Files of other ranks, spellings and factors are compared by the change itself.

    Args:
        workspace: Not read; both files may stand anywhere.
        path: The first file.
        other: The second file.

    Raises:
        FileMissingError: When one cannot be read.
        WeightsRefusedError: When one is no sound safetensors file, or no LoRA that can be used.
    """
    one, second = (inspect_weights(Path(text).expanduser()) for text in (path, other))
    require_usable(one)
    require_usable(second)
    found = compare_reports(one, second)
    return Result(
        data={
            "paths": [str(one.path), str(second.path)],
            "sameFile": one.sha256 == second.sha256,
            "sameTensors": one.tensor_sha256 == second.tensor_sha256,
            "sha256": [one.sha256, second.sha256],
            "tensorSha256": [one.tensor_sha256, second.tensor_sha256],
            "ranks": [one.rank, second.rank],
            "compared": found.compared,
            "uncompared": list(found.uncompared),
            "onlyFirst": list(found.only_one),
            "onlySecond": list(found.only_other),
            **_numbers(found.total),
            "blocks": [
                {"part": block.part, "series": block.series, "number": block.number,
                 **_numbers(products)}
                for block, products in found.blocks.items()
            ],
            "metadata": _metadata(one, second),
        },
        reasoning=_words(one, second, found),
    )  # fmt: skip


def _numbers(products: Products) -> dict[str, Any]:
    likeness, distance = products.likeness, products.distance
    return {
        "norms": [round(norm, 6) for norm in products.norms],
        "likeness": None if likeness is None else round(likeness, 6),
        "distance": None if distance is None else round(distance, 6),
    }


def _metadata(one: WeightsReport, other: WeightsReport) -> dict[str, list[str]]:
    first, second = one.metadata, other.metadata
    return {
        "onlyFirst": sorted(first.keys() - second.keys()),
        "onlySecond": sorted(second.keys() - first.keys()),
        "changed": sorted(key for key in first.keys() & second.keys() if first[key] != second[key]),
    }


def _words(one: WeightsReport, other: WeightsReport, found: Comparison) -> str:
    names = f"{one.path.name} and {other.path.name}"
    if one.sha256 == other.sha256:
        return f"{names} are the same file"
    if one.tensor_sha256 == other.tensor_sha256 and one.header.tensors == other.header.tensors:
        return f"{names} hold the same tensors under other headers"
    if found.total.likeness is None:
        return f"{names} have no module in common that can be compared"
    return f"{names} change {found.compared} modules alike by {found.total.likeness:.3f}"
