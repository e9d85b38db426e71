"""Whether LoRA weights fit a checkpoint: every module that they adapt is there and of that size.

A diffusers folder is compared module by module, from the headers of its files alone. A single
file has names of another spelling, of which those of SD 1.5, SDXL and FLUX.1 are known: what is
found must be of that size, and what is not found by name is left unread, not called missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.catalog.mlx_folder import read_mlx_folder
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.training.weights.architecture import component_of
from lora_pipeline.training.weights.file import read_header
from lora_pipeline.training.weights.keys import AdaptedModule

Shape = tuple[int, ...]
_FOLDERS = {
    "denoiser": ("unet", "transformer"),
    "text_encoder": ("text_encoder",),
    "text_encoder_2": ("text_encoder_2",),
    "text_encoder_3": ("text_encoder_3",),
}
# Where the parts of a single file begin; the last is a file that holds a FLUX transformer alone.
_STARTS = (
    ("denoiser", "model.diffusion_model."),
    ("text_encoder", "cond_stage_model.transformer."),
    ("text_encoder", "conditioner.embedders.0.transformer."),
    ("denoiser", ""),
)
_SGM = re.compile(r"^(input_blocks|output_blocks|middle_block)_(\d+)_(?:(\d+)_)?(.+)$")
_ORIGINAL = re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|joint_blocks|layers)[._]\d")
_SGM_RESNET = {
    "in_layers_2": "conv1", "out_layers_3": "conv2", "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}  # fmt: skip


class Fit(msgspec.Struct, frozen=True):
    """How weights fit a checkpoint.

    Attributes:
        matched: How many modules are there and of that size.
        missing: Modules that the checkpoint does not have.
        wrong: Modules of another size, each with both sizes in words.
        unread: How many modules are named in a spelling that cannot be compared.
    """

    matched: int
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    unread: int

    @property
    def proven(self) -> bool:
        """Whether every module was found and fits."""
        return not (self.missing or self.wrong or self.unread)


def fit_of(modules: Sequence[AdaptedModule], folder: Path) -> Fit | None:
    """Compare modules with a diffusers folder; None when the folder cannot be compared.

    One of mflux cannot: its names are others, and what is quantised is packed.
    """
    if read_mlx_folder(folder) is not None:
        return None
    there = {part: _checkpoint_modules(folder, names) for part, names in _FOLDERS.items()}
    if not there["denoiser"]:
        return None
    flat = {
        part: {_flat(path): shape for path, shape in shapes.items()}
        for part, shapes in there.items()
    }
    matched, unread = 0, 0
    missing, wrong = [], []
    for module in modules:
        part, name = component_of(module.path)
        shape = _look_up(name, flat[part])
        if shape is None and _fused(part, name):
            unread += 1
        elif shape is None:
            missing.append(module.path)
        elif (problem := _size_problem(module, shape)) is not None:
            wrong.append(problem)
        else:
            matched += 1
    return Fit(matched, tuple(missing), tuple(wrong), unread)


def fit_of_file(modules: Sequence[AdaptedModule], path: Path) -> Fit | None:
    """Compare modules with a single file; None when it cannot be compared.

    Only when no module at all is found are they missing: the names of a part may be unknown here.
    """
    try:
        header = read_header(path)
    except PipelineError:
        return None
    flat: dict[str, dict[str, Shape]] = {"denoiser": {}, "text_encoder": {}}
    for tensor in header.tensors:
        for part, start in _STARTS:
            if tensor.name.startswith(start) and tensor.name.endswith(".weight"):
                name = _flat(tensor.name.removeprefix(start).removesuffix(".weight"))
                # LoRAs exist in both spellings.
                flat[part] |= {name: tensor.shape, _from_sgm(name): tensor.shape}
                break
    if not flat["denoiser"]:
        return None
    matched, unread, wrong = 0, list[str](), list[str]()
    for module in modules:
        part, name = component_of(module.path)
        shape = _look_up(name, flat.get(part, {}))
        if shape is None:
            unread.append(module.path)
        elif (problem := _size_problem(module, shape)) is not None:
            wrong.append(problem)
        else:
            matched += 1
    if not matched and not wrong:
        return Fit(0, tuple(unread), (), 0)
    return Fit(matched, (), tuple(wrong), len(unread))


def _checkpoint_modules(folder: Path, names: Sequence[str]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for name in names:
        for path in sorted((folder / name).glob("*.safetensors")):
            try:
                header = read_header(path)
            except PipelineError:
                continue  # a part that cannot be read proves nothing; its modules are missing
            for tensor in header.tensors:
                if tensor.name.endswith(".weight"):
                    shapes[tensor.name.removesuffix(".weight")] = tensor.shape
    return shapes


def _flat(path: str) -> str:
    # Text encoders are saved with and without this prefix, as versions of transformers change.
    return path.removeprefix("text_model.").replace(".", "_")


def _look_up(name: str, flat: Mapping[str, Shape]) -> Shape | None:
    wanted = name.replace(".", "_").removeprefix("text_model_")
    if wanted in flat:
        return flat[wanted]
    # diffusers once named attention after its processor, without the number of the output.
    older = wanted.replace("_processor_to_", "_to_")
    older = f"{older}_0" if older.endswith("to_out") else older
    return flat.get(older) or flat.get(_from_sgm(wanted))


def _fused(part: str, name: str) -> bool:
    # The original spelling of FLUX and other transformers, where query, key and value are one.
    return part == "denoiser" and bool(_ORIGINAL.search(name))


def _size_problem(module: AdaptedModule, shape: Shape) -> str | None:
    sizes = module.sizes
    if sizes is None or len(shape) < 2:
        return None
    if (shape[1], shape[0]) == sizes:
        return None
    return (
        f"{module.path} is for a module of {sizes[0]} inputs and {sizes[1]} outputs, "
        f"the checkpoint's has {shape[1]} and {shape[0]}"
    )


def _from_sgm(name: str) -> str:
    """Return the diffusers name of a module in the spelling of SDXL's own repository."""
    match = _SGM.match(name)
    if not match:
        return name
    block, first, second, rest = match.groups()
    number, inner = int(first), int(second or 0)
    if block == "middle_block":
        kinds = ("mid_block_resnets_0", "mid_block_attentions_0", "mid_block_resnets_1")
        # Here the first number is the place in the block, and what follows belongs to it.
        return f"{kinds[min(number, 2)]}_{_sgm_inner(f'{second}_{rest}' if second else rest)}"
    if block == "input_blocks":
        level, place = divmod(number - 1, 3)
        if rest == "op":
            return f"down_blocks_{level}_downsamplers_0_conv"
        side = "down_blocks"
    else:
        level, place = divmod(number, 3)
        if rest == "conv":
            return f"up_blocks_{level}_upsamplers_0_conv"
        side = "up_blocks"
    kind = "attentions" if inner == 1 else "resnets"
    return f"{side}_{level}_{kind}_{place}_{_sgm_inner(rest)}"


def _sgm_inner(rest: str) -> str:
    return _SGM_RESNET.get(rest, rest)
