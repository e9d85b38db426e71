"""Look into LoRA weights: what they are, what they are for, and whether they can be used.

``inspect_weights`` reads a file once, whoever made it, and reports; ``require_usable`` refuses
what a release must not hold. Names, metadata and exit codes prove nothing; bytes do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import WeightsRefusedError
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.weights_architecture import component_of, possible_architectures
from lora_pipeline.training.weights_file import WeightsHeader, read_header, tensor_blocks
from lora_pipeline.training.weights_fit import Fit, fit_of
from lora_pipeline.training.weights_keys import (
    AdaptedModule,
    KeyReading,
    pair_problem,
    read_keys,
)
from lora_pipeline.training.weights_metadata import leaking_keys
from lora_pipeline.training.weights_values import ValueScan

# Trained weights stay far below this; beyond it an image is noise in every program.
LARGEST_SANE = 1e5


@dataclass(frozen=True)
class WeightsProblem:
    """A reason not to use weights.

    Attributes:
        rule: Stable slug of the rule that is broken, such as ``not_finite``.
        message: What is wrong, naming the tensor.
    """

    rule: str
    message: str


@dataclass(frozen=True)
class WeightsReport:
    """What a weights file is.

    Attributes:
        path: The file.
        bytes: Its length.
        sha256: Digest of the whole file (its first 10 digits are AutoV2).
        tensor_sha256: Digest of the tensor data alone (its first 12 digits are AutoV3).
        family: Spelling of its keys: ``kohya``, ``peft``, ``diffusers`` or ``lycoris``.
        algorithm: ``lora``, ``lokr``, ``loha``, …
        architectures: The architectures that it may be for; empty when nothing is known.
        ranks: How many modules have which rank, most common first.
        alphas: The alphas that the file states, sorted; empty means the same as the rank.
        modules: The adapted modules.
        types: How many tensors have which type.
        values: How many numbers it holds.
        largest: Largest magnitude among them.
        metadata: Its free texts, never evidence of anything.
        leaks: Keys of metadata that tell captions, folders or settings of the studio.
        problems: Why it cannot be used; empty when it can.
        notes: What is unusual and no problem.
    """

    path: Path
    bytes: int
    sha256: str
    tensor_sha256: str
    family: str
    algorithm: str
    architectures: tuple[str, ...]
    ranks: Mapping[int, int]
    alphas: tuple[float, ...]
    modules: tuple[AdaptedModule, ...]
    types: Mapping[str, int]
    values: int
    largest: float
    metadata: Mapping[str, str]
    leaks: tuple[str, ...]
    problems: tuple[WeightsProblem, ...]
    notes: tuple[str, ...]

    @property
    def architecture(self) -> str:
        """The architecture, when names and sizes leave only one; else empty."""
        return self.architectures[0] if len(self.architectures) == 1 else ""

    @property
    def rank(self) -> int | None:
        """The rank of most modules."""
        return next(iter(self.ranks), None)

    @property
    def components(self) -> dict[str, int]:
        """How many modules are adapted in which part of the pipeline."""
        counted: dict[str, int] = {}
        for module in self.modules:
            part, _ = component_of(module.path)
            counted[part] = counted.get(part, 0) + 1
        return dict(sorted(counted.items()))


def inspect_weights(path: Path) -> WeightsReport:
    """Read a safetensors file and report what it is; broken values are problems, no errors.

    The data is read twice, once for each digest, in blocks of a few megabytes.

    Raises:
        FileMissingError: When it cannot be read.
        WeightsRefusedError: When it is no sound safetensors file.
    """
    header = read_header(path)
    keys = read_keys(header.tensors)
    scans, tensor_digest = _scan(path, header)
    types: dict[str, int] = {}
    for tensor in header.tensors:
        types[tensor.dtype] = types.get(tensor.dtype, 0) + 1
    return WeightsReport(
        path=path,
        bytes=path.stat().st_size,
        sha256=sha256_of_file(path),
        tensor_sha256=tensor_digest,
        family=keys.family,
        algorithm=keys.algorithm,
        architectures=possible_architectures(keys.modules),
        ranks=keys.ranks,
        alphas=_alphas(keys, scans, header.metadata),
        modules=keys.modules,
        types=types,
        values=sum(tensor.count for tensor in header.tensors),
        largest=max((scan.largest for scan in scans.values()), default=0.0),
        metadata=header.metadata,
        leaks=leaking_keys(header.metadata),
        problems=tuple(_problems(keys, scans)),
        notes=tuple(_notes(keys, header.metadata)),
    )


def require_usable(report: WeightsReport, checkpoint: CheckpointOnDisk | None = None) -> Fit | None:
    """Check that weights can become a release, and fit the checkpoint when one is given.

    Returns:
        How the modules fit, or None where only the architecture could be compared.

    Raises:
        WeightsRefusedError: Names the tensor or module and the rule that it breaks.
    """
    name = report.path.name
    if report.problems:
        first, *others = report.problems
        more = f" (and {len(others)} more)" if others else ""
        raise WeightsRefusedError(f"{name}: {first.message}{more}", hint=_hints(first.rule))
    if checkpoint is None:
        return None
    fit = fit_of(report.modules, checkpoint.path) if checkpoint.path.is_dir() else None
    if fit is None or fit.unread:
        _require_architecture(report, checkpoint)
    if fit is not None:
        _require_fit(name, fit, checkpoint)
    return fit


def _require_architecture(report: WeightsReport, checkpoint: CheckpointOnDisk) -> None:
    possible = report.architectures
    if possible and checkpoint.architecture and checkpoint.architecture not in possible:
        raise WeightsRefusedError(
            f"{report.path.name} is for {' or '.join(possible)}, the checkpoint "
            f"{checkpoint.checkpoint_id} is {checkpoint.architecture}",
            hint="register it for a LoRA of another checkpoint",
        )


def _require_fit(name: str, fit: Fit, checkpoint: CheckpointOnDisk) -> None:
    where = f"checkpoint {checkpoint.checkpoint_id}"
    total = fit.matched + len(fit.missing) + len(fit.wrong) + fit.unread
    if fit.missing:
        raise WeightsRefusedError(
            f"{name} does not fit {where}: {len(fit.missing)} of {total} modules are not in it, "
            f"the first is {fit.missing[0]}",
            hint="it was trained on another architecture",
        )
    if fit.wrong:
        raise WeightsRefusedError(
            f"{name} does not fit {where}: {len(fit.wrong)} of {total} modules have another "
            f"size: {fit.wrong[0]}",
            hint="it was trained on another architecture",
        )


def _scan(path: Path, header: WeightsHeader) -> tuple[dict[str, ValueScan], str]:
    scans = {tensor.name: ValueScan() for tensor in header.tensors}
    digest = hashlib.sha256()
    for tensor, block in tensor_blocks(path, header):
        digest.update(block)
        scans[tensor.name].add(block, tensor.dtype)
    return scans, digest.hexdigest()


def _problems(keys: KeyReading, scans: Mapping[str, ValueScan]) -> list[WeightsProblem]:
    if not keys.modules:
        return [WeightsProblem("no_lora", _what_instead(keys.foreign))]
    found = []
    if keys.foreign:
        found.append(
            WeightsProblem(
                "foreign_tensors",
                f"tensor {keys.foreign[0]} is no part of a LoRA ({len(keys.foreign)} such)",
            )
        )
    broken = [problem for module in keys.modules if (problem := pair_problem(module))]
    found += [WeightsProblem("pair_broken", message) for message in broken]
    for name, scan in scans.items():
        if scan.not_finite:
            found.append(
                WeightsProblem(
                    "not_finite", f"tensor {name} holds {scan.not_finite} NaN or infinite values"
                )
            )
        elif scan.largest > LARGEST_SANE:
            found.append(
                WeightsProblem("too_large", f"tensor {name} holds values up to {scan.largest:.3g}")
            )
    if _untrained(keys, scans):
        found.append(
            WeightsProblem("all_zero", "every up matrix is zero: nothing was trained into it")
        )
    return found


def _untrained(keys: KeyReading, scans: Mapping[str, ValueScan]) -> bool:
    """Return whether the LoRA changes nothing: of each pair one matrix is zero."""
    pairs = [module.parts for module in keys.modules if {"up", "down"} <= set(module.parts)]
    if not pairs:
        return all(scan.all_zero for scan in scans.values())
    return all(
        scans[parts["up"].name].all_zero or scans[parts["down"].name].all_zero for parts in pairs
    )


def _what_instead(names: Sequence[str]) -> str:
    starts = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "double_blocks.")
    if any(name.startswith(starts) for name in names) or len(names) > 200:
        return f"it is a whole model, no LoRA (its first tensor is {names[0]})"
    if any(name.endswith("emb_params") or name in {"clip_l", "clip_g"} for name in names):
        return f"it is a textual inversion, no LoRA (tensor {names[0]})"
    return f"it holds no LoRA tensors (its first tensor is {names[0]})"


def _alphas(
    keys: KeyReading, scans: Mapping[str, ValueScan], metadata: Mapping[str, str]
) -> tuple[float, ...]:
    stated = {
        float(scan.first)
        for module in keys.modules
        if "alpha" in module.parts
        and (scan := scans[module.parts["alpha"].name]).first is not None
        and not scan.not_finite
        and scan.first is not None
    }
    adapters = _adapter_metadata(metadata)
    stated |= {
        float(value)
        for key, value in adapters.items()
        if key.endswith("lora_alpha") and isinstance(value, int | float)
    }
    return tuple(sorted(stated))


def _adapter_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        document = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _notes(keys: KeyReading, metadata: Mapping[str, str]) -> list[str]:
    notes = []
    declared = metadata.get("ss_network_dim", "")
    ranks = keys.ranks
    if declared.isdigit() and ranks and int(declared) not in ranks:
        notes.append(f"metadata says rank {declared}, its tensors have {next(iter(ranks))}")
    families = {module.family for module in keys.modules if module.family}
    if len(families) > 1:
        notes.append(f"its keys are spelt in {len(families)} ways: {', '.join(sorted(families))}")
    return notes


def _hints(rule: str) -> str | None:
    return {
        "not_finite": "training diverged: lower the learning rate and train again",
        "all_zero": "train again: more steps, or a learning rate above zero",
        "no_lora": "name the LoRA's own safetensors file",
    }.get(rule)
