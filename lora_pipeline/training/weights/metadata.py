"""The free texts in a weights file: which of them tell what a studio keeps to itself.

Trainers write the folders, captions and settings of the training into the header. Taking them
out changes the digest of the file and not that of its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.training.weights.file import copy_with_metadata, read_header

# Keys that hold captions, prompts, tags, folder and file names, comments, times or pictures.
_LEAKING = re.compile(
    r"^(?:ss_(?:tag_frequency|dataset_dirs|reg_dataset_dirs|datasets|bucket_info|training_comment"
    r"|sd_model_name|vae_name|session_id|training_started_at|training_finished_at)"
    r"|modelspec\.(?:thumbnail|merged_from)"
    r"|training_info|config|job|parameters|workflow|dataset.*|.*caption.*|.*prompt.*)$"
)
# Whatever its key: a path of somebody's machine, the name of an image, or somebody's address.
_TELLING_VALUE = re.compile(
    r"(?:^|[\s\"'=:(\[,])(?:~?/(?:[\w.@+-]+/)+|~/|file:/|[A-Za-z]:[\\/]|\\\\[\w.-]+\\)"
    r"|[\w-]\.(?:png|jpe?g|webp|txt|toml|ya?ml)\b"
    r"|[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]"
    r"|\"\w{0,40}(?:[cC]aption|[pP]rompt|[tT]ag)s?\"\s*:\s*[\[{]?\s*\"[^\"]"
)
# All that programs look for when they load a LoRA and show what it is.
_NEEDED = re.compile(
    r"^(?:format|lora_adapter_metadata|software|version|mflux_version|model|sshs_(?:model|legacy)_hash"
    r"|ss_(?:v2|base_model_version|network_(?:module|dim|alpha|args)|output_name)"
    r"|modelspec\.(?:sai_model_spec|architecture|implementation|implementation_version|title"
    r"|resolution|prediction_type|timestep_range|encoder_layer|hash_sha256|trigger_phrase|license"
    r"|usage_hint|description|author|date|tags)"
    r"|lora_pipeline\..+)$"
)


def leaking_keys(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys whose texts tell captions, folders, people or secrets, sorted."""
    return tuple(
        sorted(
            key
            for key, value in metadata.items()
            if _LEAKING.match(key) or _TELLING_VALUE.search(value) or redacted(value) != value
        )
    )


def kept_texts(metadata: Mapping[str, str], *, strict: bool = False) -> dict[str, str]:
    """Return the texts that may leave the studio.

    Args:
        metadata: The texts of a header.
        strict: Keep only what programs need: a text that nobody knows may tell anything.
    """
    leaks = set(leaking_keys(metadata))
    return {
        key: text
        for key, text in metadata.items()
        if key not in leaks and (not strict or _NEEDED.match(key))
    }


def scrub(source: Path, target: Path, *, strict: bool = False) -> tuple[str, ...]:
    """Write a copy of a weights file without the texts that leak, and return their keys.

    The tensors, their names and their order stay the same; that is proven by reading both
    files again before the copy counts.

    Raises:
        FileMissingError: When the source cannot be read.
        WeightsRefusedError: When it is no sound safetensors file.
        IntegrityError: When the copy's tensors differ, which leaves no copy.
        StorageError: When the disk refuses.
    """
    metadata = read_header(source).metadata
    kept = kept_texts(metadata, strict=strict)
    copy_with_metadata(source, target, kept)
    return tuple(sorted(set(metadata) - set(kept)))
