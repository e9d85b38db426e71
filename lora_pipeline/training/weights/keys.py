"""The names of tensors: which belong together as one adapted module, and in whose spelling.

Pure. Spellings (families): ``kohya`` (``lora_unet_….lora_down.weight``), ``peft``
(``….lora_A.weight``), ``diffusers`` (``….lora.down.weight``), ``lycoris`` (``….lokr_w1``, …).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from lora_pipeline.training.weights.file import Tensor

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
    (re.compile(rf"\.(oft_R){_ADAPTER}\.weight$"), "peft", "other"),
    (re.compile(r"(?:\.lora|\.lora_linear_layer|_lora)\.down\.weight$"), "diffusers", "down"),
    (re.compile(r"(?:\.lora|\.lora_linear_layer|_lora)\.up\.weight$"), "diffusers", "up"),
    (re.compile(r"\.dora_scale$"), "", "magnitude"),
    (re.compile(r"\.alpha$"), "", "alpha"),
    (
        re.compile(
            r"\.(hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|oft_blocks|oft_diag"
            r"|glora_[ab][12]|[ab][12](?=\.weight$)|ia3_l|diff|diff_b|w_norm|b_norm|rescale)"
            r"(?:\.weight)?$"
        ),
        "lycoris",
        "other",
    ),
)
_FLOAT_TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_ALGORITHMS = (
    ("lokr_", "lokr"), ("hada_", "loha"), ("oft_", "oft"), ("glora_", "glora"), ("a1", "glora"),
    ("b1", "glora"), ("ia3_", "ia3"), ("diff", "full"), ("w_norm", "full"),
)  # fmt: skip
_PAIRED = ("lora", "dora")


class AdaptedModule(msgspec.Struct, frozen=True):
    """One module of the base model with the tensors that change it.

    Attributes:
        path: Its name in the file's spelling, without the ending.
        family: The spelling.
        algorithm: ``lora``, ``dora``, ``loha``, ``lokr``, ``oft``, ``glora``, ``ia3`` or ``full``.
        parts: Its tensors by part (``down``, ``up``, ``mid``, ``alpha``, …).
    """

    path: str
    family: Family
    algorithm: str
    parts: Mapping[str, Tensor]

    @property
    def rank(self) -> int | None:
        """Rank of its factors, or None where it has none."""
        for name in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
            factor = self.parts.get(name)
            if factor is not None and factor.shape:
                return factor.shape[0]
        return None

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Inputs and outputs of the module that it changes, where its factors tell them."""
        if self.algorithm == "loha":
            return _loha_sizes(self.parts)
        if self.algorithm == "lokr":
            return _lokr_sizes(self.parts)
        if "diff" in self.parts:
            shape = self.parts["diff"].shape
            return (shape[1], shape[0]) if len(shape) > 1 else None
        down, up = self.parts.get("down"), self.parts.get("up")
        if down is None or up is None or len(down.shape) < 2 or len(up.shape) < 2:
            return None
        return down.shape[1], up.shape[0]

    @property
    def factors(self) -> tuple[tuple[str, ...], ...]:
        """Groups of parts whose product is the change: it is nothing when a group is zero.

        A group is zero when one of its tensors is. Empty where the change cannot be told so.
        """
        names = tuple(name for name in self.parts if name not in ("alpha", "magnitude", "bias"))
        if self.algorithm == "lora":
            return (names,) if {"up", "down"} <= set(names) else ()
        if self.algorithm in ("loha", "lokr"):
            return (names,)
        # Rotations by zero, differences of zero: nothing, once all of them are.
        return tuple((name,) for name in names) if self.algorithm in ("oft", "full") else ()


class KeyReading(msgspec.Struct, frozen=True):
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
    def algorithms(self) -> dict[str, int]:
        """How many modules use which algorithm, most common first."""
        return dict(Counter(module.algorithm for module in self.modules).most_common())

    @property
    def algorithm(self) -> str:
        """The algorithm of most modules."""
        return next(iter(self.algorithms), "")

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
    if module.algorithm in ("loha", "lokr"):
        return _factor_problem(module)
    if module.algorithm not in _PAIRED:
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


def _factor_problem(module: AdaptedModule) -> str | None:
    parts = module.parts
    there = next(iter(parts.values())).name
    wanted = ("hada_w1", "hada_w2") if module.algorithm == "loha" else ("lokr_w1", "lokr_w2")
    for name in wanted:
        whole, first, second = parts.get(name), parts.get(f"{name}_a"), parts.get(f"{name}_b")
        if whole is None and (first is None or second is None):
            return f"{there} has no whole {name} beside it"
        if first is None or second is None:
            continue
        if len(first.shape) < 2 or len(second.shape) < 2 or 0 in (*first.shape, *second.shape):
            return f"{first.name} and its other factor are no matrices"
        rank = first.shape[0] if _is_tucker(parts, name) else first.shape[1]
        if rank != second.shape[0]:
            return f"{first.name} has rank {rank}, its other factor has rank {second.shape[0]}"
    return None


def _is_tucker(parts: Mapping[str, Tensor], name: str) -> bool:
    return name.replace("_w", "_t") in parts


def _factor_sizes(parts: Mapping[str, Tensor], name: str) -> tuple[int, int] | None:
    """Return inputs and outputs of one factor, which is whole or a product of two."""
    whole, first, second = parts.get(name), parts.get(f"{name}_a"), parts.get(f"{name}_b")
    if whole is not None:
        return (whole.shape[1], whole.shape[0]) if len(whole.shape) > 1 else None
    if first is None or second is None or len(first.shape) < 2 or len(second.shape) < 2:
        return None
    return second.shape[1], first.shape[1 if _is_tucker(parts, name) else 0]


def _loha_sizes(parts: Mapping[str, Tensor]) -> tuple[int, int] | None:
    return _factor_sizes(parts, "hada_w1")


def _lokr_sizes(parts: Mapping[str, Tensor]) -> tuple[int, int] | None:
    left, right = _factor_sizes(parts, "lokr_w1"), _factor_sizes(parts, "lokr_w2")
    return (left[0] * right[0], left[1] * right[1]) if left and right else None


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
    return "dora" if "magnitude" in parts else "lora"
