"""The names of tensors: which belong together as one adapted module, and in whose spelling.

Pure. Spellings (families): ``kohya`` (``lora_unet_….lora_down.weight``), ``peft``
(``….lora_A.weight``), ``diffusers`` (``….lora.down.weight``), ``lycoris`` (``….lokr_w1``, …).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lora_pipeline.training.weights_file import Tensor

Family = Literal["kohya", "peft", "diffusers", "lycoris", ""]

_ADAPTER = r"(?:\.(?!weight)[A-Za-z0-9_]+)?"
# spelling -> (family, part); the first that matches the end of a name is the answer.
_ENDINGS: tuple[tuple[re.Pattern[str], Family, str], ...] = (
    (re.compile(r"\.lora_down\.weight$"), "kohya", "down"),
    (re.compile(r"\.lora_up\.weight$"), "kohya", "up"),
    (re.compile(r"\.lora_mid\.weight$"), "kohya", "mid"),
    (re.compile(rf"\.lora_A{_ADAPTER}\.weight$"), "peft", "down"),
    (re.compile(rf"\.lora_B{_ADAPTER}\.weight$"), "peft", "up"),
    (re.compile(rf"\.lora_B{_ADAPTER}\.bias$"), "peft", "bias"),
    (re.compile(rf"\.lora_magnitude_vector{_ADAPTER}(?:\.weight)?$"), "peft", "magnitude"),
    (re.compile(r"(?:\.lora|\.lora_linear_layer|_lora)\.down\.weight$"), "diffusers", "down"),
    (re.compile(r"(?:\.lora|\.lora_linear_layer|_lora)\.up\.weight$"), "diffusers", "up"),
    (re.compile(r"\.dora_scale$"), "", "magnitude"),
    (re.compile(r"\.alpha$"), "", "alpha"),
    (
        re.compile(
            r"\.(hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|oft_blocks|oft_diag"
            r"|oft_R\.weight|diff|diff_b|w_norm|b_norm|rescale)$"
        ),
        "lycoris",
        "other",
    ),
)
_FLOAT_TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_ALGORITHMS = (("lokr_", "lokr"), ("hada_", "loha"), ("oft_", "oft"), ("diff", "full difference"))


@dataclass(frozen=True)
class AdaptedModule:
    """One module of the base model with the tensors that change it.

    Attributes:
        path: Its name in the file's spelling, without the ending.
        family: The spelling.
        algorithm: ``lora``, ``loha``, ``lokr``, ``oft``, ….
        parts: Its tensors by part (``down``, ``up``, ``mid``, ``alpha``, …).
    """

    path: str
    family: Family
    algorithm: str
    parts: Mapping[str, Tensor]

    @property
    def rank(self) -> int | None:
        """Rank of a ``lora`` pair, or None where the algorithm has none."""
        down = self.parts.get("down")
        return down.shape[0] if down is not None and down.shape else None

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Inputs and outputs of the module that it changes, where a pair tells them."""
        down, up = self.parts.get("down"), self.parts.get("up")
        if down is None or up is None or len(down.shape) < 2 or len(up.shape) < 2:
            return None
        return down.shape[1], up.shape[0]


@dataclass(frozen=True)
class KeyReading:
    """What the names of a file's tensors say.

    Attributes:
        modules: The adapted modules, sorted by path.
        foreign: Names that belong to no LoRA.
    """

    modules: tuple[AdaptedModule, ...]
    foreign: tuple[str, ...]

    @property
    def family(self) -> Family:
        """The spelling of most modules, or empty where there is no module."""
        counted = Counter(module.family for module in self.modules if module.family)
        return counted.most_common(1)[0][0] if counted else ""

    @property
    def algorithm(self) -> str:
        """The algorithm of most modules."""
        counted = Counter(module.algorithm for module in self.modules)
        return counted.most_common(1)[0][0] if counted else ""

    @property
    def ranks(self) -> dict[int, int]:
        """How many modules have which rank, most common first."""
        counted = Counter(module.rank for module in self.modules if module.rank is not None)
        return dict(counted.most_common())


def read_keys(tensors: Sequence[Tensor]) -> KeyReading:
    """Return the modules that the tensors of a file adapt."""
    parts: dict[str, dict[str, Tensor]] = {}
    families: dict[str, Family] = {}
    foreign = []
    for tensor in tensors:
        split = _split(tensor.name)
        if split is None:
            foreign.append(tensor.name)
            continue
        path, family, part = split
        parts.setdefault(path, {})[part] = tensor
        families[path] = families.get(path) or family
    modules = tuple(
        AdaptedModule(path, families[path], _algorithm(parts[path]), parts[path])
        for path in sorted(parts)
    )
    return KeyReading(modules, tuple(sorted(foreign)))


def pair_problem(module: AdaptedModule) -> str | None:
    """Return what is wrong with a module's tensors, or None when they fit together."""
    for part, tensor in module.parts.items():
        if part != "alpha" and tensor.dtype not in _FLOAT_TYPES:
            return f"{tensor.name} holds {tensor.dtype}, which are no weights"
    if module.algorithm != "lora":
        return None
    down, up = module.parts.get("down"), module.parts.get("up")
    if down is None or up is None:
        there = next(iter(module.parts.values()))
        return f"{there.name} has no {'down' if down is None else 'up'} matrix beside it"
    return _rank_problem(down, up, module.parts.get("mid"))


def _rank_problem(down: Tensor, up: Tensor, mid: Tensor | None) -> str | None:
    if len(down.shape) < 2 or len(up.shape) < 2 or 0 in (*down.shape, *up.shape):
        return f"{down.name} and its up matrix are no matrices: {down.shape} and {up.shape}"
    rank = down.shape[0]
    if rank != up.shape[1]:
        return f"{down.name} has rank {rank}, its up matrix has rank {up.shape[1]}"
    if mid is not None and mid.shape[:2] != (rank, rank):
        return f"{mid.name} does not fit rank {rank}"
    return None


def _split(name: str) -> tuple[str, Family, str] | None:
    for ending, family, part in _ENDINGS:
        match = ending.search(name)
        if match:
            return name[: match.start()], family, match[1] if part == "other" else part
    return None


def _algorithm(parts: Mapping[str, Tensor]) -> str:
    for start, algorithm in _ALGORITHMS:
        if any(part.startswith(start) for part in parts):
            return algorithm
    return "lora"
