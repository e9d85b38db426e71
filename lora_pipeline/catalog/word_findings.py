"""What is wrong with the words that images carry: the same answer at a build and in validate.

Decides only. The codes are stable: ``tag_unknown``, ``tags_exclusive``, and ``<word>_unknown`` for
asset types, styles, scenarios and palettes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lora_pipeline.catalog.vocabulary import Vocabulary, unknown_word
from lora_pipeline.foundation.findings import Finding


class WordProblem(msgspec.Struct, frozen=True):
    """One word, or several, that may not stand where they do.

    Attributes:
        code: Stable slug.
        message: What is wrong.
        fix: The command that mends it.
    """

    code: str
    message: str
    fix: str


def tag_problems(tags: Iterable[str], vocabulary: Vocabulary) -> Iterator[WordProblem]:
    """Yield tags that no catalog has, and tags that exclude each other."""
    listed = tuple(tags)
    for unknown in vocabulary.unknown_tags(listed):
        yield WordProblem(
            "tag_unknown",
            f"tag {unknown.word} is in no catalog",
            f"did you mean {unknown.meant}? lora rename tag {unknown.word} {unknown.meant}"
            if unknown.meant
            else f"lora catalog add tag {unknown.word}",
        )
    for clash in vocabulary.clashes(listed):
        yield WordProblem(
            "tags_exclusive", str(clash), f"lora asset tag ID --remove {clash.tags[-1]}"
        )


def word_problem(what: str, word: str, known: Mapping[str, object]) -> WordProblem | None:
    """Return why a word may not stand where it does, or None; an empty word is none.

    Args:
        what: What it is: ``style``, ``asset type``, …
        word: The word.
        known: The words in force.
    """
    unknown = unknown_word(word, known) if word else None
    if unknown is None:
        return None
    kind = what.replace(" ", "-")
    return WordProblem(
        f"{what.replace(' ', '_')}_unknown",
        f"{what} {word} is in no catalog",
        f"did you mean {unknown.meant}? lora rename {kind} {word} {unknown.meant}"
        if unknown.meant
        else f"lora catalog add {kind} {word}",
    )


def findings_of_images(
    images: Iterable[tuple[str, ...]], vocabulary: Vocabulary, where: str
) -> list[Finding]:
    """Return what is wrong with the tags of many images: each word once, with its number."""
    counts: dict[WordProblem, int] = {}
    for tags, number in Counter(images).items():  # most images share their tags with others
        for problem in tag_problems(tags, vocabulary):
            counts[problem] = counts.get(problem, 0) + number
    return [
        Finding(
            problem.code,
            "warning",
            where,
            f"{'1 image' if count == 1 else f'{count} images'}: {problem.message}",
            problem.fix,
        )
        for problem, count in counts.items()
    ]
