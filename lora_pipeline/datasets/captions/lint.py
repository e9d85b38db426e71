"""The rules that captions are held to, each with a stable code, a severity and a fix. Pure.

A rule looks at one caption, or at all of them together; none changes a caption.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from lora_pipeline.datasets.captions.syntax import syntax_in
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.findings import Finding, Severity

_SHORTEST, _LONGEST = 10, 500
_ENOUGH_TO_COMPARE = 4
_MARKS_IN_A_ROW = 3
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = re.compile(r"[\r\n\u0085\u2028\u2029]+")
_FILE_NAME = re.compile(
    r"\.(png|jpe?g|webp|gif|tiff?|bmp|psd|avif)\b|\b(img|dsc|image|untitled|unnamed|screenshot)"
    r"[ _-]?\d*\b(?=$|,)",
    re.IGNORECASE,
)

# Cyrillic, Greek and other letters, and digits, that are taken for Latin letters.
_SEEN_AS = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d\u04bb"
    "\u043a\u043c\u0442\u0432\u043d\u03bf\u03bd\u03b9\u03ba\u03b1\u03c1\u03c4\u03c5\u03c7"
    "\u0251\u0261\u0131\u026a01",
    "aeopcyxijsdqwhkmtbhovikaptuxagiiol",
)


class Subject(msgspec.Struct, frozen=True):
    """A caption to look at.

    Attributes:
        where: What messages call it: an asset, or a file.
        text: The caption; None where there is none.
        asset_id: The asset that it is of, where it is one's.
    """

    where: str
    text: str | None
    asset_id: str = ""


class Rule(msgspec.Struct, frozen=True):
    """How bad it is, and what mends it."""

    severity: Severity
    fix: str


_SAY_MORE = "tag the image, or build with --caption tags+spec+title"
_MEND_SOURCE = "correct the title, tag or prompt token that it comes from"
RULES: dict[str, Rule] = {
    "caption_missing": Rule("error", "write one beside the image: NAME.txt"),
    "caption_empty": Rule("error", _SAY_MORE),
    "caption_not_utf8": Rule("error", "save the file as UTF-8"),
    "caption_byte_order_mark": Rule("warning", "save the file as UTF-8 without BOM"),
    "caption_carriage_return": Rule("warning", "save the file with LF line ends"),
    "caption_orphan": Rule("warning", "give it the name of its image, or delete it"),
    "caption_control": Rule("error", _MEND_SOURCE),
    "caption_lines": Rule("error", "write it in one line: kohya_ss reads the first line only"),
    "caption_direction": Rule(
        "error", "take the character out: it shows another text than is read"
    ),
    "caption_invisible": Rule(
        "warning", "take the character out: nobody sees it, the model reads it"
    ),
    "caption_combining": Rule("warning", _MEND_SOURCE),
    "caption_syntax": Rule("warning", "say it in words"),
    "caption_too_long": Rule("warning", "shorten it: what comes after is not read"),
    "captions_cut": Rule("info", "put what matters first"),
    "trigger_missing": Rule("error", "build the dataset again: the trigger word comes first"),
    "trigger_in_word": Rule("error", "write the trigger word as a word of its own"),
    "trigger_case": Rule("warning", "write the trigger word in one way everywhere"),
    "trigger_lookalike": Rule("error", "type the trigger word anew: these are other letters"),
    "caption_short": Rule("warning", _SAY_MORE),
    "caption_wordy": Rule("warning", "say what is in the image, and leave the rest out"),
    "caption_word_twice": Rule("warning", "say it once"),
    "caption_file_name": Rule("warning", "give the asset a title that says what it shows"),
    "caption_shared": Rule("info", "say what sets the images apart, or leave one out"),
    "captions_alike": Rule("warning", "say what sets the images apart: " + _SAY_MORE),
}
"""Every rule by its code."""


def finding(code: str, where: str, message: str) -> Finding:
    """Return a finding with the severity and the fix of its rule."""
    rule = RULES[code]
    return Finding(code, rule.severity, where, message, rule.fix)


def subjects_of(manifest: Manifest) -> tuple[Subject, ...]:
    """Return the captions of a manifest; what messages call them are the ids of the assets."""
    return tuple(Subject(item.asset_id, item.caption, item.asset_id) for item in manifest.items)


def by_code(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return findings of captions by their rule: the worst first, then the most frequent."""
    groups: dict[str, list[Finding]] = {}
    for one in findings:
        groups.setdefault(one.code, []).append(one)
    order = sorted(groups, key=lambda code: (_ORDER[RULES[code].severity], -len(groups[code])))
    return {code: groups[code] for code in order}


_ORDER = {"error": 0, "warning": 1, "not_proven": 2, "info": 3}


def lint_captions(subjects: Sequence[Subject], *, trigger_word: str = "") -> list[Finding]:
    """Return what is wrong with captions, in their order; then what is with all together.

    Args:
        subjects: The captions.
        trigger_word: The word that each of them must hold, or empty.
    """
    trigger = _TriggerRule(trigger_word) if trigger_word else None
    judged: dict[str | None, list[tuple[str, str]]] = {}  # many images share a caption
    for subject in subjects:
        if subject.text not in judged:
            text = subject.text
            judged[text] = [*_severe(text, trigger), *_mild(text)]
    found = [
        finding(code, subject.where, message)
        for subject in subjects
        for code, message in judged[subject.text]
    ]
    return [*found, *_together(subjects)]


def severe_findings(subjects: Sequence[Subject], *, trigger_word: str = "") -> list[Finding]:
    """Return what would spoil a training, and nothing else; some times faster than all rules."""
    trigger = _TriggerRule(trigger_word) if trigger_word else None
    return [
        finding(code, subject.where, message)
        for subject in subjects
        for code, message in _severe(subject.text, trigger)
    ]


def _severe(text: str | None, trigger: _TriggerRule | None) -> Iterator[tuple[str, str]]:
    if text is None:
        yield "caption_missing", "there is no caption"
        return
    if _says_nothing(text):
        yield "caption_empty", "the caption is empty"
        return
    if not (text.isascii() and text.isprintable()):
        yield from _characters(text)
    yield from syntax_in(text)
    if trigger:
        yield from trigger.judge(text)


def _says_nothing(text: str) -> bool:
    return all(one.isspace() or _is_invisible(one) for one in text)


def _mild(text: str | None) -> Iterator[tuple[str, str]]:
    if text is None or _says_nothing(text):
        return
    yield from _length(text)
    yield from _said_twice(text)
    if match := _FILE_NAME.search(text):
        yield "caption_file_name", f"{match.group()!r} looks like the name of a file"


def _characters(text: str) -> Iterator[tuple[str, str]]:
    if _LINE_ENDS.search(text.strip()):
        yield "caption_lines", f"it has {len(_LINE_ENDS.split(text.strip()))} lines"
    for code, wanted in _KINDS:
        hits = [(place, one) for place, one in enumerate(text, start=1) if wanted(one)]
        if hits:
            place, character = hits[0]
            more = f", and {len(hits) - 1} more" if len(hits) > 1 else ""
            yield code, f"{name_of(character)} at character {place}{more}"
    run = 0
    for place, character in enumerate(unicodedata.normalize("NFC", text), start=1):
        run = run + 1 if unicodedata.combining(character) else 0
        if run > _MARKS_IN_A_ROW:
            yield "caption_combining", f"marks are piled on one letter before character {place}"
            return


def _is_control(character: str) -> bool:
    is_line_end = character in "\r\n\u0085\u2028\u2029"
    return unicodedata.category(character) in _CONTROL and not is_line_end


def _is_invisible(character: str) -> bool:
    if character in _DIRECTION:
        return False
    odd_space = unicodedata.category(character) == "Zs" and character != " "
    return odd_space or unicodedata.category(character) == "Cf" or character in "\u115f\u1160\u3164"


_KINDS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("caption_control", _is_control),
    ("caption_direction", _DIRECTION.__contains__),
    ("caption_invisible", _is_invisible),
)


def name_of(character: str) -> str:
    """Return what a character is called, without showing it."""
    name = unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


def _length(text: str) -> Iterator[tuple[str, str]]:
    length = len(text)
    if length < _SHORTEST:
        yield "caption_short", f"{length} characters say little; {_SHORTEST} or more are advised"
    elif length > _LONGEST:
        yield "caption_wordy", f"it has {length} characters; at most {_LONGEST} are advised"


def _said_twice(text: str) -> Iterator[tuple[str, str]]:
    words = [word.strip().casefold() for word in text.split(",")]
    twice = [word for word, count in Counter(words).items() if word and count > 1]
    if twice:
        yield "caption_word_twice", f"{twice[0]!r} is said {words.count(twice[0])} times"


def _together(subjects: Sequence[Subject]) -> Iterator[Finding]:
    texts = Counter(subject.text for subject in subjects if subject.text)
    total = sum(texts.values())
    first = {subject.text: subject.where for subject in reversed(subjects)}
    for text, count in texts.most_common():
        if count == 1:
            return
        if total >= _ENOUGH_TO_COMPARE and count * 2 >= total:
            message = f"{count} of {total} images have one caption; training cannot tell them apart"
            yield finding("captions_alike", first[text], message)
        else:
            yield finding("caption_shared", first[text], f"{count} images have this caption")


class _TriggerRule:
    """Whether a trigger word stands in a caption, as itself and as a word of its own."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._folded = word.casefold()
        self._skeleton = skeleton(word)

    def judge(self, text: str) -> Iterator[tuple[str, str]]:
        if text.startswith(self._word) and text[len(self._word) : len(self._word) + 1] in ", ":
            return  # as captions of ours begin; in "" of a text that ends here, too
        words = _words(text)
        if self._word in words:
            return
        other_case = next((word for word in words if word.casefold() == self._folded), None)
        alike = next((word for word in words if skeleton(word) == self._skeleton), None)
        if other_case:
            yield "trigger_case", f"it says {other_case}, the trigger word is {self._word}"
        elif alike:
            odd = next((one for one in alike if one not in self._word), alike[0])
            yield (
                "trigger_lookalike",
                f"it says {self._word} in other letters: {name_of(odd)}",
            )
        elif self._folded in text.casefold():
            holder = next(word for word in words if self._folded in word.casefold())
            yield "trigger_in_word", f"{self._word} is only a part of {holder}"
        else:
            yield "trigger_missing", f"the trigger word {self._word} is not in it"


def skeleton(word: str) -> str:
    """Return a word as the eye reads it: equal for words that can be taken for each other."""
    plain = unicodedata.normalize("NFKD", word)
    seen = (one for one in plain if not unicodedata.combining(one) and not _is_invisible(one))
    return "".join(seen).casefold().translate(_SEEN_AS)


def _words(text: str) -> list[str]:
    # A trigger word may hold any mark but spaces and commas; marks around a word are not of it.
    words = re.split(r"[\s,]+", text)
    return [form for word in words for form in (word, word.strip(".;:!?()[]\"'")) if form]
