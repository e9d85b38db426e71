"""The LoRA as another program is given it: checked before, and under a name that is its digest.

Programs keep what they loaded by its name. So a name stands for the same bytes for ever: it is
made of their digest, an existing file is compared, and nothing is ever written over.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from lora_pipeline.evaluation.renderers.interface import LoraFile, RenderSource
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import PipelineError, RendererError
from lora_pipeline.foundation.files import copy_atomic
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.weights.fit import Fit, fit_of_file
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights, require_usable

_DIGITS = 16


class CheckedLora(msgspec.Struct, frozen=True):
    """A LoRA whose tensors were read.

    Attributes:
        path: The file.
        sha256: Digest of it.
        report: What it is.
        proof: How far its keys were compared with the base model, in words.
    """

    path: Path
    sha256: str
    report: WeightsReport
    proof: str

    @property
    def stem(self) -> str:
        """Its name for other programs, without the ending."""
        return f"lora-eval-{self.sha256[:_DIGITS]}"

    @property
    def name(self) -> str:
        """Its file name for other programs."""
        return f"{self.stem}.safetensors"

    @property
    def changes_text_encoders(self) -> bool:
        """Whether a part of it is for text encoders."""
        return any(part.startswith("text_encoder") for part in self.report.components)

    @property
    def keys(self) -> frozenset[str]:
        """Names of its modules, as its own spelling has them."""
        return frozenset(module.path for module in self.report.modules)


def checked_loras(source: RenderSource) -> tuple[CheckedLora, ...]:
    """Read the LoRAs and compare each with the base, before anything is drawn.

    Raises:
        RendererError: When one is no LoRA, is broken, would change nothing, or does not fit, or
            when two are the same file: programs know them by name, and would use it once.
    """
    if len({lora.sha256 for lora in source.loras}) < len(source.loras):
        raise RendererError("two of the LoRAs that go together have the same weights")
    return tuple(_checked(lora, source) for lora in source.loras)


def _checked(lora: LoraFile, source: RenderSource) -> CheckedLora:
    try:
        report = inspect_weights(lora.path)
        base = CheckpointOnDisk(
            source.checkpoint_id or "the base", source.architecture, source.checkpoint_path, ""
        )
        fit = require_usable(report, base) or _fit_of_file(report, source)
    except PipelineError as error:
        raise RendererError(error.message, hint=error.hint) from error
    if report.sha256 != lora.sha256:
        raise RendererError(
            f"the weights are sha256 {report.sha256[:12]}…, expected "
            f"{lora.sha256[:12]}…: the file was changed a moment ago"
        )
    return CheckedLora(lora.path, lora.sha256, report, _proof(report, fit))


def _fit_of_file(report: WeightsReport, source: RenderSource) -> Fit | None:
    """Compare with a base that is a single file on this machine.

    Raises:
        RendererError: When a module has another size there, or none of them is there.
    """
    path = source.checkpoint_path
    fit = fit_of_file(report.modules, path) if path.is_file() else None
    if fit is None:
        return None
    where = f"checkpoint {source.checkpoint_id or path.name}"
    if fit.wrong:
        raise RendererError(f"the LoRA does not fit {where}: {fit.wrong[0]}")
    if fit.missing:
        raise RendererError(
            f"the LoRA does not fit {where}: none of its {len(fit.missing)} modules is in it, the "
            f"first is {fit.missing[0]}"
        )
    return fit


def _proof(report: WeightsReport, fit: Fit | None) -> str:
    count = len(report.modules)
    if fit is None:
        return (
            f"{count} modules, for {' or '.join(report.architectures) or 'no known architecture'}"
        )
    if fit.proven:
        return f"all {count} modules are in the base, each of its size"
    return f"{fit.matched} of {count} modules are in the base, each of its size"


def place_lora(lora: CheckedLora, folder: Path) -> Path:
    """Put a LoRA into a folder that another program reads, and return where.

    It is left there: the name is its digest, so it can be used again and never be mistaken.

    Raises:
        RendererError: When the folder is not there, or another file bears the name.
    """
    if not folder.is_dir():
        raise RendererError(f"{folder} is no folder, the LoRA cannot be put there")
    target = folder / lora.name
    if target.exists():
        if sha256_of_file(target) != lora.sha256:
            raise RendererError(
                f"{target} is there with other bytes than its name says", hint=f"remove {target}"
            )
        return target
    copy_atomic(lora.path, target)
    if sha256_of_file(target) != lora.sha256:
        target.unlink(missing_ok=True)
        raise RendererError(f"{target} did not get the bytes that were copied")
    return target
