"""The checks on weights: each is a finding with a stable code.

Pure. An ``error`` keeps weights out of a release; a ``warning`` is what its maker should know;
``info`` is what is unusual and fine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.training.weights.declared import Declared
from lora_pipeline.training.weights.keys import AdaptedModule, KeyReading, pair_problem
from lora_pipeline.training.weights.values import ValueScan

# Trained weights stay far below these; beyond them an image is noise in every program.
LARGEST_SANE = 1e5
LARGEST_SANE_NORM = 1e6
_FIXES = {
    "not_finite": "training diverged: lower the learning rate and train again",
    "all_zero": "train again: more steps, or a learning rate above zero",
    "no_lora": "name the LoRA's own safetensors file",
    "whole_model": "name the LoRA's own safetensors file, or lora checkpoint add for a base model",
    "textual_inversion": "name the LoRA's own safetensors file",
    "pair_broken": "save the LoRA again with the program that made it",
    "foreign_tensors": "save the LoRA alone, without what does not belong to it",
    "too_large": "training diverged: lower the learning rate and train again",
    "alpha_invalid": "save the LoRA again with an alpha that is a number",
    "metadata_leaks": "lora weights scrub",
}
Scans = Mapping[str, ValueScan]


def check_weights(
    keys: KeyReading,
    scans: Scans,
    declared: Declared,
    *,
    architectures: Sequence[str],
    alphas: Sequence[float],
    tensor_sha256: str,
    leaks: Sequence[str],
) -> list[Finding]:
    """Return everything that is to be said of weights, what keeps them out first."""
    if not keys.modules:
        return [_what_instead(keys.foreign)]
    found = [*_key_findings(keys), *_value_findings(keys, scans), *_zero_findings(keys, scans)]
    found += _claim_findings(keys, declared, architectures, alphas, tensor_sha256)
    if leaks:
        shown = ", ".join(leaks[:3]) + (f" and {len(leaks) - 3} more" if len(leaks) > 3 else "")
        words = f"its header tells what a studio keeps to itself: {shown}"
        found.append(_finding("metadata_leaks", "warning", "header", words))
    ranks = {"error": 0, "warning": 1}
    return sorted(found, key=lambda one: ranks.get(one.severity, 2))


def _finding(code: str, severity: Severity, where: str, message: str) -> Finding:
    return Finding(code, severity, where, message, _FIXES.get(code, ""))


def _key_findings(keys: KeyReading) -> Iterator[Finding]:
    if keys.foreign:
        words = f"tensor {keys.foreign[0]} is no part of a LoRA ({len(keys.foreign)} such)"
        yield _finding("foreign_tensors", "error", keys.foreign[0], words)
    for module in keys.modules:
        problem = pair_problem(module)
        if problem:
            yield _finding("pair_broken", "error", module.path, problem)
    families = sorted({module.family for module in keys.modules if module.family})
    if len(families) > 1:
        words = f"its keys are spelt in {len(families)} ways: {', '.join(families)}"
        yield _finding("mixed_spelling", "warning", "", words)
    if len(keys.algorithms) > 1:
        words = ", ".join(f"{count} {name}" for name, count in keys.algorithms.items())
        yield _finding("mixed_algorithms", "info", "", f"its modules are of several kinds: {words}")
    if len(keys.ranks) > 1:
        words = ", ".join(f"{rank} ({count})" for rank, count in keys.ranks.items())
        yield _finding("mixed_ranks", "info", "", f"its modules have several ranks: {words}")


def _value_findings(keys: KeyReading, scans: Scans) -> Iterator[Finding]:
    alphas = {
        module.parts["alpha"].name: module for module in keys.modules if "alpha" in module.parts
    }
    for name, scan in scans.items():
        if scan.not_finite and name in alphas:
            words = f"tensor {name}: alpha is no number, so nobody knows the scale"
            yield _finding("alpha_invalid", "error", name, words)
        elif scan.not_finite:
            words = f"tensor {name} holds {scan.not_finite} NaN or infinite values"
            yield _finding("not_finite", "error", name, words)
        elif scan.largest > LARGEST_SANE:
            words = f"tensor {name} holds values up to {scan.largest:.3g}"
            yield _finding("too_large", "error", name, words)
        elif scan.norm > LARGEST_SANE_NORM:
            words = f"tensor {name} has a norm of {scan.norm:.3g}"
            yield _finding("too_large", "error", name, words)
        elif name in alphas and scan.first is not None and scan.first <= 0:
            words = f"tensor {name}: alpha is {scan.first:g}, which turns the module off or round"
            yield _finding("alpha_unusual", "warning", name, words)


def _zero_findings(keys: KeyReading, scans: Scans) -> Iterator[Finding]:
    idle = [module for module in keys.modules if _changes_nothing(module, scans)]
    if not idle:
        return
    if len(idle) == len(keys.modules):
        paired = all("up" in module.parts for module in idle)
        what = "every up matrix is zero" if paired else "every product of its tensors is zero"
        words = f"{what}: nothing was trained into it"
        yield _finding("all_zero", "error", "", words)
        return
    words = f"{len(idle)} of {len(keys.modules)} modules change nothing, the first is "
    yield _finding("modules_zero", "info", idle[0].path, words + idle[0].path)


def _changes_nothing(module: AdaptedModule, scans: Scans) -> bool:
    groups = module.factors
    if not groups:
        return False
    return all(any(scans[module.parts[one].name].all_zero for one in group) for group in groups)


def _claim_findings(
    keys: KeyReading,
    declared: Declared,
    architectures: Sequence[str],
    alphas: Sequence[float],
    tensor_sha256: str,
) -> Iterator[Finding]:
    ranks = keys.ranks
    if declared.rank and ranks and declared.rank not in ranks:
        words = f"metadata says rank {declared.rank}, its tensors have {next(iter(ranks))}"
        yield _finding("rank_differs", "warning", "header", words)
    if declared.alpha is not None and alphas and declared.alpha not in alphas:
        words = f"metadata says alpha {declared.alpha:g}, its tensors have {alphas[0]:g}"
        yield _finding("alpha_differs", "warning", "header", words)
    named = declared.architecture
    if named and architectures and named not in architectures:
        words = f"metadata says {declared.base}, its tensors are for {' or '.join(architectures)}"
        yield _finding("architecture_differs", "warning", "header", words)
    if declared.tensor_sha256 and declared.tensor_sha256 != tensor_sha256:
        words = (
            f"metadata names tensors {declared.tensor_sha256[:12]}, these are "
            f"{tensor_sha256[:12]}: the weights were changed, or the header is another file's"
        )
        yield _finding("tensor_digest_differs", "warning", "header", words)


def _what_instead(names: Sequence[str]) -> Finding:
    first = names[0] if names else ""
    starts = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "double_blocks.")
    if any(name.startswith(starts) for name in names) or len(names) > 200:
        words = f"it is a whole model, no LoRA (its first tensor is {first})"
        return _finding("whole_model", "error", first, words)
    if any(name.endswith("emb_params") or name in {"clip_l", "clip_g"} for name in names):
        words = f"it is a textual inversion, no LoRA (tensor {first})"
        return _finding("textual_inversion", "error", first, words)
    words = f"it holds no LoRA tensors (its first tensor is {first})"
    return _finding("no_lora", "error", first, words)
