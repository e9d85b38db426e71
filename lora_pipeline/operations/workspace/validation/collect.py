"""Walk the data root: every file once, its path, its form and what must never be in it."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.files import TEMPORARY_PREFIX, unsafe_reason
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.workspace.validation.collected import (
    CollectedRecords,
    Key,
    Packed,
    packed,
)
from lora_pipeline.operations.workspace.validation.kinds import KINDS
from lora_pipeline.workspace.layout import (
    FOLDERS,
    RecordPlace,
    is_outside_records,
    place_of,
)
from lora_pipeline.workspace.record_bytes import record_from
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

# Tokens as their issuers write them, private keys, and passwords inside an address.
_SECRETS = re.compile(
    rb"\b(?:hf_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}"
    rb"|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}"
    rb"|AIza[0-9A-Za-z_-]{35}|sk-[A-Za-z0-9_-]{20,}|xox[abps]-[A-Za-z0-9-]{10,})"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    rb"|[a-z][a-z0-9+.-]{1,20}://[^/\s:@\"]{1,64}:[^/\s@\"]{3,}@"
)
# Kinds of the base format that are about making images, not about LoRAs.
_FOREIGN = re.compile(
    r"^((?:shared|projects/[^/]+)/(?:spec-lists|atlases|export-profiles|exports|jobs|events"
    r"|automation-rules|automation-runs|baseline-profiles|baseline-profile\.json))(?:/[^/]+)*$"
)


@dataclass
class Collection:
    """What a walk found.

    Attributes:
        records: The valid records.
        findings: What is wrong with files by themselves.
        checked: How many records were looked at.
    """

    records: CollectedRecords
    findings: list[Finding] = field(default_factory=list)
    checked: int = 0


def collect(workspace: Workspace, project: str | None = None) -> Collection:
    """Read every record below the data root once.

    Args:
        workspace: Whose records.
        project: Look for faults in this project and the shared records only. Others are read
            all the same, because records name each other.
    """
    walk = _Walk(workspace, project)
    walk.run()
    return Collection(
        CollectedRecords(workspace.data_root, walk.loaded, walk.broken), walk.findings, walk.checked
    )


class _Walk:
    def __init__(self, workspace: Workspace, project: str | None) -> None:
        self.workspace = workspace
        self.project = project
        self.loaded: dict[Key, Loaded[Any] | Packed] = {}
        self.broken: set[Key] = set()
        self.findings: list[Finding] = []
        self.checked = 0
        self._spellings: dict[str, str] = {}
        self._foreign: Counter[str] = Counter()

    def run(self) -> None:
        for path, relative in self._files():
            self._look_at(path, relative)
        for folder, count in sorted(self._foreign.items()):
            words = "1 record" if count == 1 else f"{count} records"
            self._add(
                "not_ours",
                self.workspace.data_root / folder,
                f"{words} of the base format that this program does not use, not checked",
                severity="info",
            )

    def _files(self) -> Iterator[tuple[Path, str]]:
        root = self.workspace.data_root
        for folder, folders, names in os.walk(root):
            here = Path(folder)
            folders.sort()
            for name in list(folders):
                if (here / name).is_symlink():
                    folders.remove(name)
                    self._add("link", here / name, "a link stands in the place of a folder")
            for name in sorted(names):
                path = here / name
                yield path, path.relative_to(root).as_posix()

    def _look_at(self, path: Path, relative: str) -> None:
        if path.name.startswith(TEMPORARY_PREFIX):
            self._left_over(path)
        elif path.name.startswith(".") or path.suffix != ".json":
            return
        elif not is_outside_records(relative):
            self._record(path, relative)

    def _record(self, path: Path, relative: str) -> None:
        place = place_of(relative)
        mine = self.project is None or not relative.startswith("projects/")
        mine = mine or relative.startswith(f"projects/{self.project}/")
        before = len(self.findings)
        self._names(path, relative)
        if place is None and (foreign := _FOREIGN.match(relative)):
            self._foreign[foreign.group(1)] += 1
            return
        if place is None:
            self._add(
                "path_unknown",
                path,
                "no kind of record stands at this path",
                fix=_where_records_stand(relative),
            )
        else:
            self._parse(path, place)
        if mine:
            self.checked += 1
        else:
            del self.findings[before:]

    def _names(self, path: Path, relative: str) -> None:
        reason = unsafe_reason(relative)
        if reason:
            self._add("path_unsafe", path, f"its path {reason}", fix="rename it")
        if path.is_symlink():
            self._add("link", path, "a link stands in the place of a record", fix="copy the file")
        spelling = unicodedata.normalize("NFC", relative).casefold()
        twin = self._spellings.setdefault(spelling, relative)
        if twin != relative:
            self._add("path_collision", path,
                      f"on macOS and Windows it is the same file as {twin}",
                      fix="rename one of them")  # fmt: skip

    def _parse(self, path: Path, place: RecordPlace) -> None:
        kind = KINDS[place.kind]
        key = (place.kind, place.scope, place.record_id)
        try:
            data = strict_json.read_bytes(path)
            if holds_secret(data):
                self._add("secret", path, "it holds what looks like a token, key or password",
                          fix="remove it, and revoke it: Git keeps what was committed")  # fmt: skip
            record = record_from(kind, data, self.workspace.relative(path))
        except PipelineError as error:
            self.broken.add(key)
            self._invalid(path, error)
            return
        stated = getattr(record, "id", place.record_id)
        expected = place.scope.project_id if place.kind == "project" else place.record_id
        if (place.kind in FOLDERS or place.kind == "project") and stated != expected:
            self._add(
                "id_differs",
                path,
                f"it holds the id {stated!r}, its place says {expected!r}",
                fix="the file name is the id: rename the file, or correct the id",
            )
        self.loaded[key] = packed(
            Loaded(record, place.scope, place.record_id, path, digest_of_bytes(data))
        )

    def _invalid(self, path: Path, error: PipelineError) -> None:
        shown, where = error.violations or (error.message,), self.workspace.relative(path)
        for violation in shown:
            words = str(violation).removeprefix(where).lstrip(": ")
            self._add(error.code, path, words, fix=error.hint or "")

    def _left_over(self, path: Path) -> None:
        self._add(
            "left_over",
            path,
            "an interrupted write left it; nothing names it",
            severity="warning",
            fix=f"rm {self.workspace.relative(path)}",
        )

    def _add(
        self, code: str, path: Path, message: str, *, severity: Any = "error", fix: str = ""
    ) -> None:
        where = self.workspace.relative(path)
        self.findings.append(Finding(code, severity, where, message, fix))


def _where_records_stand(relative: str) -> str:
    name = relative.rpartition("/")[2]
    folders = ", ".join(FOLDERS.values())
    return f"move {name} to the folder of its kind ({folders}), or below files/"


def holds_secret(data: bytes) -> bool:
    """Return whether bytes hold what looks like a token, a private key or a password."""
    return _SECRETS.search(data) is not None
