"""What training is told about an image, word by word and with the source of each word.

Decides only; the catalog's tokens are handed in.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from lora_pipeline.datasets.captions.templates import Slot, Template, parse_template
from lora_pipeline.datasets.picks import Pick
from lora_pipeline.datasets.records import CaptionRule
from lora_pipeline.foundation.errors import CaptionInvalidError, Violation

# Control characters, halves of surrogate pairs, line and paragraph separators.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What turns the direction of text around, and so shows people another caption than training sees.
_FORBIDDEN_CHARACTERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


class Tokens(msgspec.Struct, frozen=True):
    """The catalog's prompt tokens; a checkpoint's own stand in for the project's, id by id.

    Attributes:
        styles: Tokens by style.
        scenarios: Tokens by scenario.
        tags: One token by tag.
        checkpoint_id: The checkpoint whose words stand in for the project's, or empty.
        overridden: The words that come from that checkpoint: ``style flat``, ``tag color:red``.
    """

    styles: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    scenarios: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    checkpoint_id: str = ""
    overridden: frozenset[str] = frozenset()

    def source(self, word: str) -> str:
        """Return where the token of a word (``style flat``) comes from."""
        return f"token of {word}" + (
            f" for {self.checkpoint_id}" if word in self.overridden else ""
        )


class CaptionWord(NamedTuple):
    """A word or phrase of a caption and where it comes from."""

    text: str
    source: str


class Caption(msgspec.Struct, frozen=True):
    """A caption with its trace.

    Attributes:
        text: The caption as training sees it.
        words: What it is made of, in order; marks between them left out.
        repeated: Words that were left out because another one says the same.
    """

    text: str
    words: tuple[CaptionWord, ...]
    repeated: tuple[CaptionWord, ...] = ()


# What a slot of a template is filled with.
_Filling = Mapping[str, Sequence[CaptionWord]]
_ONE_WORD = ("trigger", "prefix", "title", "prompt", "type", "style", "scenario", "suffix")
_BETWEEN_COMMAS = ("trigger", "prefix", "tags", "title", "tokens", "suffix")
_SPACES = re.compile(" {2,}")


def caption_of(pick: Pick, rule: CaptionRule, tokens: Tokens) -> Caption:
    """Return the caption of one image.

    Raises:
        CaptionInvalidError: When it would be empty, or would hold what a caption may not.
    """
    if rule.template is UNSET:
        caption = _between_commas(pick, rule, tokens)
    else:
        caption = _in_template(pick, rule, tokens, parse_template(rule.template))
    _require_caption(pick, rule, caption)
    return caption


def spoken(tag: str) -> str:
    """Return a tag as a caption says it: ``shape:round_square`` is ``round square``."""
    return tag.partition(":")[2].replace("_", " ") or tag


def unsafe_character(text: str) -> str | None:
    """Return the name of the first character that a caption may not hold, or None."""
    if text.isprintable():
        return None  # none of them is; looking at each character takes ten times as long
    for character in text:
        if (
            unicodedata.category(character) in _FORBIDDEN_CATEGORIES
            or character in _FORBIDDEN_CHARACTERS
        ):
            return f"U+{ord(character):04X}"
    return None


def _between_commas(pick: Pick, rule: CaptionRule, tokens: Tokens) -> Caption:
    filling = _filling(pick, rule, tokens, None)
    kept: dict[str, CaptionWord] = {}
    repeated: list[CaptionWord] = []
    for word in (word for name in _BETWEEN_COMMAS for word in filling[name]):
        folded = word.text.casefold()
        if folded in kept:
            repeated.append(word)
        else:
            kept[folded] = word
    words = tuple(kept.values())
    return Caption(", ".join([word.text for word in words]), words, tuple(repeated))


def _in_template(pick: Pick, rule: CaptionRule, tokens: Tokens, template: Template) -> Caption:
    filling = _filling(pick, rule, tokens, template)
    # A sentence needs its subject: only words of lists give way to those said elsewhere.
    said = {
        word.text.casefold()
        for name in template.names
        if name in _ONE_WORD
        for word in filling[name]
    }
    text: list[str] = []
    words: list[CaptionWord] = []
    repeated: list[CaptionWord] = []
    for section in template.sections:
        pieces: list[str] = []
        spoken_here: list[CaptionWord] = []
        filled = not section.optional
        for part in section.parts:
            if isinstance(part, Slot):
                found = _said(part, filling, said, repeated)
                filled = filled or bool(found)
                pieces.append(_joined(part, found))
                spoken_here += found
            else:
                pieces.append(part.text)
                spoken_here += _own_words(part.text)
        if filled:
            text += pieces
            words += spoken_here
    if all(word.source == _TEMPLATE for word in words):
        words = []  # what is the same for every image says nothing of this one
    return Caption(_SPACES.sub(" ", "".join(text)).strip(), tuple(words), tuple(repeated))


_TEMPLATE = "template"


def _said(
    slot: Slot, filling: _Filling, said: set[str], repeated: list[CaptionWord]
) -> list[CaptionWord]:
    if slot.name in _ONE_WORD:
        return list(filling[slot.name])
    kept = []
    for word in filling[slot.name]:
        folded = word.text.casefold()
        if folded in said:
            repeated.append(word)
        else:
            kept.append(word)
            said.add(folded)
    return kept


def _joined(slot: Slot, words: Sequence[CaptionWord]) -> str:
    texts = [word.text for word in words]
    if slot.joined_by_and and len(texts) > 1:
        return f"{', '.join(texts[:-1])} and {texts[-1]}"
    return ", ".join(texts)


@functools.lru_cache(maxsize=256)
def _own_words(text: str) -> list[CaptionWord]:
    stripped = text.strip(" ,.;:-")
    return [CaptionWord(stripped, _TEMPLATE)] if any(map(str.isalnum, stripped)) else []


def ingredients(pick: Pick, rule: CaptionRule) -> tuple[object, ...]:
    """Return all of an image that its caption is made of, besides the rule and the tokens.

    Images of equal ingredients have equal captions, so one is made for all of them.
    """
    spec = pick.spec
    title = spec.title if rule.strategy == _WITH_TITLE else ""
    says_prompt = rule.template is not UNSET and "prompt" in parse_template(rule.template).names
    prompt = spec.prompt.positive if says_prompt else ""
    words = (spec.asset_type, spec.style, spec.scenario, title, prompt)
    return pick.variant.tags, pick.tags, *words


def _filling(
    pick: Pick, rule: CaptionRule, tokens: Tokens, template: Template | None
) -> dict[str, list[CaptionWord]]:
    """Return the words of each slot; only of those that the template has."""
    names = template.names if template else _BETWEEN_COMMAS
    groups = template.groups if template else frozenset[str]()
    spec = pick.spec
    of_spec = {
        "type": (_said_as(spec.asset_type), "asset type"),
        "style": (_said_as(spec.style), "style"),
        "scenario": (_said_as(spec.scenario), "scenario"),
        "title": (spec.title if rule.strategy == _WITH_TITLE else "", "title"),
        "prompt": (spec.prompt.positive, "prompt"),
        "trigger": (rule.trigger_word, "trigger word"),
        "prefix": (rule.prefix, "prefix"),
        "suffix": (rule.suffix, "suffix"),
    }
    filling = {name: _clean(*of_spec[name]) if name in of_spec else [] for name in names}
    if rule.include_prompt_tokens and "tokens" in filling:
        filling["tokens"] = list(_token_words(pick, tokens, groups))
    # A tag that has a token is said by its token, not twice in other words: further on where
    # tokens have a place of their own, else where the tag stands.
    further_on = "tokens" in filling
    for tag in pick.variant.tags if rule.strategy == "tags" else pick.tags:
        group = tag.partition(":")[0]
        name = f"tags.{group}" if group in groups else "tags"
        if name not in filling:
            continue
        token = tokens.tags.get(tag, "") if rule.include_prompt_tokens else ""
        if not token:
            filling[name].append(_tag_word(tag, spec=tag not in pick.variant.tags))
        elif name != "tags" or not further_on:
            filling[name] += _clean(token, tokens.source(f"tag {tag}"))
    return filling


_WITH_TITLE = "tags+spec+title"


def _token_words(pick: Pick, tokens: Tokens, groups: frozenset[str]) -> Iterator[CaptionWord]:
    style, scenario = pick.spec.style, pick.spec.scenario
    for token in tokens.styles.get(style, ()):
        yield from _clean(token, tokens.source(f"style {style}"))
    for token in tokens.scenarios.get(scenario, ()):
        yield from _clean(token, tokens.source(f"scenario {scenario}"))
    for tag in pick.tags:
        if tag in tokens.tags and tag.partition(":")[0] not in groups:
            yield from _clean(tokens.tags[tag], tokens.source(f"tag {tag}"))


@functools.lru_cache(maxsize=8192)
def _tag_word(tag: str, *, spec: bool) -> CaptionWord:
    source = f"spec tag {tag}" if spec else f"tag {tag}"
    return CaptionWord(unicodedata.normalize("NFC", spoken(tag)).strip(), source)


def _clean(text: str, source: str) -> list[CaptionWord]:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.strip()
    return [CaptionWord(text, source)] if text else []


def _said_as(word: str) -> str:
    return word.replace("_", " ")


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
