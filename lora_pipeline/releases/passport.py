"""The passport of a release: what goes with its weights when they leave the workspace.

Pure. It is written into the header of a copy and beside it, never into the stored object. It
makes no claim of approval: that may be taken back, and a file cannot know it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.foundation.canonical import canonical_bytes
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.record import Part, Record
from lora_pipeline.releases.records import Lora, Release

KEY = "lora_pipeline.passport"
_LONGEST = 256 * 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMPLEMENTATION = "https://github.com/huggingface/diffusers"
_STAYING = (
    "modelspec.prediction_type", "modelspec.resolution", "modelspec.timestep_range",
    "modelspec.encoder_layer",
)  # fmt: skip
# Names of the ModelSpec standard and of the programs that write it.
_MODELSPEC = {
    "sd15": "stable-diffusion-v1", "sd21": "stable-diffusion-v2-768-v",
    "sdxl": "stable-diffusion-xl-v1-base", "sd3": "stable-diffusion-3", "flux1": "flux-1-dev",
    "flux2": "flux-2-dev", "chroma": "chroma", "lumina2": "lumina-2",
    "hunyuan_image": "hunyuan-image-2.1", "anima": "anima-preview",
}  # fmt: skip


class PassportLora(Part, frozen=True, kw_only=True):
    """The LoRA and the release that the weights are."""

    id: str
    name: str
    release_id: str
    created_at: str
    description: str = ""
    asset_types: tuple[str, ...] = ()


class PassportCheckpoint(Part, frozen=True, kw_only=True):
    """The base model that the weights were trained on."""

    id: str
    name: str
    architecture: str = ""
    digest: str = ""
    license: str = ""
    commercial_loras: Literal["yes", "no", "unknown"] = "unknown"


class PassportTraining(Part, frozen=True, kw_only=True):
    """What the weights were trained with and on."""

    trainer: str = ""
    trainer_version: str = ""
    manifest_hash: str = ""
    image_licenses: tuple[str, ...] = ()


class PassportFile(Part, frozen=True, kw_only=True):
    """The file that a passport stands beside."""

    name: str
    bytes: int
    sha256: str


class Passport(Record, frozen=True, kw_only=True):
    """What goes with weights when they leave the workspace.

    ``sha256`` is the object of the store that the file was made from, ``tensor_sha256`` what
    both have in common. Only the passport beside a file can name the file itself.
    """

    KIND: ClassVar[str] = "passport"

    lora: PassportLora
    checkpoint: PassportCheckpoint
    training: PassportTraining
    trigger_word: str
    strength: float
    sha256: str
    tensor_sha256: str
    file: PassportFile | None = None


def passport_of(
    lora: Lora,
    release: Release,
    checkpoint: Checkpoint,
    *,
    tensor_sha256: str,
    image_licenses: tuple[str, ...],
) -> Passport:
    """Return the passport of a release.

    Args:
        lora: Its LoRA.
        release: The release; it has weights.
        checkpoint: The base model's record.
        tensor_sha256: Digest of its tensors, read from the bytes.
        image_licenses: Licences of the images that it was trained on, sorted.
    """
    told, weights, license_ = release.training, release.weights, checkpoint.license
    return Passport(
        lora=PassportLora(
            id=lora.id,
            name=lora.name,
            release_id=release.id,
            created_at=release.created_at,
            description=lora.description,
            asset_types=lora.asset_types,
        ),
        checkpoint=PassportCheckpoint(
            id=checkpoint.id,
            name=checkpoint.name,
            architecture=checkpoint.architecture,
            digest=_digest(told.get("checkpointDigest")),
            license=license_.id if license_ else "",
            commercial_loras=license_.commercial_loras if license_ else "unknown",
        ),
        training=PassportTraining(
            trainer=str(told.get("trainer", "")),
            trainer_version=str(told.get("trainerVersion", "")),
            manifest_hash=_digest(told.get("manifestHash")),
            image_licenses=image_licenses,
        ),
        trigger_word=lora.trigger_word,
        strength=lora.strength_in_use,
        sha256=weights.sha256 if weights else "",
        tensor_sha256=tensor_sha256,
    )


def header_texts(passport: Passport, kept: Mapping[str, str]) -> dict[str, str]:
    """Return the free texts of a header: those that are kept, ModelSpec's, and the passport.

    Args:
        passport: Without the file that it stands beside.
        kept: What of the trainer's own texts may leave the studio.
    """
    lora, base = passport.lora, passport.checkpoint
    family = _MODELSPEC.get(base.architecture, base.architecture or base.id)
    spec = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{family}/lora",
        "implementation": kept.get("modelspec.implementation", _IMPLEMENTATION),
        "title": f"{lora.name} {lora.release_id}",
        "description": lora.description,
        "date": lora.created_at,
        "hash_sha256": f"0x{passport.tensor_sha256}",
        "trigger_phrase": passport.trigger_word,
        "usage_hint": usage_hint(passport),
        "license": license_words(passport),
        "tags": ", ".join(lora.asset_types),
    }
    texts = {f"modelspec.{name}": text for name, text in spec.items() if text}
    # What the passport does not speak of stays as the trainer said it.
    others = {
        name: text
        for name, text in kept.items()
        if not name.startswith("modelspec.") or name in _STAYING
    }
    # Programs that list LoRAs by this name show two files of one name as one.
    named = {"ss_output_name": f"{lora.id}-{lora.release_id}"}
    return others | named | texts | {KEY: canonical_bytes(passport.to_dict()).decode("utf-8")}


def usage_hint(passport: Passport) -> str:
    """Return how the weights are used, in one line for people."""
    trigger = f"write {passport.trigger_word!r} into the prompt, " if passport.trigger_word else ""
    return f"{trigger}strength {passport.strength:g}, base model {passport.checkpoint.name}"


def license_words(passport: Passport) -> str:
    """Return the licences of what the weights were made from; nothing when none is known."""
    parts = []
    if passport.checkpoint.license:
        parts.append(f"base model: {passport.checkpoint.license}")
    if passport.training.image_licenses:
        parts.append(f"images: {', '.join(passport.training.image_licenses)}")
    return "; ".join(parts)


def passport_in(metadata: Mapping[str, str]) -> Passport | None:
    """Return the passport that a header holds, or None. Anybody could have written it there."""
    text = metadata.get(KEY, "")
    if not text or len(text) > _LONGEST:
        return None
    try:
        return Passport.from_dict(json.loads(text))
    except (ValueError, RecursionError, PipelineError):
        return None


def _digest(value: object) -> str:
    # Repositories that exist already may hold anything there; what is no digest proves nothing.
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else ""
