"""What records say that their schema cannot judge: times, lineage, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.validation.collected import CollectedRecords
from lora_pipeline.operations.validation.kinds import KINDS
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

# Clocks of several machines differ; more than this is a wrong clock or a wrong hand.
_TOLERANCE = timedelta(minutes=5)
_NAME = re.compile(r"^at$|At$")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def form_findings(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    """Yield impossible and future times, releases that descend from themselves, and other forms.

    A record in another form (key order, tabs, line ends) is as good as any: digests are taken
    over its meaning. It is told because the next command that changes it writes it anew, which
    a diff shows.
    """
    latest = (workspace.clock().astimezone(UTC) + _TOLERANCE).strftime("%Y-%m-%dT%H:%M:%SZ")
    others: list[str] = []
    for kind in KINDS.values():
        for loaded in records.everywhere(kind):
            document = loaded.record.to_dict()
            where = workspace.relative(loaded.path)
            for field, time in _times(document):
                finding = _judged(where, field, time, latest)
                if finding is not None:
                    yield finding
            if _is_other_form(loaded, document):
                others.append(where)
    for loaded in records.everywhere(Lora):
        yield from _circles(loaded.record, workspace.relative(loaded.path))
    if others:
        yield _other_form(others)


def _times(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "items":  # of a manifest: thousands, and none has a time
                yield from _times(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _times(inner, name)
    # Open members of other tools may hold any text.
    elif isinstance(value, str) and _NAME.search(name) and _TIME.fullmatch(value):
        yield name, value


def _judged(where: str, field: str, time: str, latest: str) -> Finding | None:
    try:
        datetime.fromisoformat(f"{time[:19]}Z")
    except ValueError:
        message = f"{field} is {time}, and there is no such day"
        return Finding("time_impossible", "error", where, message, "correct it")
    if time[:19] <= latest[:19]:
        return None
    return Finding(
        "time_in_future",
        "warning",
        where,
        f"{field} is {time}, which is still to come",
        "set the clock of the machine that wrote it",
    )


def _circles(lora: Lora, where: str) -> Iterator[Finding]:
    parents = {release.id: release.parent_release_id for release in lora.releases}
    told: set[str] = set()
    for start in parents:
        way: list[str] = []
        here = start
        while here in parents and here not in way:
            way.append(here)
            here = parents[here]
        if here in way and not told & set(way):
            circle = way[way.index(here) :]
            told |= set(circle)
            path = " → ".join([*circle, here])
            yield Finding(
                "lineage_circle",
                "error",
                where,
                f"a release cannot descend from itself: {path}",
                "correct parentReleaseId of one of them",
            )


def _is_other_form(loaded: Loaded[Any], document: dict[str, Any]) -> bool:
    kind = type(loaded.record)
    return loaded.digest != digest_of_bytes(
        strict_json.dumps(document, one_line_each=kind.ONE_LINE_EACH)
    )


def _other_form(paths: list[str]) -> Finding:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return Finding(
        "form_differs",
        "info",
        paths[0],
        f"it{more} is not written as lora writes it (order of keys, tabs, line ends, defaults); "
        "the next command that changes it will",
    )
