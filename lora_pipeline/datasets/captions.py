"""What training is told about an image, word by word and with the source of each word.

Decides only; the catalog's tokens are handed in.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lora_pipeline.datasets.picks import Pick
from lora_pipeline.datasets.records import CaptionRule
from lora_pipeline.foundation.errors import CaptionInvalidError, Violation

# Control characters, halves of surrogate pairs, line and paragraph separators.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What turns the direction of text around, and so shows people another caption than training sees.
_FORBIDDEN_CHARACTERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


@dataclass(frozen=True)
class Tokens:
    """The catalog's prompt tokens; a checkpoint's own stand in for the project's, id by id.

    Attributes:
        styles: Tokens by style.
        scenarios: Tokens by scenario.
        tags: One token by tag.
    """

    styles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scenarios: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CaptionWord:
    """A word or phrase of a caption and where it comes from."""

    text: str
    source: str


@dataclass(frozen=True)
class Caption:
    """A caption with its trace.

    Attributes:
        words: What it is made of, in order.
        repeated: Words that were left out because an earlier one says the same.
    """

    words: tuple[CaptionWord, ...]
    repeated: tuple[CaptionWord, ...] = ()

    @property
    def text(self) -> str:
        """The caption as training sees it."""
        return ", ".join(word.text for word in self.words)


def caption_of(pick: Pick, rule: CaptionRule, tokens: Tokens) -> Caption:
    """Return the caption of one image.

    Raises:
        CaptionInvalidError: When it would be empty, or would hold what a caption may not.
    """
    kept: dict[str, CaptionWord] = {}
    repeated: list[CaptionWord] = []
    for word in _words(pick, rule, tokens):
        text = unicodedata.normalize("NFC", word.text).strip()
        if not text:
            continue
        clean = CaptionWord(text, word.source)
        if text.casefold() in kept:
            repeated.append(clean)
        else:
            kept[text.casefold()] = clean
    caption = Caption(tuple(kept.values()), tuple(repeated))
    _require_caption(pick, rule, caption)
    return caption


def spoken(tag: str) -> str:
    """Return a tag as a caption says it: ``shape:round_square`` is ``round square``."""
    return tag.partition(":")[2].replace("_", " ") or tag


def unsafe_character(text: str) -> str | None:
    """Return the name of the first character that a caption may not hold, or None."""
    for character in text:
        if (
            unicodedata.category(character) in _FORBIDDEN_CATEGORIES
            or character in _FORBIDDEN_CHARACTERS
        ):
            return f"U+{ord(character):04X}"
    return None


def _words(pick: Pick, rule: CaptionRule, tokens: Tokens) -> Iterator[CaptionWord]:
    yield CaptionWord(rule.trigger_word, "trigger word")
    yield CaptionWord(rule.prefix, "prefix")
    yield from _tag_words(pick, rule, tokens)
    if rule.strategy == "tags+spec+title":
        yield CaptionWord(pick.spec.title, "title")
    if rule.include_prompt_tokens:
        yield from _token_words(pick, tokens)
    yield CaptionWord(rule.suffix, "suffix")


def _tag_words(pick: Pick, rule: CaptionRule, tokens: Tokens) -> Iterator[CaptionWord]:
    for tag in pick.variant.tags if rule.strategy == "tags" else pick.tags:
        # A tag that has a token is said by its token, further on; not twice in other words.
        if not (rule.include_prompt_tokens and tokens.tags.get(tag)):
            owner = "tag" if tag in pick.variant.tags else "spec tag"
            yield CaptionWord(spoken(tag), f"{owner} {tag}")


def _token_words(pick: Pick, tokens: Tokens) -> Iterator[CaptionWord]:
    for token in tokens.styles.get(pick.spec.style, ()):
        yield CaptionWord(token, f"token of style {pick.spec.style}")
    for token in tokens.scenarios.get(pick.spec.scenario, ()):
        yield CaptionWord(token, f"token of scenario {pick.spec.scenario}")
    for tag in pick.tags:
        yield CaptionWord(tokens.tags.get(tag, ""), f"token of tag {tag}")


def _require_caption(pick: Pick, rule: CaptionRule, caption: Caption) -> None:
    for word in caption.words:
        unsafe = unsafe_character(word.text)
        if unsafe:
            raise _broken(
                pick,
                f"its {word.source} holds {unsafe}, which no caption may hold",
                "captions are one line without control characters; correct the record",
            )
    if not caption.words:
        raise _broken(
            pick,
            f"its caption would be empty with strategy {rule.strategy}",
            f"lora asset tag {pick.asset.id} --add GROUP:VALUE, or --caption tags+spec+title",
        )


def _broken(pick: Pick, rule: str, hint: str) -> CaptionInvalidError:
    name = f"asset {pick.asset.id} ({pick.spec.title})"
    return CaptionInvalidError(f"{name}: {rule}", hint=hint, violations=[Violation(name, rule)])
