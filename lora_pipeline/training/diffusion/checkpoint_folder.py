"""Open a checkpoint on this machine as a diffusers pipeline, and decide what may be loaded.

A checkpoint is data from elsewhere, so nothing in it chooses code: pipelines come from a literal
list, components from diffusers, transformers or our own codec, weights from safetensors alone.
Nothing is fetched.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

PIPELINE_CLASSES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline")
"""The `_class_name`s of `model_index.json` that are opened."""

CODEC_CLASS = "PatchAutoencoder"
"""Name of our own codec in a checkpoint's `vae/config.json`."""

_CODEC_LIBRARY = "lora_pipeline.training.diffusion.patch_codec"
_LIBRARIES = frozenset({"diffusers", "transformers"})
# Nothing trains with these, and they would need packages that the extra does not bring.
_LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
_CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]{2,80}")
_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_MAX_JSON_BYTES = 1_000_000
# A tensor that only one kind of single-file checkpoint has, most specific first.
_SINGLE_FILE_MARKS = (
    ("double_blocks.0.img_attn.qkv.weight", "FluxPipeline"),
    ("conditioner.embedders.1.model.ln_final.weight", "StableDiffusionXLPipeline"),
    ("cond_stage_model.transformer.text_model.final_layer_norm.weight", "StableDiffusionPipeline"),
)


class CheckpointUnreadableError(Exception):
    """A checkpoint cannot be opened; the message says what stands in the way."""


class CheckpointFolder(msgspec.Struct, frozen=True):
    """What a diffusers folder says of itself, checked.

    Attributes:
        path: The folder.
        pipeline_class: One of `PIPELINE_CLASSES`.
        left_out: Components that it has and that are not loaded.
        own_codec: Whether its images are encoded by `PatchAutoencoder`.
        variant: `fp16` where weights exist in that variant only.
    """

    path: Path
    pipeline_class: str
    left_out: tuple[str, ...]
    own_codec: bool
    variant: str | None


def open_pipeline(
    path: Path, *, dtype: torch.dtype, device: torch.device | str, config: Path | None = None
) -> DiffusionPipeline:
    """Open a checkpoint folder or a single `.safetensors` file.

    Args:
        path: The folder with `model_index.json`, or the file.
        dtype: The type that weights are converted to.
        device: Where the pipeline is put.
        config: For a single file, a diffusers folder that describes its parts; without it, the
            descriptions must lie in this machine's Hugging Face cache.

    Raises:
        CheckpointUnreadableError: It is missing, of a kind that is not opened here, or damaged.
    """
    if path.is_dir():
        pipeline = _opened_folder(read_folder(path), dtype)
    elif path.is_file():
        pipeline = _opened_file(path, dtype, config)
    else:
        raise CheckpointUnreadableError(f"there is no checkpoint at {path}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def read_folder(path: Path) -> CheckpointFolder:
    """Check a checkpoint folder without loading any of it.

    Raises:
        CheckpointUnreadableError: It is not a folder of a kind that is opened here.
    """
    index = _json_object(path / "model_index.json")
    pipeline_class = index.get("_class_name")
    if pipeline_class not in PIPELINE_CLASSES:
        known = ", ".join(PIPELINE_CLASSES)
        raise CheckpointUnreadableError(
            f"{path}: pipeline {pipeline_class!r} is not one of {known}"
        )
    components = {name: part for name, part in index.items() if isinstance(part, list)}
    left_out = tuple(name for name in _LEFT_OUT if name in components)
    loaded = [
        name for name, part in components.items() if part[:1] != [None] and name not in left_out
    ]
    for name in loaded:
        _check_component(path, name, components[name])
    own_codec = (
        "vae" in loaded
        and _json_object(path / "vae" / "config.json").get("_class_name") == CODEC_CLASS
    )
    if own_codec != (components.get("vae") == [_CODEC_LIBRARY, CODEC_CLASS]):
        raise CheckpointUnreadableError(
            f"{path}: model_index.json and vae/config.json name different codecs"
        )
    return CheckpointFolder(path, str(pipeline_class), left_out, own_codec, _variant(path, loaded))


def _check_component(folder: Path, name: str, part: list[Any]) -> None:
    place = folder / name
    if place.parent != folder or not place.is_dir():
        raise CheckpointUnreadableError(
            f"{folder}: the folder of its component {name!r} is missing"
        )
    if name == "vae" and part == [_CODEC_LIBRARY, CODEC_CLASS]:
        known = True
    else:
        library, class_name = part if len(part) == 2 else (None, None)
        known = (
            library in _LIBRARIES
            and isinstance(class_name, str)
            and _CLASS_NAME.fullmatch(class_name) is not None
        )
    if not known:
        raise CheckpointUnreadableError(
            f"{folder}: component {name!r} asks for {part}, which is not loaded from a checkpoint"
        )
    suffixes = {file.suffix for file in place.iterdir()}
    if suffixes & _PICKLES and ".safetensors" not in suffixes:
        raise CheckpointUnreadableError(
            f"{place} has weights only as pickles, which can run code when they are read; "
            "convert them to safetensors"
        )


def _variant(folder: Path, components: list[str]) -> str | None:
    weights = [file.name for name in components for file in (folder / name).glob("*.safetensors")]
    return "fp16" if weights and all(".fp16" in name for name in weights) else None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CheckpointUnreadableError(f"{path} is larger than such a file can be")
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointUnreadableError(
            f"{path} is missing, so this is no diffusers checkpoint folder"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointUnreadableError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointUnreadableError(f"{path} is not a JSON object")
    return document


def _stay_offline() -> None:
    """Keep the libraries from the network.

    For a single file, diffusers fetches missing descriptions even when told to stay local.
    """
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep the libraries' bars and notes out of the log; what stops the loading is raised."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
    with warnings.catch_warnings():
        # diffusers renames torch_dtype to dtype; every version that we accept knows the old name.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            yield
        finally:
            diffusers_logging.set_verbosity(levels[0])
            transformers_logging.set_verbosity(levels[1])


def _opened_folder(folder: CheckpointFolder, dtype: torch.dtype) -> DiffusionPipeline:
    import diffusers

    from lora_pipeline.training.diffusion.patch_codec import PatchAutoencoder

    _stay_offline()
    options: dict[str, Any] = {
        "torch_dtype": dtype,
        "local_files_only": True,
        "use_safetensors": True,
    }
    parts: dict[str, Any] = dict.fromkeys(folder.left_out)
    if folder.pipeline_class == "StableDiffusionPipeline":
        parts["requires_safety_checker"] = False
    try:
        with _quiet_loading():
            if folder.own_codec:
                parts["vae"] = PatchAutoencoder.from_pretrained(folder.path / "vae", **options)
            pipeline_class = getattr(diffusers, folder.pipeline_class)
            return pipeline_class.from_pretrained(
                folder.path, variant=folder.variant, **options, **parts
            )
    except _load_errors() as error:
        raise CheckpointUnreadableError(
            f"{folder.path} cannot be loaded: {_first_line(error)}"
        ) from error


def _opened_file(path: Path, dtype: torch.dtype, config: Path | None) -> DiffusionPipeline:
    if path.suffix != ".safetensors":
        raise CheckpointUnreadableError(
            f"{path} is not a .safetensors file; pickled checkpoints are not opened"
        )
    class_name = single_file_class(path)
    options: dict[str, Any] = {"torch_dtype": dtype, "local_files_only": True}
    if config is not None:
        options["config"] = str(read_folder(config).path)
    import diffusers

    _stay_offline()
    try:
        with _quiet_loading():
            if class_name == "FluxPipeline":
                return _opened_flux_file(path, dtype, config)
            return getattr(diffusers, class_name).from_single_file(str(path), **options)
    except _load_errors() as error:
        reason = f"{path} cannot be loaded: {_first_line(error)}"
        if config is None:
            reason += (
                "; a single file needs a diffusers folder that describes its parts: "
                "name one, or convert the file"
            )
        raise CheckpointUnreadableError(reason) from error


def _opened_flux_file(path: Path, dtype: torch.dtype, config: Path | None) -> DiffusionPipeline:
    """Open a file of FLUX: it holds the transformer alone, all else comes from a folder."""
    import diffusers

    if config is None:
        raise CheckpointUnreadableError(
            f"{path} holds the transformer of FLUX alone: name a diffusers folder with its text "
            "encoders and its autoencoder"
        )
    folder = read_folder(config)
    options: dict[str, Any] = {"torch_dtype": dtype, "local_files_only": True}
    transformer = diffusers.FluxTransformer2DModel.from_single_file(
        str(path), config=str(config), subfolder="transformer", **options
    )
    return diffusers.FluxPipeline.from_pretrained(
        config, transformer=transformer, variant=folder.variant, use_safetensors=True, **options
    )


def single_file_class(path: Path) -> str:
    """Return the pipeline class for a single file, judged by the names of its tensors.

    Raises:
        CheckpointUnreadableError: It is damaged, or of a kind that is not opened here.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            names = {name.removeprefix("model.diffusion_model.") for name in tensors.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointUnreadableError(f"{path} cannot be read: {error}") from error
    for mark, pipeline_class in _SINGLE_FILE_MARKS:
        if mark in names:
            return pipeline_class
    raise CheckpointUnreadableError(
        f"{path} is not a whole SD 1.5, SDXL or FLUX checkpoint, judged by its tensor names"
    )


def _load_errors() -> tuple[type[Exception], ...]:
    from safetensors import SafetensorError

    # What diffusers, transformers and torch were seen to raise for damaged or foreign files.
    return (
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        ImportError,
        SafetensorError,
    )


def _first_line(error: Exception) -> str:
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
