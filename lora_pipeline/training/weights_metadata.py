"""The free texts in a weights file: which of them tell what a studio keeps to itself.

Trainers write the folders, captions and settings of the training into the header. Taking them
out changes the digest of the file and not that of its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lora_pipeline.foundation.errors import IntegrityError
from lora_pipeline.training.weights_file import (
    Tensor,
    read_header,
    tensor_blocks,
    tensor_sha256,
    write_weights,
)

# Keys that hold captions, tags, folder and file names, comments or pictures.
_LEAKING = re.compile(
    r"^(?:ss_(?:tag_frequency|dataset_dirs|reg_dataset_dirs|datasets|bucket_info|training_comment"
    r"|sd_model_name|vae_name|session_id|training_started_at|training_finished_at|sample_prompts)"
    r"|modelspec\.(?:thumbnail|merged_from)"
    r"|training_info|config|job|dataset.*|caption.*|prompt.*)$"
)
# Whatever its key: a path of somebody's machine, or an address.
_TELLING_VALUE = re.compile(
    r"(?:^|[\s\"'=:(])(?:/(?:home|Users|mnt|data|root|workspace|tmp)/|[A-Za-z]:\\)"
    r"|[\w.+-]+@[\w-]+\.[\w.]+|\b(?:hf_|r8_|ghp_|sk-|AKIA)[A-Za-z0-9_-]{8,}"
)


def leaking_keys(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys whose texts tell captions, folders, people or secrets, sorted."""
    return tuple(
        sorted(
            key
            for key, value in metadata.items()
            if _LEAKING.match(key) or _TELLING_VALUE.search(value)
        )
    )


def scrub(source: Path, target: Path) -> tuple[str, ...]:
    """Write a copy of a weights file without the texts that leak, and return their keys.

    The tensors, their names and their order stay the same; that is proven by reading both
    files again before the copy counts.

    Raises:
        FileMissingError: When the source cannot be read.
        WeightsRefusedError: When it is no sound safetensors file.
        IntegrityError: When the copy's tensors differ, which leaves no copy.
    """
    header = read_header(source)
    removed = leaking_keys(header.metadata)
    kept = {key: text for key, text in header.metadata.items() if key not in removed}
    blocks = (block for _, block in tensor_blocks(source, header))
    write_weights(target, header.tensors, kept, blocks)
    copy = read_header(target)
    same = _named(copy.tensors) == _named(header.tensors)
    if not same or tensor_sha256(target, copy) != tensor_sha256(source, header):
        target.unlink()
        raise IntegrityError(f"the copy of {source.name} has other tensors; it was removed")
    return removed


def _named(tensors: tuple[Tensor, ...]) -> set[Tensor]:
    return set(tensors)
