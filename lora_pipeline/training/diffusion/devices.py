"""Where the child computes, in which type and with how many threads."""

from __future__ import annotations

import torch

from lora_pipeline.training.diffusion.messages import TrainingStoppedError

_TYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Up to so many parameters one thread is as fast as two, and faster on a machine that is busy.
SMALL_MODEL = 20_000_000


def fastest_device() -> str:
    """Return the name of the fastest device that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_device(wanted: str) -> torch.device:
    """Return the device that was asked for; ``auto`` takes the fastest there is.

    Raises:
        TrainingStoppedError: When it is not there.
    """
    if wanted == "auto":
        return torch.device(fastest_device())
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if not there.get(wanted):
        raise TrainingStoppedError(
            "no_gpu",
            f"device {wanted} is not available on this machine",
            "set trainers.diffusers.device to auto, or LORA_DEVICE=cpu",
        )
    return torch.device(wanted)


def choose_type(mixed_precision: str, device: torch.device) -> torch.dtype:
    """Return the type of the base model's weights.

    Raises:
        TrainingStoppedError: When the device cannot compute with it.
    """
    if mixed_precision == "fp16" and device.type == "cpu":
        raise TrainingStoppedError(
            "recipe_invalid",
            "mixedPrecision fp16 needs a GPU, this runs on the CPU",
            "set mixedPrecision to no, or to bf16",
        )
    return _TYPES[mixed_precision]


def set_threads(asked: int, parameters: int, device: torch.device) -> None:
    """Set the number of CPU threads; small models get one when nobody asked."""
    if asked:
        torch.set_num_threads(asked)
    elif device.type == "cpu" and parameters < SMALL_MODEL:
        torch.set_num_threads(1)


def make_repeatable(seed: int) -> None:
    """Make the same job give the same numbers, as far as the device can."""
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Filling new memory with NaN finds bugs in torch and costs a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False
