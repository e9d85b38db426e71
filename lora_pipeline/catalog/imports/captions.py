"""What becomes of captions that other tools left beside images: tags, a description, or both.

Decides, but for reading the files beside an image.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from lora_pipeline.catalog.imports.facts import FileFacts, split_tags
from lora_pipeline.catalog.imports.folder import CAPTION_EXTENSIONS, is_there
from lora_pipeline.catalog.imports.metadata import read_description
from lora_pipeline.catalog.imports.text import read_text
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.foundation.errors import ImportSourceError
from lora_pipeline.foundation.ids import TAG_PATTERN, slugify

CaptionKind = Literal["auto", "text", "tags", "booru", "none"]
_LONGEST_SIDE_CAR = 256 * 1024
_TAG = re.compile(TAG_PATTERN)
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass
class WordReader:
    """Turns the free words of other tools into tags of ours.

    Attributes:
        vocabulary: The words in force.
        group: Group of words that are no tag of a catalog; empty when there is none, and then
            such words stay as they are, to be refused by whoever plans the asset.
        unusable: Words that cannot be tags, with the number of images that had them.
    """

    vocabulary: Vocabulary
    group: str = ""
    unusable: dict[str, int] = field(default_factory=dict)
    _by_word: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._by_word = _tags_by_word(self.vocabulary)

    def tags(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return the tags that words mean; those that cannot be tags are counted."""
        found: dict[str, None] = {}
        for word in words:
            tag = self._tag(word)
            if tag:
                found[tag] = None
            else:
                self.unusable[word] = self.unusable.get(word, 0) + 1
        return tuple(found)

    def _tag(self, word: str) -> str:
        known = self.vocabulary.tag(word)
        if known in self.vocabulary.tags or _TAG.fullmatch(known) or not self.group:
            return known
        plain = _plain(word)
        if plain in self._by_word:
            return self._by_word[plain]
        tag = f"{self.group}:{slugify(word)}"
        return tag if _TAG.fullmatch(tag) and not _loses_letters(word) else ""


def with_caption(
    facts: FileFacts, kind: CaptionKind, words: WordReader, *, stands_in: str = ""
) -> FileFacts:
    """Return facts whose caption has become tags or a description, and whose words are tags.

    Args:
        facts: What is said about an image.
        kind: ``text``: the caption is a description. ``tags``: a list of words, separated by
            commas. ``booru``: the same, separated by spaces when there is no comma. ``auto``:
            tags when each of its words is ``group:value``, else a description. ``none``: it
            is left out.
        words: Turns words into tags.
        stands_in: Caption of an image that has none.
    """
    text = facts.caption or stands_in
    listed: tuple[str, ...] = ()
    if kind in ("tags", "booru"):
        listed = tuple(_listed(text, booru=kind == "booru"))
    elif kind == "auto" and (parts := split_tags(text)) and all(map(_TAG.fullmatch, parts)):
        listed, text = parts, ""
    prompt = facts.prompt or ("" if kind == "none" else " ".join(text.split()))
    tags = words.tags((*facts.tags, *listed))
    return msgspec.structs.replace(
        facts,
        prompt=prompt,
        tags=tuple(dict.fromkeys(tags)),
        spec_tags=words.tags(facts.spec_tags),
        caption="",
    )


def read_side_cars(image: Path, *, encoding: str = "") -> FileFacts:
    """Return what the files beside an image say: ``<stem>.txt``, ``.caption``, ``.json``.

    A text file gives the caption. What the JSON file says weighs more.

    Raises:
        ImportSourceError: When one of them cannot be used.
    """
    facts = FileFacts()
    for extension in CAPTION_EXTENSIONS:
        path = image.with_suffix(extension)
        if is_there(path):
            text = read_text(path, longest=_LONGEST_SIDE_CAR, encoding=encoding)
            if _NOT_TEXT.search(text):
                raise ImportSourceError(f"{path.name} holds control characters")
            facts = FileFacts(caption=text.strip()).over(facts)
    path = image.with_suffix(".json")
    if is_there(path):
        text = read_text(path, longest=_LONGEST_SIDE_CAR, encoding=encoding)
        facts = read_description(text, path.name).over(facts)
    return facts


def _listed(text: str, *, booru: bool) -> Iterator[str]:
    by_spaces = booru and "," not in text
    for part in text.split() if by_spaces else re.split(r"[,\r\n]+", text):
        # Brackets are escaped for programs that would take them as emphasis.
        word = part.strip().replace("\\(", "(").replace("\\)", ")")
        if word:
            yield word


def _tags_by_word(vocabulary: Vocabulary) -> Mapping[str, str]:
    # What a catalog says in one word, and only in one tag: its value, label or prompt token.
    meant: dict[str, set[str]] = {}
    for tag in vocabulary.tags.values():
        for word in {tag.id.partition(":")[2], tag.label, tag.prompt_token}:
            meant.setdefault(_plain(word), set()).add(tag.id)
    return {word: next(iter(tags)) for word, tags in meant.items() if word and len(tags) == 1}


def _plain(word: str) -> str:
    return " ".join(word.replace("_", " ").replace("-", " ").casefold().split())


def _loses_letters(word: str) -> bool:
    kept = unicodedata.normalize("NFKD", word)
    return any(one.isalnum() and not one.isascii() for one in kept)
