"""Rights: answers that were changed, withdrawals that were undone, and what still holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lora_pipeline.catalog.records import Asset, Project, ProjectRights
from lora_pipeline.catalog.rights.license import own_name, read_license
from lora_pipeline.catalog.rights.training import license_of, taken_back
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.releases.answers import is_unchanged
from lora_pipeline.releases.evidence.facts import TrainedManifest
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.records import Lora, WithdrawalAnswer
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.layout import FOLDERS, Scope, place_of
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_NAMED = 3


def rights_findings(
    workspace: Workspace, records: CollectedRecords, reader: EvidenceReader
) -> Iterator[Finding]:
    """Yield what is wrong with rights, beside what the gate finds in active releases.

    Args:
        workspace: Reads from ``records``.
        records: All records.
        reader: Knows what active releases were trained on, and what Git remembers.
    """
    rights = _Rights(workspace, records, reader)
    yield from rights.answers()
    yield from rights.undone()
    yield from rights.manifests()
    yield from rights.twins()
    for scope in records.scopes():
        yield from rights.licenses(scope)


class _Rights(msgspec.Struct, frozen=True):
    workspace: Workspace
    records: CollectedRecords
    reader: EvidenceReader

    def answers(self) -> Iterator[Finding]:
        """Answers are written once; another content is no answer."""
        for loaded in self.records.everywhere(WithdrawalAnswer):
            answer, where = loaded.record, self.workspace.relative(loaded.path)
            if not is_unchanged(answer):
                yield Finding(
                    "answer_edited",
                    "error",
                    where,
                    f"the answer of {answer.answered_by} was edited: its digest is not that of "
                    "its content",
                    "restore it from Git; whoever changed their mind answers again",
                )
            if self.reader.past.rewritten(loaded.path):
                yield Finding(
                    "answer_rewritten",
                    "error",
                    where,
                    f"the Git history holds another content for the answer of {answer.answered_by}",
                    "git log -p on the file shows who changed it; an answer is never changed",
                )
            yield from self._lost(loaded, where)

    def _lost(self, loaded: Loaded[WithdrawalAnswer], where: str) -> Iterator[Finding]:
        answer = loaded.record
        if not self.records.exists(Lora, loaded.scope, answer.lora_id):
            if not self.records.named(Lora, [loaded.scope], answer.lora_id):
                yield _reference(where, f"LoRA {answer.lora_id}")
        elif not self.records.read(Lora, loaded.scope, answer.lora_id).record.release(
            answer.release_id
        ):
            yield _reference(where, f"release {answer.release_id} of {answer.lora_id}")

    def undone(self) -> Iterator[Finding]:
        """What was withdrawn once stays withdrawn; Git remembers it."""
        top = self.reader.past.root
        data_root = self.workspace.data_root.resolve()
        if top is None or not data_root.is_relative_to(top.resolve()):
            return
        below = data_root.relative_to(top.resolve()).as_posix()
        folder = f":(top,glob){below}/projects/*/{FOLDERS[Asset.KIND]}/*.json"
        used: set[str] | None = None
        for name in git.paths_that_held(top, '"withdrawnAt"', [folder]):
            place = place_of((top / name).resolve().relative_to(data_root).as_posix())
            if place is None or not self.records.exists(Asset, place.scope, place.record_id):
                continue
            asset = self.records.read(Asset, place.scope, place.record_id)
            if asset.record.rights.withdrawn_at:
                continue
            used = self._in_use() if used is None else used
            yield Finding(
                "withdrawal_undone",
                "error" if asset.record_id in used else "warning",
                self.workspace.relative(asset.path),
                "it was withdrawn once, as Git remembers, and is not any more"
                + (", and an active release was trained on it" if asset.record_id in used else ""),
                f"lora asset withdraw {asset.record_id} --reason …; art that was given again is "
                "imported again",
            )

    def _in_use(self) -> set[str]:
        used: set[str] = set()
        for loaded in self.records.everywhere(Lora):
            release = loaded.record.release(loaded.record.active_release_id)
            found = self.reader.manifests.trained(loaded.scope, release) if release else None
            if isinstance(found, TrainedManifest):
                used |= {item.asset_id for item in found.manifest.items}
        return used

    def manifests(self) -> Iterator[Finding]:
        """Manifests take what was withdrawn until they are built again."""
        now = self.workspace.now()
        gone = {
            asset.record_id: back
            for asset in self.records.everywhere(Asset)
            if (back := taken_back(asset.record, now)) is not None
        }
        for manifest in self.records.everywhere(Manifest):
            held = [item.asset_id for item in manifest.record.items if item.asset_id in gone]
            if not held:
                continue
            build = f"lora dataset build {manifest.record_id}"
            expired = any(gone[one].code == "expired" for one in held)
            yield Finding(
                "withdrawn_in_manifest",
                "warning",
                self.workspace.relative(manifest.path),
                f"{len(held)} of {len(manifest.record.items)} images must no longer be used: "
                + "; ".join(f"{one} {gone[one].text}" for one in held[:_NAMED]),
                f"lora asset withdraw --expired, then {build}" if expired else build,
            )

    def twins(self) -> Iterator[Finding]:
        """The same image under another id is not withdrawn with it."""
        withdrawn: dict[str, str] = {}
        for asset in self.records.everywhere(Asset):
            if asset.record.rights.withdrawn_at:
                withdrawn |= dict.fromkeys(_digests(asset.record), asset.record_id)
        if not withdrawn:
            return
        for asset in self.records.everywhere(Asset):
            if asset.record.rights.withdrawn_at:
                continue
            same = next((withdrawn[one] for one in _digests(asset.record) if one in withdrawn), "")
            if same:
                yield Finding(
                    "withdrawn_twin",
                    "warning",
                    self.workspace.relative(asset.path),
                    f"it shows the same image as {same}, which was withdrawn, and is not "
                    "withdrawn itself",
                    f"lora asset withdraw {asset.record_id} --reason …",
                )

    def licenses(self, scope: Scope) -> Iterator[Finding]:
        """A misspelt licence is one that no rule knows; told once for each name."""
        projects = list(self.records.all(Project, scope))
        rights = projects[0].record.rights if projects else ProjectRights()
        first: dict[str, Path] = {}
        named: Counter[str] = Counter()
        for asset in self.records.all(Asset, scope):
            name = license_of(asset.record)
            if name:
                first.setdefault(name, asset.path)
                named[name] += 1
        for name, number in sorted(named.items()):
            meant = read_license(name, rights.allowed_licenses).meant
            if meant:
                count = "1 asset names" if number == 1 else f"{number} assets name"
                yield Finding(
                    "license_unknown",
                    "warning",
                    self.workspace.relative(first[name]),
                    f"{count} the licence {name!r}, which is no SPDX id",
                    f"did you mean {meant}? lora asset rights --license {meant}; a licence of "
                    f"your own: {own_name(name)}",
                )


def _reference(where: str, what: str) -> Finding:
    return Finding(
        "reference_lost", "error", where, f"it is about {what}, which is not there", "restore it"
    )


def _digests(asset: Asset) -> Iterator[str]:
    for version in asset.versions:
        for variant in version.variants:
            for image in (variant.original, variant.alpha):
                if image is not None:
                    yield from filter(None, (image.sha256, image.pixel_sha256))
