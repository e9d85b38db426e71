"""Writing an export: only over what an earlier export wrote, and nothing that was not proven.

``lora-export.json`` in the folder names every file that is the export's own. It is written
before the first file, as incomplete, and again after the last one. So an export that was
interrupted is completed by the next one, and a file that somebody else put there is never
taken for ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from lora_pipeline.catalog.imports.folder import EXPORT_NAME
from lora_pipeline.catalog.imports.marker import FORM, ExportedFile, ExportMarker, read_marker
from lora_pipeline.datasets.export.layouts import ExportPlan, PlacedImage
from lora_pipeline.datasets.image_files import image_files
from lora_pipeline.datasets.proving import prove_each, require_image
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.datasets.staging.pool import Named, StagingPool
from lora_pipeline.foundation import files
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    FileMissingError,
    PipelineError,
    RecordConflictError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace

_BATCH = 256
_READ_BY_TRAINERS = (".png", ".jpg", ".jpeg", ".webp", ".txt", ".caption", ".jsonl", ".csv")


class Obstacle(msgspec.Struct, frozen=True):
    """Why an export must not be written into a folder.

    Attributes:
        code: Stable slug.
        message: The reason.
        hint: What to do.
        files: The files that it is about.
    """

    code: str
    message: str
    hint: str
    files: tuple[str, ...] = ()


class Exported(msgspec.Struct, frozen=True):
    """What an export did.

    Attributes:
        written: Files that were written, in order.
        removed: Files of an earlier export that are in it no more.
        kept: Number of files that were what they should be.
    """

    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: int


class _Ready(NamedTuple):
    """A file that only has to be copied: its name in the export, where it is, its digest."""

    name: str
    file: str
    sha256: str


class Export:
    """One export into one folder.

    Args:
        workspace: The workspace.
        manifest: What is exported.
        plan: The files.
        folder: Where they go.
        originals: Whether images stay as they are.
        link: Whether images that stay as they are become hard links.
    """

    def __init__(
        self,
        workspace: Workspace,
        manifest: Manifest,
        plan: ExportPlan,
        folder: Path,
        *,
        originals: bool,
        link: bool,
    ) -> None:
        self._workspace, self._manifest, self._plan = workspace, manifest, plan
        self._folder, self._originals, self._link = folder, originals, link
        self._before = read_marker(folder)
        self._owned = {one.name: one.sha256 for one in self._before.files} if self._before else {}

    def obstacle(self) -> Obstacle | None:
        """Return why nothing may be written into the folder, or None."""
        if self._before is None:
            return self._strangers()
        if (self._before.layout, self._before.dataset_id) != (self._plan.layout, self._manifest.id):
            return Obstacle(
                "folder_taken",
                f"{self._folder} holds dataset {self._before.dataset_id} for {self._before.layout}",
                "export to another folder",
            )
        changed = self._changed()
        if changed:
            return Obstacle(
                "export_changed",
                f"{_counted(len(changed), 'file')} of the export {_was(changed)} changed since: "
                f"{_some(changed)}",
                f"lora asset import {self._folder} takes captions up; or export to another folder",
                tuple(changed),
            )
        return self._guests()

    def up_to_date(self) -> bool:
        """Return whether the folder holds this very export, every byte of it."""
        before = self._before
        return (
            before is not None
            and before.complete
            and before.plan == self._digest()
            and not before.changed(self._folder)
        )

    def write(self) -> Exported:
        """Write the export.

        Raises:
            DigestMismatchError: When an image is not what the manifest says.
            FileMissingError: When an image is not there.
            ImageRefusedError: When an image cannot be read safely.
            UnsafePathError: When a link in the folder leads out of it.
            LockedError, RecordConflictError: When another process exports into the folder, or
                did so since it was looked at.
        """
        # Exports into one folder come one after the other; others do not wait for them.
        name = digest_of(str(self._folder.resolve())).removeprefix("sha256:")[:16]
        locks = self._workspace.runtime / "exports" / name
        timeout_s = self._workspace.settings.number("lock.timeoutSeconds")
        with workspace_lock(locks, timeout_s=timeout_s):
            if read_marker(self._folder) != self._before:
                raise RecordConflictError(
                    f"somebody exported into {self._folder} meanwhile; nothing was written",
                    hint="run the command again",
                )
            return self._write()

    def _write(self) -> Exported:
        images = {image.name: image for image in self._plan.images}
        made = images | {image.mask: image for image in self._plan.images if image.mask}
        planned = (*made, *self._plan.texts)
        for name in planned:
            files.safe_join(self._folder, name)
        for left in files.stale_temporaries(self._folder):
            left.unlink(missing_ok=True)
        kept = {name for name in planned if self._is_right(name, made.get(name))}
        # What is not known to be right may be anything when we are interrupted.
        self._mark(
            self._owned | {name: self._owned[name] if name in kept else "" for name in planned},
            complete=False,
        )
        found = self._write_images(
            [one for name, one in images.items() if not kept >= {name, one.mask or name}]
        )
        self._write_texts([name for name in self._plan.texts if name not in kept])
        found |= {n: hashlib.sha256(data).hexdigest() for n, data in self._plan.texts.items()}
        found |= {name: sha256_of_file(self._folder / name) for name in kept}
        removed = self._remove(set(self._owned) - set(planned))
        self._mark(found, complete=True)
        return Exported(tuple(sorted(set(planned) - kept)), tuple(removed), len(kept))

    def _strangers(self) -> Obstacle | None:
        there = list(_files_below(self._folder))
        if self._folder.exists() and not self._folder.is_dir():
            return Obstacle("folder_taken", f"{self._folder} is a file", "name another folder")
        if not there:
            return None
        return Obstacle(
            "folder_taken",
            f"{self._folder} holds files that no export wrote: {_some(there)}",
            "export to an empty or a new folder",
            tuple(there),
        )

    def _guests(self) -> Obstacle | None:
        guests = [
            name
            for name in _files_below(self._folder)
            if name not in self._owned
            and name != EXPORT_NAME
            and name.lower().endswith(_READ_BY_TRAINERS)
        ]
        if not guests:
            return None
        return Obstacle(
            "folder_taken",
            f"{self._folder} holds {_counted(len(guests), 'file')} that no export wrote, and "
            f"trainers would read: {_some(guests)}",
            "move them away, or export to another folder",
            tuple(guests),
        )

    def _changed(self) -> list[str]:
        assert self._before is not None  # noqa: S101 - asked for after an export only
        # What is gone is nobody's work; and after an interruption not every digest is known.
        return [
            name
            for name in self._before.changed(self._folder)
            if self._owned[name] and os.path.lexists(self._folder / name)
        ]

    def _digest(self) -> str:
        return digest_of(
            {
                "form": FORM,
                "layout": self._plan.layout,
                "contentHash": self._manifest.content_hash,
                "pictures": self._pictures(),
                "images": [[one.name, one.item.sha256] for one in self._plan.images],
                "texts": {
                    name: hashlib.sha256(data).hexdigest()
                    for name, data in self._plan.texts.items()
                },
                "described": list(self._plan.described),
            }
        )

    def _pictures(self) -> str:
        if self._originals:
            return "originals"
        return digest_of({"form": FORM, "normalization": self._manifest.normalization.to_dict()})

    def _is_right(self, name: str, image: PlacedImage | None) -> bool:
        if self._before is None or name not in self._owned:
            return False
        if image is None:
            expected = hashlib.sha256(self._plan.texts[name]).hexdigest()
        elif self._originals:
            expected = image.item.sha256
        elif self._before.pictures == self._pictures():
            expected = self._owned[name]  # its name says which image it is
        else:
            return False
        try:
            return sha256_of_file(self._folder / name) == expected
        except FileMissingError:
            return False

    def _write_images(self, todo: Sequence[PlacedImage]) -> dict[str, str]:
        finder = image_files(self._workspace)
        pool = StagingPool(self._workspace, finder, self._manifest.normalization)
        ready: list[_Ready] = []
        to_normalise: list[Named] = []
        masks = {one.name: one.mask for one in todo}
        # All of them are proven before the first is written.
        for image, proof in prove_each(finder, ((one, one.item.path) for one in todo)):
            with self._hinting():
                source = require_image(image.item, proof)
            if not self._originals and not source.plain_png:
                to_normalise.append((image.name, image.item))
                continue
            ready.append(_Ready(image.name, source.file, image.item.sha256))
            if image.mask:
                ready.append(_Ready(image.mask, *pool.white(source.file)))
        made = _normalised(pool, to_normalise, masks)
        return dict(self._copied(itertools.chain(ready, made), len(todo)))

    @contextlib.contextmanager
    def _hinting(self) -> Iterator[None]:
        try:
            yield
        except PipelineError as error:
            error.hint = error.hint or f"lora dataset verify {self._manifest.id}"
            raise

    def _write_texts(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), _BATCH):
            files.write_all(
                [
                    files.Write(self._folder / name, data=self._plan.texts[name])
                    for name in names[start : start + _BATCH]
                ]
            )

    def _copied(self, ready: Iterable[_Ready], total: int) -> Iterator[tuple[str, str]]:
        """Write files in batches, and yield each one's name and digest."""
        done, coming = 0, iter(ready)
        while batch := list(itertools.islice(coming, _BATCH)):
            if self._link:
                for one in batch:
                    target = self._folder / one.name
                    target.unlink(missing_ok=True)
                    files.link_or_copy(Path(one.file), target)
            else:
                files.write_all(
                    [
                        files.Write(self._folder / name, source=Path(file), sha256=sha256)
                        for name, file, sha256 in batch
                    ]
                )
            yield from ((one.name, one.sha256) for one in batch)
            done = min(done + len(batch), total)
            self._workspace.events(
                Event("progress", "export", step=done, total=total, unit="images")
            )

    def _remove(self, names: set[str]) -> list[str]:
        removed = sorted(names)
        for name in removed:
            path = files.safe_join(self._folder, name)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            with contextlib.suppress(OSError):  # not empty, or the folder itself
                for parent in itertools.islice(path.parents, len(Path(name).parents) - 1):
                    parent.rmdir()
        return removed

    def _mark(self, names: dict[str, str], *, complete: bool) -> None:
        marker = ExportMarker(
            layout=self._plan.layout,
            dataset_id=self._manifest.id,
            content_hash=self._manifest.content_hash,
            plan=self._digest() if complete else "",
            pictures=self._pictures(),
            complete=complete,
            files=tuple(ExportedFile(name=name, sha256=names[name]) for name in sorted(names)),
            images=self._plan.described,
            masks=tuple(image.mask for image in self._plan.images if image.mask),
        )
        files.write_atomic(self._folder / EXPORT_NAME, marker.encoded())


def _normalised(
    pool: StagingPool, todo: Sequence[Named], masks: Mapping[str, str]
) -> Iterator[_Ready]:
    for (name, _), image, mask in pool.normalised(todo):
        yield _Ready(name, *image)
        if mask is not None and masks[name]:
            yield _Ready(masks[name], *mask)


def _files_below(folder: Path) -> Iterator[str]:
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.startswith(files.TEMPORARY_PREFIX):  # ours, of an interruption
                yield Path(here, name).relative_to(folder).as_posix()


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _was(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
