"""Load a LoRA into a diffusers pipeline and prove that all of it is in use."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from lora_pipeline.evaluation.renderers.refusal import DrawingRefusedError

ADAPTER = "eval"
_LIBRARIES = ("diffusers", "transformers", "peft")
# What loaders only warn about, and what makes a picture the base's or half a LoRA's.
_FATAL_WARNINGS = (
    "unexpected key",
    "an inconsistency was discovered",
    "were not loaded",
    "skipping",
)
_NO_KEYS = "No LoRA keys associated to"
_FIRST_HALVES = (".lora_A.", ".lora_down.", ".lora.down.", "_lora.down.")
_ENOUGH = 0.98


def apply_lora(pipeline: Any, weights: Path) -> int:
    """Load ``weights`` as the adapter ``eval`` and return how many modules it changes.

    Raises:
        DrawingRefusedError: When it does not fit the pipeline, in whole or in part, or would
            change nothing.
    """
    pairs = _pairs_in(weights)
    with _heard() as messages:
        try:
            pipeline.load_lora_weights(
                str(weights.parent),
                weight_name=weights.name,
                adapter_name=ADAPTER,
                local_files_only=True,
            )
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            # What loaders were seen to raise for LoRAs of another architecture.
            raise DrawingRefusedError(
                f"the LoRA does not fit this checkpoint: {' '.join(str(error).split())[:300]}"
            ) from error
    _refuse_warnings(messages, pipeline)
    applied = _applied(pipeline)
    if len(applied) < pairs * _ENOUGH:
        raise DrawingRefusedError(
            f"only {len(applied)} of the LoRA's {pairs} modules fit this checkpoint"
        )
    if not any(bool(torch.any(second != 0)) for second in applied):
        raise DrawingRefusedError("every tensor of the LoRA is zero, so it changes nothing")
    return len(applied)


def _pairs_in(weights: Path) -> int:
    with safe_open(weights, framework="numpy") as tensors:
        names = list(tensors.keys())
    pairs = sum(any(half in name for half in _FIRST_HALVES) for name in names)
    if not pairs:
        raise DrawingRefusedError("the weights hold no LoRA tensors")
    return pairs


def _applied(pipeline: Any) -> list[Any]:
    """Return the second half (the one that starts at zero) of every module in use."""
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return [
        module.lora_B[ADAPTER].weight
        for part in parts
        for module in part.modules()
        if ADAPTER in getattr(module, "lora_B", {})
    ]


def _refuse_warnings(messages: list[str], pipeline: Any) -> None:
    denoiser = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    # A LoRA without text encoder tensors is usual; one without denoiser tensors is another's.
    fatal = (*_FATAL_WARNINGS, f"{_NO_KEYS} {type(denoiser).__name__}".lower())
    for message in messages:
        if any(words.lower() in message.lower() for words in fatal):
            raise DrawingRefusedError(
                f"the LoRA does not fit this checkpoint: {' '.join(message.split())[:300]}"
            )


class _Ear(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what was said."""
        self._messages.append(record.getMessage())


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what the libraries warn about, whatever verbosity is set."""
    messages: list[str] = []
    ear = _Ear(messages)
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(ear)
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield messages
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.removeHandler(ear)
                logger.setLevel(level)
    messages += [str(one.message) for one in caught]
