"""Look into LoRA weights: what they are, what they are for, and whether they can be used.

``inspect_weights`` reads a file once, whoever made it, and reports; ``require_usable`` refuses
what a release must not hold. Names, metadata and exit codes prove nothing; bytes do.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from lora_pipeline.foundation.errors import FileMissingError, WeightsRefusedError
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.weights.architecture import component_of, possible_architectures
from lora_pipeline.training.weights.blocks import kind_of
from lora_pipeline.training.weights.declared import Declared, adapter_settings, declared_by
from lora_pipeline.training.weights.file import WeightsHeader, blocks_of, read_header
from lora_pipeline.training.weights.findings import check_weights
from lora_pipeline.training.weights.fit import Fit, fit_of
from lora_pipeline.training.weights.keys import AdaptedModule, KeyReading, read_keys
from lora_pipeline.training.weights.metadata import leaking_keys
from lora_pipeline.training.weights.values import ValueScan

_LEGACY_START, _LEGACY_BYTES = 0x100000, 0x10000


class WeightsReport(msgspec.Struct, frozen=True):
    """What a weights file is.

    Attributes:
        path: The file.
        bytes: Its length.
        header: Its header.
        sha256: Digest of the whole file (its first 10 digits are AutoV2).
        tensor_sha256: Digest of the tensor data alone (its first 12 digits are AutoV3).
        legacy_hash: The oldest digest in use, of 64 KiB from the second MiB on: 8 digits that
            many files share. Shown because old image files name it (AutoV1).
        family: Spelling of its keys: ``kohya``, ``peft``, ``diffusers`` or ``lycoris``.
        algorithms: How many modules are ``lora``, ``lokr``, ``loha``, …, most common first.
        architectures: The architectures that it may be for; empty when nothing is known.
        ranks: How many modules have which rank, most common first.
        alphas: The alphas that the file states, sorted; empty means the same as the rank.
        modules: The adapted modules.
        types: How many tensors have which type.
        values: How many numbers it holds.
        largest: Largest magnitude among them.
        declared: What its header claims, never evidence of anything.
        leaks: Keys of metadata that tell captions, folders or settings of the studio.
        findings: Everything that the checks noticed.
    """

    path: Path
    bytes: int
    header: WeightsHeader
    sha256: str
    tensor_sha256: str
    legacy_hash: str
    family: str
    algorithms: Mapping[str, int]
    architectures: tuple[str, ...]
    ranks: Mapping[int, int]
    alphas: tuple[float, ...]
    modules: tuple[AdaptedModule, ...]
    types: Mapping[str, int]
    values: int
    largest: float
    declared: Declared
    leaks: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The free texts of its header."""
        return self.header.metadata

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Why it cannot be used; empty when it can."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def notes(self) -> tuple[str, ...]:
        """What its maker should know; none of it keeps the weights out of a release."""
        return tuple(one.message for one in self.findings if one.severity == "warning")

    @property
    def algorithm(self) -> str:
        """The algorithm of most modules."""
        return next(iter(self.algorithms), "")

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
        return _counted(component_of(module.path)[0] for module in self.modules)

    @property
    def kinds(self) -> dict[str, int]:
        """How many modules are of which kind of layer."""
        return _counted(kind_of(module.path) for module in self.modules)


def inspect_weights(path: Path) -> WeightsReport:
    """Read a safetensors file and report what it is; broken values are findings, no errors.

    The file is read once, in blocks of a few megabytes.

    Raises:
        FileMissingError: When it cannot be read.
        WeightsRefusedError: When it is no sound safetensors file, or changed while it was read.
    """
    before = _stamp(path)
    header = read_header(path)
    keys = read_keys(header.tensors)
    reading = _read_whole(path, header)
    if _stamp(path) != before:
        raise WeightsRefusedError(
            f"{path.name} changed while it was read",
            rule="file_changed",
            hint="wait until nothing writes it any more",
        )
    types: dict[str, int] = {}
    for tensor in header.tensors:
        types[tensor.dtype] = types.get(tensor.dtype, 0) + 1
    architectures = possible_architectures(keys.modules)
    alphas = _alphas(keys, reading.scans, header.metadata)
    declared, leaks = declared_by(header.metadata), leaking_keys(header.metadata)
    return WeightsReport(
        path=path,
        bytes=before[1],
        header=header,
        sha256=reading.sha256,
        tensor_sha256=reading.tensor_sha256,
        legacy_hash=reading.legacy_hash,
        family=keys.family,
        algorithms=keys.algorithms,
        architectures=architectures,
        ranks=keys.ranks,
        alphas=alphas,
        modules=keys.modules,
        types=types,
        values=sum(tensor.count for tensor in header.tensors),
        largest=max((scan.largest for scan in reading.scans.values()), default=0.0),
        declared=declared,
        leaks=leaks,
        findings=tuple(
            check_weights(
                keys,
                reading.scans,
                declared,
                architectures=architectures,
                alphas=alphas,
                tensor_sha256=reading.tensor_sha256,
                leaks=leaks,
            )
        ),
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
        raise WeightsRefusedError(
            f"{name}: {first.message}{more}", rule=first.code, hint=first.fix or None
        )
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
            rule="wrong_architecture",
            hint="register it for a LoRA of another checkpoint",
        )


def _require_fit(name: str, fit: Fit, checkpoint: CheckpointOnDisk) -> None:
    where = f"checkpoint {checkpoint.checkpoint_id}"
    total = fit.matched + len(fit.missing) + len(fit.wrong) + fit.unread
    if fit.missing:
        raise WeightsRefusedError(
            f"{name} does not fit {where}: {len(fit.missing)} of {total} modules are not in it, "
            f"the first is {fit.missing[0]}",
            rule="modules_missing",
            hint="it was trained on another architecture",
        )
    if fit.wrong:
        raise WeightsRefusedError(
            f"{name} does not fit {where}: {len(fit.wrong)} of {total} modules have another "
            f"size: {fit.wrong[0]}",
            rule="modules_resized",
            hint="it was trained on another architecture",
        )


class _Reading(msgspec.Struct, frozen=True):
    scans: Mapping[str, ValueScan]
    sha256: str
    tensor_sha256: str
    legacy_hash: str


def _read_whole(path: Path, header: WeightsHeader) -> _Reading:
    """Read every byte once, for all digests and the look at every value."""
    scans = {tensor.name: ValueScan() for tensor in header.tensors}
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    try:
        with path.open("rb") as stream:
            whole.update(stream.read(header.data_start))
            for tensor, block in blocks_of(stream, header):
                whole.update(block)
                tensors.update(block)
                scans[tensor.name].add(block, tensor.dtype)
            stream.seek(_LEGACY_START)
            legacy = hashlib.sha256(stream.read(_LEGACY_BYTES))
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    return _Reading(scans, whole.hexdigest(), tensors.hexdigest(), legacy.hexdigest()[:8])


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)  # reading it says why
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


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
    stated |= {
        float(value)
        for key, value in adapter_settings(metadata).items()
        if key.endswith("lora_alpha") and isinstance(value, int | float)
    }
    return tuple(sorted(stated))


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
