"""What Git knows of records that must never be rewritten: verdicts, manifests, histories."""

from __future__ import annotations

import functools
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.blind.records import BlindReview
from lora_pipeline.evaluation.records import Review
from lora_pipeline.foundation.errors import RecordError, RepositoryError
from lora_pipeline.foundation.record import Record
from lora_pipeline.releases.records import HistoryEntry, Lora
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.git import witness as git_witness
from lora_pipeline.workspace.layout import FOLDERS
from lora_pipeline.workspace.record_bytes import parse_record
from lora_pipeline.workspace.root import Workspace

R = TypeVar("R", bound=Record)
V = TypeVar("V", Review, BlindReview)
_VERDICTS = ("reviews", "answers", "blind-plans", "blind-reviews", "waivers")


@dataclass(frozen=True)
class RecordPast:
    """The past of a workspace's records, read from Git once and kept.

    Attributes:
        workspace: Whose records.
    """

    workspace: Workspace
    _lost_verdicts: dict[type[Record], list[Any]] = field(default_factory=dict, init=False)

    @functools.cached_property
    def root(self) -> Path | None:
        """The top of the repository, or None outside of one."""
        return git.repository_root(self.workspace.root)

    @functools.cached_property
    def known(self) -> bool:
        """Whether Git can say anything at all."""
        return self._verdicts is not None

    @functools.cached_property
    def shallow(self) -> bool:
        """Whether the older part of the history is missing here."""
        return self.root is not None and git.is_shallow(self.root)

    def first_author(self, path: Path) -> str:
        """Return who committed a review or an answer first, or empty when nobody did."""
        past = (self._verdicts or {}).get(self._name(path))
        return past.first_author if past else ""

    def rewritten(self, path: Path) -> bool:
        """Return whether history holds another content for a verdict than its file now."""
        past = (self._verdicts or {}).get(self._name(path))
        if past is None or not past.blobs:
            return False
        now = git.blob_id(path.read_bytes(), like=past.blobs[0])
        return any(blob != now for blob in past.blobs)

    @functools.cached_property
    def signatures(self) -> dict[str, git_witness.Signature]:
        """What Git says of the commits that brought the verdicts, by commit."""
        if self.root is None:
            return {}
        commits = {past.first_commit for past in (self._verdicts or {}).values()}
        return git_witness.signatures(self.root, commits - {""})

    def signature(self, path: Path) -> git_witness.Signature:
        """Return what Git says of the signature of the commit that brought a verdict."""
        past = (self._verdicts or {}).get(self._name(path))
        none = git_witness.Signature("none")
        return self.signatures.get(past.first_commit, none) if past else none

    @functools.cached_property
    def joined_people(self) -> list[frozenset[str]]:
        """Addresses that a ``.mailmap`` joined, at any time."""
        return git_witness.people_ever_joined(self.workspace.root)

    def removed_reviews(self, weights_sha256: str, present: Container[str]) -> list[Review]:
        """Return reviews of some weights that were committed once and are no longer there.

        They are looked for in every folder that ever held reviews, and told by what they bind:
        moving a project, or the whole data folder, loses none.

        Args:
            weights_sha256: Digest of the weights.
            present: Digests of the reviews that are there.
        """
        return [one for one in self._gone(Review) if _lost(one, weights_sha256, present)]

    def removed_blinds(self, weights_sha256: str, present: Container[str]) -> list[BlindReview]:
        """Return blind reviews that are no longer there, as ``removed_reviews`` does."""
        return [one for one in self._gone(BlindReview) if _lost(one, weights_sha256, present)]

    def _gone(self, kind: type[V]) -> list[V]:
        if kind not in self._lost_verdicts:
            marker = f"/{FOLDERS[kind.KIND]}/"
            found = [
                self._parsed(kind, past.blobs[0])
                for name, past in (self._verdicts or {}).items()
                if past.blobs and marker in f"/{name}" and not self._path(name).is_file()
            ]
            self._lost_verdicts[kind] = [one for one in found if one is not None]
        return self._lost_verdicts[kind]

    def moved_histories(self, lora: Lora) -> list[tuple[HistoryEntry, ...]]:
        """Return the last histories of LoRAs that are gone and had weights of this one."""
        weights = {one.weights.sha256 for one in lora.releases if one.weights}
        found = [
            self._parsed(Lora, past.blobs[0])
            for name, past in (self._loras or {}).items()
            if past.blobs and not self._path(name).is_file()
        ]
        return [
            gone.history
            for gone in found
            if gone is not None
            and gone.history
            and weights & {one.weights.sha256 for one in gone.releases if one.weights}
        ]

    def earlier_manifests(self, path: Path, content_hash: str = "") -> list[Manifest]:
        """Return every manifest that history holds for a file, newest first.

        With ``content_hash`` only those that state it, which is known without parsing them.
        """
        past = (self._manifests or {}).get(self._name(path))
        found = [
            self._parsed(Manifest, blob, content_hash) for blob in (past.blobs if past else ())
        ]
        return [manifest for manifest in found if manifest is not None]

    def manifests_holding(self, content_hash: str) -> Iterator[Manifest]:
        """Yield every manifest of the history, under any name, that states a content hash."""
        for past in (self._manifests or {}).values():
            for blob in past.blobs:
                manifest = self._parsed(Manifest, blob, content_hash)
                if manifest is not None:
                    yield manifest

    def earlier_histories(self, path: Path) -> list[tuple[HistoryEntry, ...]]:
        """Return every history that the present branch ever held in a LoRA's file."""
        past = (self._loras or {}).get(self._name(path))
        found = [self._parsed(Lora, blob) for blob in (past.blobs if past else ())]
        return [lora.history for lora in found if lora is not None]

    @functools.cached_property
    def _verdicts(self) -> dict[str, git.Past] | None:
        return self._past(*_VERDICTS, mainline=False)

    @functools.cached_property
    def _manifests(self) -> dict[str, git.Past] | None:
        return self._past("datasets", mainline=False)

    @functools.cached_property
    def _loras(self) -> dict[str, git.Past] | None:
        # On a branch that was merged, a promotion may have been dropped for a better one.
        return self._past("loras", mainline=True)

    def _past(self, *folders: str, mainline: bool) -> dict[str, git.Past] | None:
        data_root = self.workspace.data_root.resolve()
        if self.root is None or not data_root.is_relative_to(self.root.resolve()):
            return None
        specs = [f":(top,glob)**/{folder}/*.json" for folder in folders]
        return git.past_of(self.root, specs, mainline=mainline)

    def _parsed(self, kind: type[R], blob: str, holding: str = "") -> R | None:
        assert self.root is not None  # noqa: S101 - blobs come from it
        try:
            data = git.blob_bytes(self.root, blob)
            if holding.encode() not in data:
                return None
            document = parse_record(kind, data, blob)
            return kind.from_dict(document)
        except (RecordError, RepositoryError):
            return None

    def _name(self, path: Path) -> str:
        root = self.root or self.workspace.root
        return path.resolve().relative_to(root.resolve()).as_posix()

    def _path(self, name: str) -> Path:
        return (self.root or self.workspace.root) / name


def _lost(review: Review | BlindReview, weights_sha256: str, present: Container[str]) -> bool:
    return review.binding.weights_sha256 == weights_sha256 and review.digest not in present
