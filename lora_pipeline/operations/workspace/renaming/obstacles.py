"""What a renaming would break: then it is refused, and nothing is written.

A verdict, a grid and a history are bound by digests, and Git tells by their paths who brought
them. What binds an id so is never rewritten; so the id stays, and its label can change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.operations.workspace.renaming.references import Renaming
from lora_pipeline.workspace.documents import Document

_UNDER_WAY = frozenset({"created", "queued", "training"})
_VERDICTS = {
    "review": "review",
    "withdrawal-answer": "answer to a withdrawal",
    "blind-plan": "plan of a blind review",
    "blind-review": "blind review",
    "waiver": "waiver",
}
_RUN_FIELDS = {"lora": "loraId", "checkpoint": "checkpointId"}


class Obstacle(msgspec.Struct, frozen=True):
    """A record that keeps an id from being renamed.

    Attributes:
        code: Stable slug: ``bound_by_verdict``, ``bound_by_history``, ``bound_by_grid``,
            ``run_under_way``.
        document: The record.
        reason: Why, in words.
    """

    code: str
    document: Document
    reason: str


def obstacles(
    renaming: Renaming, found: Iterable[tuple[Document, Mapping[str, Any]]]
) -> list[Obstacle]:
    """Return what keeps an id from being renamed.

    Args:
        renaming: The id.
        found: The records that may name it, with their content.
    """
    return [one for document, content in found for one in _of(renaming, document, content)]


def _of(renaming: Renaming, document: Document, content: Mapping[str, Any]) -> Iterator[Obstacle]:
    kind = document.place.kind
    family = renaming.family
    whole_project = family == "project"
    if kind in _VERDICTS and (
        whole_project or (family == "lora" and content.get("loraId") == renaming.old)
    ):
        yield Obstacle(
            "bound_by_verdict",
            document,
            f"a {_VERDICTS[kind]} says {content.get('loraId')}, and a verdict is never rewritten"
            if not whole_project
            else f"Git tells by the path of a {_VERDICTS[kind]} who brought it",
        )
    if kind == "lora" and content.get("history"):
        named = family == "lora" and content.get("id") == renaming.old
        if whole_project or named:
            yield Obstacle(
                "bound_by_history",
                document,
                f"the history of {content.get('id')} is followed through Git by its path",
            )
    if kind == "run" and content.get("state") in _UNDER_WAY:
        field = _RUN_FIELDS.get(family)
        if whole_project or (field and content.get(field) == renaming.old):
            yield Obstacle(
                "run_under_way", document, f"run {content.get('id')} is {content.get('state')}"
            )
    if family == "asset-type" and kind == "evaluation":
        yield from _grid(renaming, document, content)


def _grid(renaming: Renaming, document: Document, content: Mapping[str, Any]) -> Iterator[Obstacle]:
    suite: Mapping[str, Any] = content.get("suite") or {}
    types: Sequence[str] = suite.get("assetTypes", ())
    if renaming.old in types and renaming.new not in types:
        yield Obstacle(
            "bound_by_grid",
            document,
            f"the grid of {content.get('loraId')} {content.get('releaseId')} was rendered for "
            f"{renaming.old}, and its suite is covered by a digest",
        )
