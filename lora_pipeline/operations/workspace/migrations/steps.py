"""What each migration does to one document. Pure: a document in, another one out, nothing read.

A step that finds nothing of the older form returns the document that it was given, so that doing
it twice is the same as doing it once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PureWindowsPath
from typing import Any

import msgspec

from lora_pipeline.datasets.records import CaptionRule
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.ids import slugify
from lora_pipeline.operations.workspace.renaming.references import PLACES, rewrite

Document = dict[str, Any]
_DIGEST = re.compile(r"(?:sha-?256:)?([0-9a-f]{64})", re.IGNORECASE)
_CAPTION_FIELDS = {
    "captionStrategy": "strategy",
    "includePromptTokens": "includePromptTokens",
}


class Facts(msgspec.Struct, frozen=True):
    """What a step may know besides the document itself.

    Attributes:
        tag_groups: The group of each tag that a catalog defines without one: ``flat`` to
            ``style``.
    """

    tag_groups: Mapping[str, str] = msgspec.field(default_factory=dict)


Step = Callable[[Document, Facts], Document]


def plain_digests(document: Document, _: Facts) -> Document:
    """Write digests of files as 64 lower-case digits, without the name of the algorithm."""
    places = (
        "items[].sha256",
        "releases[].sha256",
        "releases[].weights.sha256",
        "weights.sha256",
        "vaeWeights.sha256",
    )
    return rewrite(document, places, _plain)[0]


def namespaced_tags(document: Document, facts: Facts) -> Document:
    """Write tags as ``group:value``, by the group that the catalog has them in."""
    if isinstance(document.get("groups"), list):
        return {**document, "groups": [_namespaced_group(one) for one in document["groups"]]}
    places = [place for table in PLACES["tag"].values() for place in table]
    places.append("items[].tags[]")
    return rewrite(document, places, lambda tag: _namespaced(tag, facts))[0]


def captions_into_rule(document: Document, _: Facts) -> Document:
    """Move the caption settings of a manifest from its selection into its caption rule."""
    selection = document.get("selection")
    if not isinstance(selection, dict):
        return document
    moved = {
        name: selection[field] for field, name in _CAPTION_FIELDS.items() if field in selection
    }
    if not moved and "note" not in selection:
        return document
    changed = {
        **document,
        "selection": {
            name: value
            for name, value in selection.items()
            if name not in _CAPTION_FIELDS and name != "note"
        },
    }
    if moved:
        rule = CaptionRule().to_dict() | document.get("captionRule", {})
        changed["captionRule"] = rule | moved
    note, provenance = selection.get("note"), document.get("provenance", {})
    if note and not provenance.get("notes"):
        changed["provenance"] = {**provenance, "notes": note}
    return changed


def local_path_into_weights(document: Document, _: Facts) -> Document:
    """Turn the path of one machine into a reference to weights that says its kind."""
    changed = _with_weights(document) if "supportedAssetTypes" in document else document
    releases = changed.get("releases")
    if not isinstance(releases, list):
        return changed
    return {
        **changed,
        "releases": [_with_weights(one) if isinstance(one, dict) else one for one in releases],
    }


def named_schema(kind: str) -> Step:
    """Return the step that names the schema of a kind."""

    def step(document: Document, _: Facts) -> Document:
        return document if "schema" in document else {"schema": f"{kind}/v1", **document}

    return step


def _plain(digest: str) -> str:
    found = _DIGEST.fullmatch(digest)
    return found.group(1).lower() if found else digest


def _namespaced_group(group: Any) -> Any:
    if not isinstance(group, dict) or not isinstance(group.get("tags"), list):
        return group
    return {
        **group,
        "tags": [
            {**tag, "id": _in_group(str(group.get("id")), tag["id"])}
            if isinstance(tag, dict) and isinstance(tag.get("id"), str) and ":" not in tag["id"]
            else tag
            for tag in group["tags"]
        ],
    }


def _namespaced(tag: str, facts: Facts) -> str:
    group = facts.tag_groups.get(tag)
    return tag if ":" in tag or group is None else _in_group(group, tag)


def _in_group(group: str, tag: str) -> str:
    value = slugify(tag)
    return f"{group}:{value}" if value else tag


def _with_weights(node: Document) -> Document:
    path = node.get("localPath")
    if not isinstance(path, str) or not path:
        return node
    rest = {name: value for name, value in node.items() if name != "localPath"}
    if "weights" in node:
        return rest  # the reference was the stronger one already
    absolute = path.startswith("/") or bool(PureWindowsPath(path).drive)
    if not absolute and unsafe_reason(path):
        return node
    weights: Document = {"kind": "absolute" if absolute else "repo_relative", "path": path}
    sha256 = node.get("sha256")
    if isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{16,64}", sha256):
        weights["sha256"] = sha256
    return {**rest, "weights": weights}
