"""The folders that mflux-save writes: a base model in MLX's layout, often quantised.

Each part is a folder of numbered safetensors with an index beside them, whose metadata says
version and bits; there is no ``model_index.json``. Names are those of mflux's own classes, and
quantised tensors are packed, so nothing but mflux reads such a folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import JsonInvalidError, WeightsRefusedError

READER = "mflux"
_INDEX = "model.safetensors.index.json"
_DENOISER = "transformer"
_NOT_QUANTISED = frozenset({None, "", "None", "null"})


class MlxFolder(msgspec.Struct, frozen=True):
    """What a folder of mflux says of itself.

    Attributes:
        version: The mflux that wrote it.
        bits: Bits of a quantised weight, or None.
        tensors: Names of the transformer's tensors.
    """

    version: str
    bits: int | None
    tensors: tuple[str, ...]

    @property
    def words(self) -> str:
        """Say what it is."""
        kind = f"quantised to {self.bits} bits" if self.bits else "not quantised"
        return f"written by mflux {self.version}, {kind}; nothing but mflux reads it"


def read_mlx_folder(folder: Path) -> MlxFolder | None:
    """Return what a folder that mflux-save wrote is, or None when it is another.

    Raises:
        WeightsRefusedError: When a part of it is missing, or its index is none.
    """
    if not (folder / _DENOISER / _INDEX).is_file():
        return None
    told = _index(folder / _DENOISER / _INDEX)
    version = told["metadata"].get("mflux_version")
    if not isinstance(version, str) or not version:
        return None  # other programs name their index so, too
    for index in sorted(folder.glob(f"*/{_INDEX}")):
        for name in sorted(set(map(str, _index(index)["weight_map"].values()))):
            if not (index.parent / name).is_file() or Path(name).name != name:
                raise WeightsRefusedError(
                    f"{index.parent.name}/{name} is missing: {index.parent.name}/{_INDEX} names it",
                    hint="mflux-save writes the folder anew",
                )
    return MlxFolder(version, _bits(told["metadata"]), tuple(sorted(told["weight_map"])))


def _index(path: Path) -> dict[str, Any]:
    try:
        document = strict_json.load(path)
    except JsonInvalidError as error:
        raise WeightsRefusedError(error.message) from error
    parts = document if isinstance(document, dict) else {}
    metadata, names = parts.get("metadata") or {}, parts.get("weight_map")
    if not isinstance(metadata, dict) or not isinstance(names, dict):
        raise WeightsRefusedError(f"{path.parent.name}/{path.name} names no tensors")
    return {"metadata": metadata, "weight_map": names}


def _bits(metadata: dict[str, Any]) -> int | None:
    told = metadata.get("quantization_level")
    if told in _NOT_QUANTISED:
        return None
    if not str(told).isdecimal():
        raise WeightsRefusedError(f"quantization_level is {told!r}, which is no number of bits")
    return int(str(told))
