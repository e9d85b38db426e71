"""What stands beside an image that was drawn with releases: all that made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.record import Part, Record


class GenerationLora(Part, frozen=True, kw_only=True):
    """A release that was used, by its bytes, and why that one."""

    lora_id: str
    release_id: str
    sha256: str
    strength: float
    trigger_word: str = ""
    project_id: str = ""
    chosen: str = ""


class GenerationScene(Part, frozen=True, kw_only=True):
    """What was asked of the renderer. ``typed`` is what a person wrote; ``prompt`` was drawn."""

    typed: str
    prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance: float
    negative: str = ""
    sampler: str = "default"


class Generation(Record, frozen=True, kw_only=True):
    """An image with all that made it.

    ``loras`` stand in the order in which they were applied. ``trace`` is the digest of scene,
    LoRAs and base model: two images of one trace, drawn by one renderer fingerprint, were asked
    for alike.
    """

    KIND: ClassVar[str] = "generation"

    trace: str
    scene: GenerationScene
    loras: tuple[GenerationLora, ...]
    checkpoint_id: str
    checkpoint_digest: str
    renderer: RendererIdentity
    image: str
    image_sha256: str
    created_at: str
    created_by: str = ""


def trace_of(
    scene: GenerationScene, loras: Sequence[GenerationLora], checkpoint_digest: str
) -> str:
    """Return the digest of what is asked for; words about the choice are no part of it."""
    asked: dict[str, Any] = {
        "scene": msgspec.structs.replace(scene, typed="").to_dict(),
        "loras": [{"weights": one.sha256, "strength": one.strength} for one in loras],
        "checkpoint": checkpoint_digest,
    }
    return digest_of(asked)


def prompt_with_triggers(typed: str, words: Sequence[str]) -> str:
    """Return a prompt that calls the LoRAs: ``{trigger}`` filled in, else their words in front."""
    called = [word for word in dict.fromkeys(words) if word]
    if "{trigger}" in typed:
        return " ".join(typed.replace("{trigger}", ", ".join(called)).split())
    there = f" {' '.join(typed.replace(',', ' ').casefold().split())} "
    lacking = [word for word in called if f" {word.casefold()} " not in there]
    return ", ".join((*lacking, typed))
