"""Load LoRAs into a diffusers pipeline and prove that all of each is in use."""

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

_LIBRARIES = ("diffusers", "transformers", "peft")
# What loaders only warn about, and what makes a picture half a LoRA's. That a part of the
# pipeline has no tensors ("No LoRA keys associated to …") is told by counting: a LoRA without
# text encoder tensors is usual, one without any that fit is not.
_FATAL_WARNINGS = ("unexpected key", "an inconsistency was discovered")
_FIRST_HALVES = (".lora_A.", ".lora_down.", ".lora.down.", "_lora.down.")
_ENOUGH = 0.98
_SHOWN = 200


def adapter_name(number: int) -> str:
    """Return the name of a LoRA in a pipeline; never that of a method of torch modules."""
    return f"lora_{number}"


def apply_lora(pipeline: Any, weights: Path, adapter: str) -> int:
    """Load ``weights`` as an adapter of that name and return how many modules it changes.

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
                adapter_name=adapter,
                local_files_only=True,
            )
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            # What loaders were seen to raise for LoRAs of another architecture.
            raise DrawingRefusedError(
                f"the LoRA does not fit this checkpoint: {_short(error)}"
            ) from error
    _refuse_warnings(messages)
    applied = _applied(pipeline, adapter)
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


def _applied(pipeline: Any, adapter: str) -> list[Any]:
    """Return the second half (the one that starts at zero) of every module in use."""
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return [
        module.lora_B[adapter].weight
        for part in parts
        for module in part.modules()
        if adapter in getattr(module, "lora_B", {})
    ]


def _refuse_warnings(messages: list[str]) -> None:
    for message in messages:
        if any(words in message.lower() for words in _FATAL_WARNINGS):
            raise DrawingRefusedError(
                f"only a part of the LoRA fits this checkpoint: {_short(message)}"
            )


def _short(message: object) -> str:
    words = " ".join(str(message).split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"


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
