"""What changed inside a caption, word by word. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

import msgspec

Kind = Literal["same", "added", "removed"]

# Japanese, Chinese and Korean letters stand for themselves: no blank ends a word there.
_EACH = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKENS = re.compile(rf"\s+|[{_EACH}]|(?:[^\W{_EACH}]|['’-](?=\w))+|.", re.DOTALL)  # noqa: RUF001
_MOST_PAIRS = 250_000  # of words compared with each other; longer texts count as replaced


class Piece(msgspec.Struct, frozen=True):
    """A run of words that stayed, came or went.

    Attributes:
        kind: What became of it.
        text: The words, with the blanks and commas around them.
    """

    kind: Kind
    text: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON-ready form."""
        return {"kind": self.kind, "text": self.text}


def compare_words(before: str, after: str) -> tuple[Piece, ...]:
    """Return a caption in pieces.

    Those that stayed or went make up ``before``, those that stayed or came ``after``.
    """
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    middle = _middle(old[start : len(old) - end], new[start : len(new) - end])
    pieces = [
        Piece("same", "".join(old[:start])),
        *_without_islands(list(middle)),
        Piece("same", "".join(old[len(old) - end :])),
    ]
    return tuple(_merged(piece for piece in pieces if piece.text))


def phrases(pieces: Iterable[Piece], kind: Kind) -> list[str]:
    """Return what came or went as people name it: tags, or runs of words."""
    return [
        phrase
        for piece in pieces
        if piece.kind == kind
        for part in piece.text.split(",")
        if (phrase := part.strip(" \t.;"))
    ]


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _middle(old: Sequence[str], new: Sequence[str]) -> Iterator[Piece]:
    if len(old) * len(new) > _MOST_PAIRS:
        yield Piece("removed", "".join(old))
        yield Piece("added", "".join(new))
        return
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            yield Piece("same", "".join(old[old_start:old_end]))
            continue
        yield Piece("removed", "".join(old[old_start:old_end]))
        yield Piece("added", "".join(new[new_start:new_end]))


def _without_islands(pieces: list[Piece]) -> list[Piece]:
    """Return pieces in which no blank alone stands between two changes."""
    found: list[Piece] = []
    for place, piece in enumerate(pieces):
        if piece.kind == "same" and piece.text.isspace() and 0 < place < len(pieces) - 1:
            found += [Piece("removed", piece.text), Piece("added", piece.text)]
        else:
            found.append(piece)
    return found


def _merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield what went before what came, each in one piece."""
    for same, run in groupby(pieces, lambda piece: piece.kind == "same"):
        several = list(run)
        kinds: tuple[Kind, ...] = ("same",) if same else ("removed", "added")
        for kind in kinds:
            words = "".join(piece.text for piece in several if piece.kind == kind)
            if words:
                yield Piece(kind, words)
