"""How many tokens of a caption a model's text encoders read. Pure.

A tokenizer's own count is exact; without one the number is estimated, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from lora_pipeline.datasets.captions.lint import Subject, finding
from lora_pipeline.foundation.findings import Finding

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")
_ONE_TOKEN, _NEXT_TOKEN = 10, 5  # letters of a usual word; letters of each further token


class Encoder(msgspec.Struct, frozen=True):
    """A text encoder, as captions meet it.

    Attributes:
        name: What people call it.
        reads: Tokens of a caption that it reads; marks of start and end not counted.
        marks: How many tokens mark start and end.
        folder: Where its tokenizer stands in a diffusers folder.
        cached: What its tokenizer's folder is called in the cache of sd-scripts, or empty.
        leads: False when what it does not read is read whole by another one.
    """

    name: str
    reads: int
    marks: int = 2
    folder: str = "tokenizer"
    cached: str = ""
    leads: bool = True


_CLIP_L = Encoder("CLIP-L", 75, cached="openai_clip-vit-large-patch14")
_CLIP_G = Encoder(
    "CLIP-G", 75, folder="tokenizer_2", cached="laion_CLIP-ViT-bigG-14-laion2B-39B-b160k"
)
_T5 = "google_t5-v1_1-xxl"
# What diffusers hands to the encoders, and what trainers do unless they are told otherwise.
ENCODERS: dict[str, tuple[Encoder, ...]] = {
    "sd15": (_CLIP_L,),
    "sd21": (Encoder("OpenCLIP-H", 75, cached="stabilityai_stable-diffusion-2"),),
    "sdxl": (_CLIP_L, _CLIP_G),
    "sd3": (
        Encoder("CLIP-L", 75, cached=_CLIP_L.cached, leads=False),
        Encoder("CLIP-G", 75, folder="tokenizer_2", cached=_CLIP_G.cached, leads=False),
        Encoder("T5-XXL", 255, marks=1, folder="tokenizer_3", cached=_T5),
    ),
    "flux1": (
        Encoder("CLIP-L", 75, cached=_CLIP_L.cached, leads=False),
        Encoder("T5-XXL", 511, marks=1, folder="tokenizer_2", cached=_T5),
    ),
    "flux2": (Encoder("Mistral", 512, marks=0),),
    "chroma": (Encoder("T5-XXL", 511, marks=1, cached=_T5),),
    "lumina2": (Encoder("Gemma 2", 256, marks=0, cached="google_gemma-2-2b"),),
    "zimage": (Encoder("Qwen3", 512, marks=0),),
    "qwen_image": (Encoder("Qwen2.5-VL", 512, marks=0),),
    "hunyuan_image": (Encoder("Qwen2.5-VL", 1000, marks=0),),
    "anima": (Encoder("Qwen3", 512, marks=0),),
    "wan": (Encoder("UMT5-XXL", 511, marks=1),),
    "krea2": (Encoder("Qwen3-VL", 512, marks=0),),
    "ernie_image": (Encoder("Mistral 3", 512, marks=0),),
}
"""The text encoders of each architecture."""

UNKNOWN = (Encoder("CLIP", 75, leads=False), Encoder("T5", 511, marks=1))
"""What captions are held to when nobody knows which model will read them."""


class Reading(msgspec.Struct, frozen=True):
    """What an encoder makes of captions.

    Attributes:
        encoder: The encoder.
        counts: Tokens of each caption, marks not counted.
        tokenizer: Where the tokenizer that counted comes from; empty for an estimate.
        not_exact: Why the counts are no more than an estimate, or empty.
    """

    encoder: Encoder
    counts: tuple[int, ...]
    tokenizer: str = ""
    not_exact: str = ""

    @property
    def exact(self) -> bool:
        """Whether a tokenizer counted."""
        return bool(self.tokenizer)


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text is, for encoders that know English words."""
    return sum(map(_tokens_of_piece, _PIECES.findall(text)))


def _tokens_of_piece(piece: str) -> int:
    if not piece[0].isalpha():
        return (len(piece) + 2) // 3
    if piece.isascii():
        return 1 + max(0, len(piece) - _ONE_TOKEN + _NEXT_TOKEN - 1) // _NEXT_TOKEN
    return max(1, len(piece.encode("utf-8")) * 2 // 3)


def token_findings(subjects: Sequence[Subject], readings: Sequence[Reading]) -> list[Finding]:
    """Return which captions are longer than what the encoders read.

    Args:
        subjects: The captions, in the order of the counts.
        readings: What each encoder makes of them; those of equal reach count together.
    """
    found: list[Finding] = []
    for group in _by_reach(readings):
        first = group[0]
        longest = [max(counts) for counts in zip(*(one.counts for one in group), strict=True)]
        names = " and ".join(one.encoder.name for one in group)
        about = "" if all(one.exact for one in group) else "about "
        reads = first.encoder.reads
        over = [(subject, count) for subject, count in zip(subjects, longest, strict=True)
                if count > reads]  # fmt: skip
        if first.encoder.leads:
            verb = "read" if len(group) > 1 else "reads"
            found += [
                finding(
                    "caption_too_long",
                    subject.where,
                    f"{about}{count} tokens; {names} {verb} {reads}",
                )
                for subject, count in over
            ]
        elif over:
            message = f"{len(over)} captions are longer than the {reads} tokens that {names} reads"
            found.append(finding("captions_cut", over[0][0].where, message))
    return found


def _by_reach(readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    groups: dict[tuple[int, bool], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.encoder.reads, reading.encoder.leads), []).append(reading)
    yield from groups.values()
