"""Text in captions that some program would not read as text. Pure.

Nothing of it means anything to this program: captions reach a trainer as they are. Each pattern
names who would read it as an instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_MARKS = re.compile(r"[{}\[\]<>|;_]|--|:\s*[\d.]|BREAK|embedding:")


class Syntax(msgspec.Struct, frozen=True):
    """A form that a program reads as an instruction.

    Attributes:
        pattern: What it looks like.
        meaning: Who reads it, and as what.
    """

    pattern: re.Pattern[str]
    meaning: str


SYNTAX = (
    Syntax(
        re.compile(r"\{[^{}]*\|[^{}]*\}"),
        "kohya_ss (enable_wildcard) and wildcard extensions draw one of the words",
    ),
    Syntax(re.compile(r"\|\|\|"), "kohya_ss reads it as keep_tokens_separator"),
    Syntax(re.compile(r";;;"), "kohya_ss reads it as secondary_separator"),
    Syntax(
        re.compile(r"(?<!\S)--[A-Za-z]+\b"), "kohya_ss reads it as an option of a sample prompt"
    ),
    Syntax(
        re.compile(r"\[(?:trigger|name)\]", re.IGNORECASE),
        "ai-toolkit and fal put the trigger word in its place",
    ),
    Syntax(
        re.compile(r"<\|[^|<>]+\|>|</?s>|<pad>|<unk>|<extra_id_\d+>"),
        "tokenizers read it as a mark of the model itself",
    ),
    Syntax(re.compile(r"<[A-Za-z]+:[^<>]*>"), "AUTOMATIC1111 and Forge load a network by it"),
    Syntax(
        re.compile(r"\([^()]*:\s*\d*\.?\d+\s*\)"),
        "ComfyUI, AUTOMATIC1111 and kohya_ss (weighted_captions) read a weight",
    ),
    Syntax(
        re.compile(r"\[(?!(?:trigger|name)\])[^\[\]]*\]", re.IGNORECASE),
        "AUTOMATIC1111 and kohya_ss (weighted_captions) read less weight or a change of words",
    ),
    Syntax(
        re.compile(r"(?<!\w)__[\w./*-]+__(?!\w)"), "wildcard extensions put a line of a file in"
    ),
    Syntax(re.compile(r"\bembedding:\S+"), "ComfyUI loads an embedding by it"),
    Syntax(re.compile(r"(?<![\w-])BREAK(?![\w-])"), "AUTOMATIC1111 starts a new prompt there"),
)
"""Every form, the more particular ones first."""


def syntax_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield each form that a caption holds, as code and message of a finding."""
    if not _MARKS.search(text):
        return
    for syntax in SYNTAX:
        match = syntax.pattern.search(text)
        if match:
            yield "caption_syntax", f"it says {match.group()!r}: {syntax.meaning}"
