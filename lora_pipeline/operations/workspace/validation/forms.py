"""What records say that their schema cannot judge: times, lineage, and how they are written."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.operations.workspace.validation.kinds import KINDS
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.root import Workspace

# Clocks of several machines differ; more than this is a wrong clock or a wrong hand.
_TOLERANCE = timedelta(minutes=5)
# The members that hold times, as records write them; open members may hold any text.
_TIME = re.compile(rb'"(at|[A-Za-z]*At)":\s?"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"')


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
            data = strict_json.read_bytes(loaded.path)
            for field, time in _TIME.findall(data):
                if not _was(time, latest.encode()):
                    where = workspace.relative(loaded.path)
                    yield _of_time(where, field.decode(), time.decode())
            if not _is_our_form(data, kind.ONE_LINE_EACH):
                others.append(workspace.relative(loaded.path))
    for loaded in records.everywhere(Lora):
        yield from _circles(loaded.record, workspace.relative(loaded.path))
    if others:
        yield _other_form(others)


def _was(time: bytes, latest: bytes) -> bool:
    return _is_possible(time[:19]) and time[:19] <= latest[:19]


@functools.lru_cache(maxsize=4096)  # the records of one import share their times
def _is_possible(time: bytes) -> bool:
    try:
        datetime.fromisoformat(f"{time.decode()}+00:00")
    except ValueError:
        return False
    return True


def _of_time(where: str, field: str, time: str) -> Finding:
    if not _is_possible(time[:19].encode()):
        message = f"{field} is {time}, and there is no such day"
        return Finding("time_impossible", "error", where, message, "correct it")
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


def _is_our_form(data: bytes, one_line_each: Iterable[str]) -> bool:
    if not one_line_each:
        # The same characters as below in most cases, for a fifth of the time.
        flat = msgspec.json.encode(msgspec.json.decode(data), order="deterministic")
        if msgspec.json.format(flat, indent=2) + b"\n" == data:
            return True
    document = strict_json.loads(data, "record")
    return strict_json.dumps(document, one_line_each=one_line_each) == data


def _other_form(paths: list[str]) -> Finding:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return Finding(
        "form_differs",
        "info",
        paths[0],
        f"it{more} is not written as lora writes it (order of keys, tabs, line ends); "
        "the next command that changes it will",
    )
