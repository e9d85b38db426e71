"""What the rule made of each asset when it was built last, believed while its records stay.

Whether an asset comes in, and with which caption, depends on its record, its spec, and on what
all assets share: the rule, the project's policy, the catalogs. While these are as they were, so
is the outcome, and no record is parsed again. What the image is stands in the index of images,
and is asked there.

It is a cache: whatever is odd about it, it counts as empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from sys import intern
from typing import NamedTuple

import msgspec

from lora_pipeline import __version__
from lora_pipeline.datasets.described import Described
from lora_pipeline.datasets.picks import Reason
from lora_pipeline.datasets.records import Item
from lora_pipeline.datasets.rules import DatasetRule
from lora_pipeline.datasets.selection import LeftOut, Sieve
from lora_pipeline.foundation.files import walk
from lora_pipeline.workspace.file_times import is_racy
from lora_pipeline.workspace.layout import FOLDERS, SHARED, Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.stat_index import Stamp, stamp_of

_BATCH = 1000  # outcomes that are written in one go
_BATCH_HEAD = struct.Struct("<II")  # length and checksum of a batch
_KEPT = 16  # worlds; each rule, and each change of a catalog, makes another one
_PACKAGE = Path(__file__).parent.parent
# Folders of a scope that no outcome depends on, or whose files are looked at one by one.
_ELSEWHERE = frozenset({"assets", "specs", "datasets", "files", "evals", "runs", "reviews"})
_CODE = (
    "datasets", "datasets/captions", "catalog", "catalog/assets", "catalog/rights", "workspace",
    "foundation",
)  # fmt: skip


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of one asset.

    Attributes:
        project_id: Its project.
        asset_id: The asset.
        spec_id: Its spec.
        stamps: Of the files of both records.
        stopped: Number of the filter that it did not pass, or -1.
        title: What it shows.
        why: Code, text and summary of the reason, when it did not pass.
        matches: Whether it is what was asked for all the same.
        item: Its line of the manifest, when it passed.
        rest: Rating, author and source, when it passed.
    """

    project_id: str
    asset_id: str
    spec_id: str
    stamps: tuple[Stamp, Stamp]
    stopped: int
    title: str
    why: tuple[str, str, str] | None = None
    matches: bool = False
    item: Item | None = None
    rest: tuple[int, str, str] = (0, "", "")

    def described(self, item: Item) -> Described:
        """Return the image that passed."""
        return Described(item, self.title, *self.rest, self.project_id, self.spec_id)


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """An outcome as it is kept: most are looked at one by one, and only once."""

    project_id: str
    asset_id: str
    outcome: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Outcome).decode
_NO_STAMPS = (Stamp(0, 0, 0, 0), Stamp(0, 0, 0, 0))


class _Key(NamedTuple):
    project_id: str
    asset_id: str


class Remembered:
    """The outcomes of one rule in one world.

    Args:
        workspace: The workspace.
        projects: The projects whose assets are looked at.
        rule: The rule.
        stands: The lines of the manifest as it stands. One that is recalled as it was is that
            very line, and takes no room of its own.
    """

    def __init__(
        self,
        workspace: Workspace,
        projects: list[str],
        rule: DatasetRule,
        stands: Iterable[Item] = (),
    ) -> None:
        self._workspace = workspace
        self._lines = {item.asset_id: item for item in stands}
        self._began_ns = time.time_ns()
        self._world = _world(workspace, projects, rule, self._began_ns)
        self._data = str(workspace.data_root)
        self._known = self._load()
        self._recalled: set[_Key] = set()

    def recall(self, sieve: Sieve, project_id: str, asset_id: str) -> Outcome | None:
        """Return what became of an asset when nothing it depends on has changed, else None.

        One that was left out is counted by the sieve.
        """
        key = _Key(project_id, asset_id)
        kept = self._known.get(key)
        if kept is None:
            return None
        outcome = _decode(kept)
        if outcome.stamps != self._stamps(outcome):
            return None
        self._recalled.add(key)
        line = self._lines.get(asset_id)
        if line is not None and line == outcome.item:
            outcome = msgspec.structs.replace(outcome, item=line)
        if outcome.why is not None:
            left = LeftOut(asset_id, outcome.title, Reason(*outcome.why), matches=outcome.matches)
            sieve.count(outcome.stopped, outcome.spec_id, project_id, left)
        return outcome

    def keep(self, sieve: Sieve, described: Iterable[Described]) -> None:
        """Remember what became of every asset, and of no other, for the next build.

        Args:
            sieve: Knows those that were left out.
            described: Those that passed.
        """
        found = self._found(sieve, described)
        first = next(found, None)
        if not self._world or (first is None and len(self._recalled) == len(self._known)):
            return
        fresh = itertools.chain(() if first is None else (first,), found)
        settled = (_kept(outcome) for outcome in fresh if not self._is_young(outcome))
        recalled = (_Kept(*key, self._known[key]) for key in self._known if key in self._recalled)
        self._save(itertools.chain(recalled, settled))

    def _found(self, sieve: Sieve, described: Iterable[Described]) -> Iterator[Outcome]:
        """Yield what was not known before."""
        for stop in sieve.stops:
            left, reason = stop.left_out, stop.left_out.reason
            if _Key(stop.project_id, left.asset_id) not in self._recalled:
                yield self._stamped(
                    Outcome(
                        stop.project_id, left.asset_id, stop.spec_id, _NO_STAMPS, stop.row,
                        left.title, (reason.code, reason.text, reason.summary), left.matches,
                    )
                )  # fmt: skip
        for one in described:
            key = _Key(one.project_id, one.item.asset_id)
            if key not in self._recalled and one.objection is None:
                rest = (one.rating, one.author, one.source)
                yield self._stamped(
                    Outcome(*key, one.spec_id, _NO_STAMPS, -1, one.title, item=one.item, rest=rest)
                )

    def _stamped(self, outcome: Outcome) -> Outcome:
        return msgspec.structs.replace(outcome, stamps=self._stamps(outcome))

    def _stamps(self, outcome: Outcome) -> tuple[Stamp, Stamp]:
        place = f"{self._data}/projects/{outcome.project_id}"
        return (
            _stamp(f"{place}/{FOLDERS['asset']}/{outcome.asset_id}.json"),
            _stamp(f"{place}/{FOLDERS['spec']}/{outcome.spec_id}.json"),
        )

    def _is_young(self, outcome: Outcome) -> bool:
        return any(_is_young(stamp, self._began_ns) for stamp in outcome.stamps)

    @property
    def _file(self) -> Path:
        return self._workspace.runtime / "cache" / "outcomes" / self._world

    def _load(self) -> dict[_Key, msgspec.Raw]:
        if not self._world:
            return {}
        # Whatever is wrong with a cache, it is made anew.
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
            kept = _kept_in(self._file.read_bytes())
            return {_Key(intern(one.project_id), one.asset_id): one.outcome for one in kept}
        return {}

    def _save(self, outcomes: Iterator[_Kept]) -> None:
        temporary = self._file.with_name(f".lora-tmp-{self._world}-{os.getpid()}")
        with contextlib.suppress(OSError):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as stream:
                    stream.writelines(_batches_of(outcomes))
                temporary.replace(self._file)
            finally:
                temporary.unlink(missing_ok=True)
            worlds = sorted(self._file.parent.iterdir(), key=lambda file: -file.stat().st_mtime_ns)
            for old in worlds[_KEPT:]:
                old.unlink(missing_ok=True)


def _kept(outcome: Outcome) -> _Kept:
    return _Kept(outcome.project_id, outcome.asset_id, msgspec.Raw(_encode(outcome)))


def _batches_of(outcomes: Iterator[_Kept]) -> Iterator[bytes]:
    """Yield a file of outcomes in pieces: of all at once there would be a second copy."""
    while batch := list(itertools.islice(outcomes, _BATCH)):
        data = _encode(batch)
        yield _BATCH_HEAD.pack(len(data), zlib.crc32(data))
        yield data
    yield _BATCH_HEAD.pack(0, 0)  # a file that was cut has no end


def _kept_in(data: bytes) -> Iterator[_Kept]:
    decode = msgspec.msgpack.Decoder(list[_Kept]).decode
    view, start = memoryview(data), 0
    while True:
        length, checksum = _head_at(view, start)
        start += _BATCH_HEAD.size
        if not length:
            return
        batch = view[start : start + length]
        if zlib.crc32(batch) != checksum:
            raise ValueError("damaged")
        yield from decode(batch)
        start += length


def _head_at(data: memoryview, start: int) -> tuple[int, int]:
    if start + _BATCH_HEAD.size > len(data):
        raise ValueError("cut")
    length, checksum = _BATCH_HEAD.unpack_from(data, start)
    return length, checksum


def _world(workspace: Workspace, projects: list[str], rule: DatasetRule, began_ns: int) -> str:
    """Return a name for all that outcomes share, or nothing while that is too young."""
    shared = {
        file: _stamp(file)
        for scope in (SHARED, *map(Scope, projects))
        for file in walk(f"{workspace.data_root}/{scope.folder}", without=_ELSEWHERE)
    }
    code = [_stamp(str(_PACKAGE / folder)) for folder in _CODE]
    if any(_is_young(stamp, began_ns) for stamp in shared.values()):
        return ""
    day = workspace.now()[:10]  # licences and consents end with one
    named = (__version__, code, day, sorted(shared.items()), rule.captions, rule.selection)
    # A folder may have a name that is no text, so this is no canonical JSON.
    return hashlib.sha256(ascii(named).encode()).hexdigest()[:32]


def _stamp(file: str) -> Stamp:
    try:
        return stamp_of(os.stat(file))  # noqa: PTH116 - 20,000 of them
    except OSError:
        return Stamp(-1, 0, 0, 0)


def _is_young(stamp: Stamp, began_ns: int) -> bool:
    return is_racy(stamp.mtime_ns, began_ns) or is_racy(stamp.ctime_ns, began_ns)
