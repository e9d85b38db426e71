"""Which of mflux's programs draws with a base model, and with what arguments: pure.

Written for mflux 0.16 to 0.24. A prompt goes by file, because a text that begins with ``--`` would
be read as an option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.evaluation.renderers.interface import CellRequest, RenderSource, Strengths
from lora_pipeline.foundation.errors import PipelineError, RendererError
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.trainers.mflux.models import choose_model

PROMPT_FILE, PICTURE = "prompt.txt", "cell.png"
_PROGRAMS: Mapping[str, str] = {
    "dev": "mflux-generate", "schnell": "mflux-generate", "krea-dev": "mflux-generate",
    "z-image": "mflux-generate-z-image", "z-image-turbo": "mflux-generate-z-image-turbo",
    "flux2-klein-4b": "mflux-generate-flux2", "flux2-klein-9b": "mflux-generate-flux2",
    "flux2-klein-base-4b": "mflux-generate-flux2", "flux2-klein-base-9b": "mflux-generate-flux2",
    "ernie-image": "mflux-generate-ernie-image",
    "ernie-image-turbo": "mflux-generate-ernie-image-turbo",
    "krea-2": "mflux-generate-krea2", "krea-2-raw": "mflux-generate-krea2",
    "qwen-image": "mflux-generate-qwen",
}  # fmt: skip
# These know no negative prompt, and would take it without a word.
_NO_NEGATIVE = ("flux1", "flux2")
_FLUX1 = (("schnell", "schnell"), ("krea", "krea-dev"), ("dev", "dev"))
_SIDE = 16
# Since this version a LoRA and its scale are one argument.
_ONE_ARGUMENT = (0, 19)
_APPLIED = re.compile(r"Applied to (\d+) \w+ \((\d+)/(\d+) keys matched\)")
_WRONG = re.compile(r"LoRA file not found|Failed to load LoRA|Missing required LoRA matrices")
_ENOUGH = 0.98


class MfluxModel(msgspec.Struct, frozen=True):
    """A base model as mflux takes it.

    Attributes:
        alias: mflux's name of it.
        program: The program that draws with it.
        path: Its folder.
        architecture: Our name of the family.
        quantize: Bits per weight, or 0.
        version: Version of mflux.
    """

    alias: str
    program: str
    path: Path
    architecture: str
    quantize: int
    version: tuple[int, ...]

    def arguments(
        self, cell: CellRequest, loras: Sequence[Path], strengths: Strengths
    ) -> list[str]:
        """Return the arguments that draw a cell in the folder where it is run.

        Raises:
            RendererError: When mflux cannot draw it.
        """
        if cell.sampler != "default":
            raise RendererError(f"sampler {cell.sampler!r} does not go with mflux")
        if cell.negative and self.architecture in _NO_NEGATIVE:
            raise RendererError(f"{self.alias} takes no negative prompt; leave it out")
        if cell.width % _SIDE or cell.height % _SIDE:
            raise RendererError(
                f"{cell.width} x {cell.height} does not go with mflux: multiples of {_SIDE} do"
            )
        arguments = [
            "--model", str(self.path), "--base-model", self.alias, "--prompt-file", PROMPT_FILE,
            "--seed", str(cell.seed), "--steps", str(cell.steps),
            "--guidance", f"{cell.guidance:g}", "--width", str(cell.width),
            "--height", str(cell.height), "--output", PICTURE,
        ]  # fmt: skip
        if cell.negative:
            arguments.append(f"--negative-prompt={cell.negative}")
        if self.quantize:
            arguments += ["--quantize", str(self.quantize)]
        if strengths:
            paths, scales = [str(one) for one in loras], [f"{one:g}" for one in strengths]
            if self.version >= _ONE_ARGUMENT:
                for path, scale in zip(paths, scales, strict=True):
                    arguments += ["--lora", path, scale]
            else:
                arguments += ["--lora-paths", *paths, "--lora-scales", *scales]
        return arguments


def chosen_model(
    source: RenderSource, named: str | None, *, quantize: int, version: tuple[int, ...]
) -> MfluxModel:
    """Return the base model as mflux takes it.

    Raises:
        RendererError: When mflux does not draw with it, or nothing says which model it is.
    """
    if not source.checkpoint_path.is_dir():
        raise RendererError(
            f"mflux reads a diffusers folder, and {source.checkpoint_path.name} is a single file"
        )
    alias = named or _alias(source)
    if alias not in _PROGRAMS:
        raise RendererError(
            f"mflux has no model {alias!r}", hint=f"there are {', '.join(_PROGRAMS)}"
        )
    return MfluxModel(
        alias, _PROGRAMS[alias], source.checkpoint_path, source.architecture, quantize, version
    )


def _alias(source: RenderSource) -> str:
    name = f"{source.checkpoint_id} {source.checkpoint_path.name}".lower()
    if source.architecture == "flux1":
        words = frozenset(re.split(r"[^a-z0-9]+", name))
        for word, alias in _FLUX1:
            if word in words:
                return alias
        raise RendererError(
            f"nothing says which FLUX.1 checkpoint {source.checkpoint_id} is",
            hint="set renderers.mflux.model to dev, schnell or krea-dev",
        )
    if source.architecture == "qwen_image":
        return "qwen-image"
    base = CheckpointOnDisk(source.checkpoint_id, source.architecture, source.checkpoint_path, "")
    try:
        return choose_model(base, None).model.alias
    except PipelineError as error:
        raise RendererError(
            f"mflux: {error.message}", hint="set renderers.mflux.model to mflux's name of it"
        ) from error


def require_applied(lines: Sequence[str], loras: int) -> str:
    """Check that mflux says to have applied all of each LoRA, and return its words.

    Raises:
        RendererError: When it does not; its exit status does not tell.
    """
    for line in lines:
        if _WRONG.search(line):
            raise RendererError(f"mflux left the LoRA out: {line.strip()[:200]}")
    found = [match for line in lines if (match := _APPLIED.search(line))]
    if len(found) < loras:
        count = f" {loras} times, as it did {len(found)}" if found else ""
        raise RendererError(f"mflux does not say{count} that it applied the LoRA")
    for match in found[-loras:]:
        layers, matched, total = (int(group) for group in match.groups())
        if not layers or not total or matched < total * _ENOUGH:
            raise RendererError(f"mflux applied only {matched} of the LoRA's {total} tensors")
    return "; ".join(match[0] for match in found[-loras:])
