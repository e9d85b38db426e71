"""Draw cells with diffusers, and prove that the LoRAs are what makes the difference.

Runs in the child only. No loader is believed: it warns where a LoRA does not fit and draws the
base, so warnings are errors here, tensors are counted, and the base is compared to the pixel.
"""

from __future__ import annotations

import inspect
import io
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import diffusers
import numpy as np
import peft
import torch
import transformers
from PIL import Image

from lora_pipeline.evaluation.renderers.diffusers.adapter import adapter_name, apply_lora
from lora_pipeline.evaluation.renderers.refusal import DrawingRefusedError
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.files import write_atomic
from lora_pipeline.training.diffusion.checkpoint_folder import open_pipeline
from lora_pipeline.training.diffusion.devices import fastest_device

# Changes when this module draws other pixels from the same request.
_REVISION = 1
_PROBE_STEPS = 2
_PROBE_SIDE = 256
_SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


class Drawing:
    """A pipeline with the LoRAs in it.

    Args:
        pipeline: The diffusers pipeline.
        adapters: Names of the LoRAs in it, in the order in which they are applied.
        identity: What draws, and on what, as the record holds it.
    """

    def __init__(self, pipeline: Any, adapters: Sequence[str], identity: dict[str, Any]) -> None:
        self._pipeline = pipeline
        self._adapters = list(adapters)
        self._own_scheduler = pipeline.scheduler
        self.identity = identity

    @classmethod
    def load(
        cls,
        *,
        checkpoint: Path,
        config: Path | None,
        architecture: str,
        weights: Sequence[Path],
        device: str,
        threads: int,
    ) -> Self:
        """Load base and LoRAs, and prove that these are in use and the base untouched.

        Raises:
            DrawingRefusedError: When a LoRA does not fit, or leaves a trace at strength 0.
            CheckpointUnreadableError: When the base cannot be opened.
        """
        _be_deterministic(threads)
        chosen = fastest_device() if device == "auto" else device
        dtype = _dtype(chosen, architecture)
        pipeline = open_pipeline(checkpoint, dtype=dtype, device=chosen, config=config)
        adapters = [adapter_name(number) for number in range(1, len(weights) + 1)]
        drawing = cls(pipeline, adapters, _identity(chosen, dtype))
        before = drawing.probe()
        for adapter, path in zip(adapters, weights, strict=True):
            modules = apply_lora(pipeline, path, adapter)
            print(f"{path.name} applied to {modules} modules", flush=True)  # noqa: T201 - the log
        for strengths, words in (((), "switched off"), ((0.0,) * len(weights), "at strength 0")):
            drawing.set_strengths(strengths)
            if not np.array_equal(before, drawing.probe()):
                raise DrawingRefusedError(
                    f"the LoRA {words} does not draw the base to the pixel; "
                    "no comparison would mean anything"
                )
        return drawing

    def draw(self, cell: dict[str, Any], strengths: Sequence[float], target: Path) -> None:
        """Draw one cell as a PNG, each LoRA at its strength; without any for the base.

        Raises:
            DrawingRefusedError: When the pipeline cannot do what the cell asks for.
        """
        self._pipeline.scheduler = self._scheduler(cell["sampler"])
        self.set_strengths(strengths)
        pixels = self._pixels(
            prompt=cell["prompt"],
            num_inference_steps=cell["steps"],
            guidance_scale=cell["guidance"],
            width=cell["width"],
            height=cell["height"],
            seed=cell["seed"],
            **self._negative(cell["negative"]),
        )
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        write_atomic(target, stream.getvalue())

    def set_strengths(self, strengths: Sequence[float]) -> None:
        """Use each LoRA at its strength, or switch them off where there are none.

        Raises:
            DrawingRefusedError: When they do not become active.
        """
        if not strengths:
            self._pipeline.disable_lora()
            return
        self._pipeline.enable_lora()
        self._pipeline.set_adapters(self._adapters, list(strengths))
        if self._pipeline.get_active_adapters() != self._adapters:
            raise DrawingRefusedError("the LoRA is loaded, but it did not become active")

    def probe(self) -> Any:
        """Return a small picture that is cheap to draw, for comparisons only."""
        side = _PROBE_SIDE
        unet = getattr(self._pipeline, "unet", None)
        if unet is not None:
            side = min(side, int(unet.config.sample_size) * self._pipeline.vae_scale_factor)
        return self._pixels(
            prompt="icon",
            num_inference_steps=_PROBE_STEPS,
            guidance_scale=3.0,
            width=side,
            height=side,
            seed=0,
        )

    def _pixels(self, *, seed: int, **arguments: Any) -> Any:
        # A CPU generator, new for each picture, batch 1: the same noise on every machine.
        generator = torch.Generator("cpu").manual_seed(seed)
        with torch.inference_mode():
            drawn = self._pipeline(generator=generator, output_type="np", **arguments).images[0]
        if not np.isfinite(drawn).all():
            raise DrawingRefusedError("the picture holds NaN: the models overflowed")
        return (drawn * 255).round().astype("uint8")

    def _negative(self, negative: str) -> dict[str, Any]:
        if not negative:
            return {}
        known = inspect.signature(type(self._pipeline).__call__).parameters
        if "negative_prompt" not in known or "true_cfg_scale" in known:
            raise DrawingRefusedError(
                f"{type(self._pipeline).__name__} takes no negative prompt; leave it out"
            )
        return {"negative_prompt": negative}

    def _scheduler(self, sampler: str) -> Any:
        if sampler == "default":
            return self._own_scheduler
        if sampler not in _SAMPLERS or not hasattr(self._pipeline, "unet"):
            raise DrawingRefusedError(f"sampler {sampler!r} does not go with this checkpoint")
        name, options = _SAMPLERS[sampler]
        return getattr(diffusers, name).from_config(self._own_scheduler.config, **options)


def _be_deterministic(threads: int) -> None:
    if threads > 0:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _dtype(device: str, architecture: str) -> torch.dtype:
    if not device.startswith("cuda"):
        return torch.float32  # half precision on MPS is known to draw black pictures
    return torch.bfloat16 if architecture.startswith("flux") else torch.float16


def _identity(device: str, dtype: torch.dtype) -> dict[str, Any]:
    details = {
        "diffusers": diffusers.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "dtype": str(dtype).removeprefix("torch."),
        "device": _device_name(device),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads() if device == "cpu" else 0,
        "revision": _REVISION,
    }
    return {
        "name": "diffusers",
        "version": diffusers.__version__,
        "fingerprint": digest_of(details),
        "device": device,
        "details": details,
    }


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"cpu {torch.backends.cpu.get_cpu_capability()}" if device == "cpu" else device
