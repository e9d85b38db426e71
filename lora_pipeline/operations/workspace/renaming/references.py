"""Where ids stand in records: one table, and the walk that rewrites them. Pure.

A place is a JSON path: ``a.b`` is a member, ``[]`` every element of a list, ``{}`` every key of an
object, ``*`` every value of one. What is not in the table is never touched: captions and tags of
manifest items, reviews, answers, histories and everything else that a digest covers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import msgspec

Family = Literal[
    "project", "checkpoint", "lora", "asset-type", "style", "scenario", "palette", "tag",
    "tag-group",
]  # fmt: skip
FAMILIES: tuple[Family, ...] = get_args(Family)
WORDS = frozenset({"asset-type", "style", "scenario", "palette", "tag", "tag-group"})

_Places = dict[str, tuple[str, ...]]
_TAGS: _Places = {
    "project": ("defaults.tagIds[]", "policies.tagPromptMap.*{}"),
    "asset-types": ("assetTypes[].defaultTags[]",),
    "checkpoint-profile": ("tagOrder[]",),
    "spec": ("tags[]",),
    "asset": ("versions[].variants[].tags[]",),
    "dataset": ("selection.tags[]", "selection.notTags[]"),
}
PLACES: dict[Family, _Places] = {
    "project": {
        "project": ("id",),
        "spec": ("projectId",),
        "asset": ("projectId",),
        "dataset": ("projectId", "selection.projects[]"),
        "acknowledgement": ("projectId",),
    },
    "checkpoint": {
        "checkpoint": ("id",),
        "checkpoint-profile": ("checkpointId",),
        "project": (
            "policies.checkpointProfiles{}",
            "policies.checkpointBaselineMap{}",
            "policies.tagPromptMap{}",
        ),
        "spec": ("checkpointId",),
        "lora": ("checkpointId",),
        "run": ("checkpointId",),
        "evaluation": ("checkpointId",),
        "dataset": ("selection.checkpoints[]", "captionRule.checkpointId"),
    },
    "lora": {
        "lora": ("id",),
        "spec": ("loraIds[]",),
        "run": ("loraId",),
        "expense": ("loraId",),
        "evaluation": ("loraId",),
    },
    "asset-type": {
        "project": ("gate{}",),
        "checkpoint": ("supportedAssetTypes[]", "promptTemplates.perAssetType{}"),
        "checkpoint-profile": ("perAssetType{}",),
        "spec": ("assetType",),
        "lora": ("assetTypes[]",),
        "dataset": ("selection.assetTypes[]",),
    },
    "style": {
        "project": ("defaults.style",),
        "spec": ("style",),
        "dataset": ("selection.styles[]",),
    },
    "scenario": {
        "project": ("defaults.scenario",),
        "spec": ("scenario",),
        "dataset": ("selection.scenarios[]",),
    },
    "palette": {"project": ("defaults.paletteIds[]",)},
    "tag": _TAGS,
    "tag-group": _TAGS,
}
# Paths of files below the folder of the project; no digest covers them.
PATHS: _Places = {
    "asset": tuple(
        f"versions[].variants[].{name}" for name in ("originalPath", "alphaPath", "previewPath")
    ),
    "dataset": ("items[].path",),
}
# Names of groups where no tag follows.
GROUPS: _Places = {"dataset": ("selection.balance",)}
TEMPLATE: _Places = {"dataset": ("captionRule.template",)}

_STEP = re.compile(r"\[\]|\{\}|\*|[^.\[\]{}*]+")


class Renaming(msgspec.Struct, frozen=True):
    """One id that becomes another.

    Attributes:
        family: What it is the id of.
        old: As it was.
        new: As it will be.
    """

    family: Family
    old: str
    new: str

    def __str__(self) -> str:
        """Return it as the command says it."""
        return f"rename {self.family} {self.old} {self.new}"

    def rewritten(self, kind: str, document: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Return a document with every reference renamed, and how many there were."""
        if self.family == "tag-group":
            old, new = f"{self.old}:", f"{self.new}:"
            slot = re.compile(rf"\{{tags\.{re.escape(self.old)}(?=[:}}])")
            tables: list[tuple[_Places, Callable[[str], str]]] = [
                (_TAGS, lambda word: new + word[len(old) :] if word.startswith(old) else word),
                (GROUPS, self._exact),
                (TEMPLATE, lambda text: slot.sub(f"{{tags.{self.new}", text)),
            ]
        elif self.family == "project":
            home, other = f"projects/{self.old}/", f"projects/{self.new}/"
            tables = [
                (PLACES["project"], self._exact),
                (PATHS, lambda path: _moved(path, home, other)),
            ]
        else:
            tables = [(PLACES[self.family], self._exact)]
        count = 0
        for places, change in tables:
            document, changed = rewrite(document, places.get(kind, ()), change)
            count += changed
        return document, count

    def _exact(self, word: str) -> str:
        return self.new if word == self.old else word


def rewrite(
    document: dict[str, Any], places: Sequence[str], change: Callable[[str], str]
) -> tuple[dict[str, Any], int]:
    """Return a document with the texts at some places changed, and how many changed.

    A list in which a text would then stand twice keeps it once, where it stood first; a key that
    is there already keeps its value.
    """
    count = 0

    def counted(text: str) -> str:
        nonlocal count
        changed = change(text)
        count += changed != text
        return changed

    node: Any = document
    for place in places:
        node = _at(node, tuple(_STEP.findall(place)), counted)
    return node, count


def _at(node: Any, steps: tuple[str, ...], change: Callable[[str], str]) -> Any:
    if not steps:
        return change(node) if isinstance(node, str) else node
    step, rest = steps[0], steps[1:]
    if step == "[]":
        return _in_list(node, rest, change) if isinstance(node, list) else node
    if not isinstance(node, dict):
        return node
    if step == "{}":
        return _keys(node, change)
    if step == "*":
        return {key: _at(value, rest, change) for key, value in node.items()}
    return {**node, step: _at(node[step], rest, change)} if step in node else node


def _in_list(node: list[Any], rest: tuple[str, ...], change: Callable[[str], str]) -> list[Any]:
    changed = [_at(one, rest, change) for one in node]
    if rest or changed == node:
        return changed
    return list(dict.fromkeys(changed))


def _keys(node: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    renamed = {}
    for key, value in node.items():
        new = change(key)
        if new == key or new not in node:
            renamed[new] = value
    return renamed


def _moved(path: str, home: str, other: str) -> str:
    return other + path[len(home) :] if path.startswith(home) else path
