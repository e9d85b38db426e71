"""The tokenizers of a checkpoint, when they are at hand: files on this machine, and no code."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.datasets.captions.tokens import Encoder, Reading, estimate_tokens
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError

EXTRA = "captions"
_LARGEST = 128 * 1024 * 1024
_Count = Callable[[Sequence[str]], list[int]]


class Places(msgspec.Struct, frozen=True):
    """Where tokenizers may stand.

    Attributes:
        model: The diffusers folder of the checkpoint, or None.
        model_name: What to call it.
        cache: The folder of tokenizers that sd-scripts uses offline, or None.
    """

    model: Path | None = None
    model_name: str = ""
    cache: Path | None = None


class _UnusableError(Exception):
    """A tokenizer's files are there and cannot be used; holds why."""


def read_captions(
    texts: Sequence[str], encoders: Sequence[Encoder], places: Places, *, reads: int | None = None
) -> list[Reading]:
    """Return what each encoder makes of captions: counted where a tokenizer is at hand.

    Args:
        texts: The captions.
        encoders: The text encoders that will read them.
        places: Where their tokenizers may stand.
        reads: How many tokens a trainer reads that was told so, in the place of the usual
            number; for encoders that lead.
    """
    readings: list[Reading] = []
    for one in encoders:
        encoder = replace(one, reads=reads) if reads and one.leads else one
        readings.append(_read(texts, encoder, places))
    return readings


def _read(texts: Sequence[str], encoder: Encoder, places: Places) -> Reading:
    why = ""
    for folder, name in _folders(encoder, places):
        try:
            count = _counter(folder)
        except _UnusableError as error:
            why = f"{name}: {error}"
            continue
        if count is None:
            continue
        return Reading(encoder, tuple(count(texts)), tokenizer=name)
    why = why or "no tokenizer is at hand"
    return Reading(encoder, tuple(map(estimate_tokens, texts)), not_exact=why)


def _folders(encoder: Encoder, places: Places) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    if places.model is not None:
        found.append((places.model / encoder.folder, f"{places.model_name}/{encoder.folder}"))
    if places.cache is not None and encoder.cached:
        found.append((places.cache / encoder.cached, encoder.cached))
    return [(folder, name) for folder, name in found if folder.is_dir()]


def _counter(folder: Path) -> _Count | None:
    """Return what counts tokens with the tokenizer of a folder, or None when there is none."""
    whole, vocabulary, merges = (
        folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt")
    )
    is_clip = vocabulary.is_file() and merges.is_file()
    if not (whole.is_file() or is_clip):
        return None
    if importlib.util.find_spec("tokenizers") is None:
        raise _UnusableError(f"pip install 'lora-pipeline[{EXTRA}]' counts with it")
    tokenizer = _whole(whole) if whole.is_file() else _clip(vocabulary, merges)
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        return [len(one) for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return count


def _whole(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(_text(path))
    except Exception as error:
        raise _UnusableError(f"{path.name} cannot be used: {error}") from error


def _clip(vocabulary: Path, merges: Path) -> Any:
    """Return the tokenizer of CLIP from the two files that most checkpoints keep it in."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    try:
        model = BPE(
            vocab=strict_json.loads(_text(vocabulary).encode(), vocabulary.name),
            merges=_pairs(merges),
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token="<|endoftext|>",  # noqa: S106 - a token of text
        )
    except PipelineError as error:
        raise _UnusableError(error.message) from error
    except _UnusableError:
        raise
    except Exception as error:
        raise _UnusableError(f"{vocabulary.name} cannot be used: {error}") from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pieces = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer


def _pairs(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.startswith("#version") or not line.strip():
            continue
        first, _, second = line.partition(" ")
        if not second or " " in second:
            raise _UnusableError(f"{path.name} line {number} is no pair")
        pairs.append((first, second))
    return pairs


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise _UnusableError(f"{path.name} has more than {_LARGEST:,} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _UnusableError(f"{path.name} cannot be read: {error}") from error
