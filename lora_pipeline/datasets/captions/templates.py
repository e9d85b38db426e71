"""The form of a caption: text with named slots, and nothing that could be run. Decides only.

A template is text in which ``{name}`` is a slot and ``[…]`` a section that is left out when none
of its slots has anything to say. There are the slots below, ``{tags.GROUP}`` for the tags of one
group, and ``:and`` after a name, which joins the last two words by "and". There is nothing else:
what stands in a slot is put in as it is and never looked at again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import msgspec

from lora_pipeline.foundation.errors import CaptionInvalidError
from lora_pipeline.foundation.ids import did_you_mean

SLOTS = (
    "trigger", "prefix", "tags", "title", "prompt", "type", "style", "scenario", "tokens",
    "suffix",
)  # fmt: skip
# Models whose text encoder was trained on sentences. The others read words between commas.
_SENTENCES = frozenset(
    {
        "sd3", "flux1", "flux2", "chroma", "zimage", "qwen_image", "lumina2", "hunyuan_image",
        "wan", "anima",
    }
)  # fmt: skip
BUILT_IN = {
    "sentence": "[{trigger}, ][{prefix} ]{type}[ of {title}][: {tags}][, {tokens}].[ {suffix}.]"
}
"""Templates by name. The form without a name, words between commas, is called ``tags``."""

WORDS = "tags"
_LONGEST = 500
_GROUP = re.compile(r"tags\.[a-z0-9][A-Za-z0-9_-]{0,62}")
_PART = re.compile(r"[^{}\[\]]+|\{[^{}\[\]]*\}|[{}\[\]]")


class Text(msgspec.Struct, frozen=True):
    """Words of the template itself."""

    text: str


class Slot(msgspec.Struct, frozen=True):
    """A place for words.

    Attributes:
        name: One of ``SLOTS``, or ``tags.GROUP``.
        joined_by_and: Whether "and" stands between the last two words.
    """

    name: str
    joined_by_and: bool = False

    @property
    def group(self) -> str:
        """The tag group that the slot is for, or empty."""
        return self.name.partition(".")[2]


class Section(msgspec.Struct, frozen=True):
    """Parts that stand or fall together.

    Attributes:
        parts: Texts and slots.
        optional: Whether it is left out when none of its slots has words.
    """

    parts: tuple[Text | Slot, ...]
    optional: bool


class Template(msgspec.Struct, frozen=True, dict=True):
    """A template, understood.

    Attributes:
        sections: What it is made of, in order.
    """

    sections: tuple[Section, ...]

    def slots(self, *, required: bool = False) -> Iterator[Slot]:
        """Yield its slots; with ``required`` those alone that stand in no optional section."""
        for section in self.sections:
            if not (required and section.optional):
                yield from (part for part in section.parts if isinstance(part, Slot))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its slots, each once."""
        return tuple(dict.fromkeys(slot.name for slot in self.slots()))

    @functools.cached_property
    def groups(self) -> frozenset[str]:
        """The tag groups that have a slot of their own."""
        return frozenset(slot.group for slot in self.slots() if slot.group)


def usual_form(architecture: str) -> str:
    """Return what captions for a model of an architecture look like: ``tags`` or ``sentence``."""
    return "sentence" if architecture in _SENTENCES else WORDS


@functools.lru_cache(maxsize=64)
def parse_template(text: str) -> Template:
    """Return a template, understood.

    Raises:
        CaptionInvalidError: When it is not of the language; names the place and the rule.
    """
    if len(text) > _LONGEST:
        raise _broken(f"has {len(text)} characters, at most {_LONGEST} are allowed")
    sections: list[Section] = []
    parts: list[Text | Slot] = []
    inside = False
    for match in _PART.finditer(text):
        found, place = match.group(), match.start() + 1
        if found in ("[", "]"):
            if (found == "[") == inside:
                raise _broken(
                    f"has a {found} at character {place}; sections do not stand in each other"
                )
            _close(sections, parts, place, optional=inside)
            inside, parts = not inside, []
        elif found in ("{", "}"):
            raise _broken(f"has a lone {found} at character {place}")
        else:
            parts.append(_slot(found[1:-1], place) if found[0] == "{" else Text(found))
    if inside:
        raise _broken("has a section that is not closed by ]")
    _close(sections, parts, len(text), optional=False)
    template = Template(tuple(sections))
    if not any(template.slots()):
        raise _broken("has no slot, so every caption would be the same")
    return template


def _close(
    sections: list[Section], parts: list[Text | Slot], place: int, *, optional: bool
) -> None:
    if optional and not any(isinstance(part, Slot) for part in parts):
        raise _broken(f"has a section without a slot before character {place}")
    if parts:
        sections.append(Section(tuple(parts), optional))


def _slot(inner: str, place: int) -> Slot:
    name, colon, join = inner.partition(":")
    if colon and join != "and":
        raise _broken(f"says {{{inner}}} at character {place}; after : there is only and")
    if name in SLOTS or _GROUP.fullmatch(name):
        return Slot(name, joined_by_and=bool(colon))
    near = did_you_mean(name, SLOTS)
    raise CaptionInvalidError(
        f"the caption template says {{{inner}}} at character {place}, which is no slot",
        hint=f"did you mean {{{near}}}?"
        if near
        else "slots are " + " ".join(f"{{{one}}}" for one in SLOTS) + " {tags.GROUP}",
    )


def _broken(rule: str) -> CaptionInvalidError:
    return CaptionInvalidError(
        f"the caption template {rule}", hint="{name} is a slot, [ … ] a section that may be empty"
    )
