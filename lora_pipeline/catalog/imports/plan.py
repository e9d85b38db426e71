"""What an image becomes when it is imported: its title, type, words, origin and rights.

Decides only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import cast

import msgspec

from lora_pipeline.catalog.imports.facts import FileFacts
from lora_pipeline.catalog.imports.folder import FoundImage
from lora_pipeline.catalog.imports.layout import FolderWords
from lora_pipeline.catalog.records import ProjectDefaults, Provenance, Rights, TrainingRight
from lora_pipeline.catalog.vocabulary import Vocabulary, unknown_word
from lora_pipeline.foundation.ids import TAG_PATTERN, did_you_mean, slugify

_TAG = re.compile(TAG_PATTERN)
_WORD_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
_LONGEST_TITLE = 300


class PlannedAsset(msgspec.Struct, frozen=True):
    """An image with everything that its records will say about it.

    Attributes:
        name: POSIX path below the imported folder.
        path: The file.
        title: What it shows.
        asset_type: Id of its asset type.
        style: Id of its style.
        scenario: Id of its scenario.
        prompt: A description of it, or empty.
        tags: Its own tags.
        spec_tags: Tags of every asset of its type.
        provenance: Where it comes from.
        rights: Whether it may be trained on.
        rating: 0 not rated, 1 to 5 stars.
        sha256: What its bytes must be, when that was said.
        origin: What else is known of how it came, for the version's record.
    """

    name: str
    path: Path
    title: str
    asset_type: str
    style: str
    scenario: str
    prompt: str
    tags: tuple[str, ...]
    spec_tags: tuple[str, ...]
    provenance: Provenance
    rights: Rights
    rating: int = 0
    sha256: str = ""
    origin: Mapping[str, object] = msgspec.field(default_factory=dict)


class Words(msgspec.Struct, frozen=True):
    """Words that no catalog has, in the order in which they were met."""

    tags: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is one."""
        return bool(self.tags or self.styles or self.scenarios)


class WordProblem(Exception):  # noqa: N818 - an answer for one image, caught by whoever plans it
    """Why an image cannot be imported as it is described.

    Args:
        code: Stable slug.
        reason: What is wrong; follows the image's name.
        hint: What to do, or None.
    """

    def __init__(self, code: str, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


def plan_asset(
    image: FoundImage,
    facts: FileFacts,
    vocabulary: Vocabulary,
    defaults: ProjectDefaults,
    folders: FolderWords | None = None,
) -> PlannedAsset:
    """Return what an image becomes.

    Args:
        image: The file.
        facts: All that is said about it, the command's options included.
        vocabulary: The words in force.
        defaults: Words of the project where nothing was said.
        folders: What the folders above it say.

    Raises:
        WordProblem: When a word is not one, or tags exclude each other.
    """
    asset_type = vocabulary.asset_types.get(facts.asset_type)
    if asset_type is None:
        raise _unknown_type(facts.asset_type, vocabulary)
    folders = folders or FolderWords()
    of_folders = [_tag_of_folder(group, word, vocabulary) for group, word in folders.tags]
    own = [_tag(tag, vocabulary) for tag in facts.tags]
    tags = tuple(dict.fromkeys((*of_folders, *own)))
    of_spec = dict.fromkeys(_tag(tag, vocabulary) for tag in facts.spec_tags)
    clashes = vocabulary.clashes(tags)
    if clashes:
        raise WordProblem(
            "tags_exclusive",
            f"is tagged {clashes[0]}",
            f"an image has one tag of {clashes[0].group}",
        )
    return PlannedAsset(
        name=image.name,
        path=image.path,
        title=_title(facts.title or _spoken(PurePosixPath(image.name).stem)),
        asset_type=asset_type.id,
        style=_word("style", vocabulary.style(facts.style or defaults.style)),
        scenario=_word("scenario", vocabulary.scenario(facts.scenario or defaults.scenario)),
        prompt=facts.prompt,
        tags=tags,
        spec_tags=(
            *(tag for tag in of_spec if tag not in tags),
            *vocabulary.fitting((*asset_type.default_tags, *defaults.tag_ids), (*tags, *of_spec)),
        ),
        provenance=Provenance(
            source=facts.source,
            author=facts.author,
            license=facts.license,
            url=facts.url,
            notes=facts.notes,
        ),
        rights=Rights(
            training=cast(TrainingRight, facts.training_rights or "unknown"),
            consent=facts.consent,
        ),
        rating=facts.rating,
        sha256=facts.sha256,
        origin=_origin(image, folders),
    )


def unknown_words(planned: Iterable[PlannedAsset], vocabulary: Vocabulary) -> Words:
    """Return the words of planned assets that no catalog has."""
    every = list(planned)
    tags = [tag for one in every for tag in (*one.tags, *one.spec_tags)]
    return Words(
        tags=tuple(unknown.word for unknown in vocabulary.unknown_tags(tags)),
        styles=_missing((one.style for one in every), vocabulary.styles),
        scenarios=_missing((one.scenario for one in every), vocabulary.scenarios),
    )


def _missing(words: Iterable[str], known: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(word for word in dict.fromkeys(words) if word and word not in known)


def _unknown_type(given: str, vocabulary: Vocabulary) -> WordProblem:
    unknown = unknown_word(given, vocabulary.asset_types)
    near = unknown.meant if unknown else None
    known = ", ".join(list(vocabulary.asset_types)[:8])
    return WordProblem(
        "asset_type_unknown",
        f"is of asset type {given!r}, which no catalog has",
        f"did you mean {near}?" if near else f"there are: {known}",
    )


def _origin(image: FoundImage, folders: FolderWords) -> dict[str, object]:
    origin: dict[str, object] = {"source": "import", "file": image.name}
    if folders.repeats:
        origin |= {"layout": "kohya", "repeats": folders.repeats, "folderWords": folders.words}
    return origin


def _tag_of_folder(group: str, word: str, vocabulary: Vocabulary) -> str:
    known = vocabulary.tag(f"{group}:{word}")
    if known in vocabulary.tags:
        return known
    tag = f"{group}:{slugify(word)}"
    if _TAG.fullmatch(tag):
        return vocabulary.tag(tag)
    raise WordProblem(
        "tag_invalid",
        f"stands in the folder {word!r}, of which no tag of {group} can be made",
        "a tag is letters a-z, digits, '_', '-' and '.'; rename the folder, or pass that level "
        "over with -",
    )


def _tag(given: str, vocabulary: Vocabulary) -> str:
    tag = vocabulary.tag(given)
    if _TAG.fullmatch(tag) or tag in vocabulary.tags:
        return tag
    same_value = [one for one in vocabulary.tags if one.partition(":")[2] == tag.casefold()]
    near = same_value[0] if same_value else did_you_mean(tag, vocabulary.tags)
    free = f"--tag-group GROUP takes free words: GROUP:{slugify(tag) or 'word'}"
    raise WordProblem(
        "tag_invalid",
        f"is tagged {given!r}, and a tag is group:value in lower case",
        f"did you mean {near}? {free}" if near else free,
    )


def _word(what: str, given: str) -> str:
    if not given or _WORD_ID.fullmatch(given):
        return given
    raise WordProblem(
        f"{what}_invalid",
        f"has the {what} {given!r}, and a {what} is one word of letters, digits, '_', '-', '.'",
    )


def _spoken(stem: str) -> str:
    words = " ".join(re.split(r"[\s_-]+", unicodedata.normalize("NFC", stem))).strip()
    return words[:1].upper() + words[1:]


def _title(text: str) -> str:
    printable = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(printable.split())[:_LONGEST_TITLE] or "Untitled"
