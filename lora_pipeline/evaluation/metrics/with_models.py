"""What models say of a grid: each value beside the base's, or the reason why there is none."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lora_pipeline.datasets.checks.measure_cache import MeasureCache
from lora_pipeline.datasets.records import Item
from lora_pipeline.engine.images import map_images
from lora_pipeline.evaluation.grid import spoken
from lora_pipeline.evaluation.metric_records import Compared, CopyCheck, Encoded
from lora_pipeline.evaluation.metrics import distances
from lora_pipeline.evaluation.metrics.cell_pairs import cell_pairs, drawn, valued, varied
from lora_pipeline.evaluation.metrics.encoder_session import (
    EncoderSession,
    PictureFile,
    open_encoder,
)
from lora_pipeline.evaluation.metrics.intervals import DIGITS, compared
from lora_pipeline.evaluation.metrics.training_images import NoTrainingImages, TrainingImages
from lora_pipeline.evaluation.metrics.without_models import ONE_SEED, Found
from lora_pipeline.evaluation.records import Cell, Evaluation
from lora_pipeline.foundation.errors import EncoderError, ExtraMissingError, ImageRefusedError
from lora_pipeline.foundation.images.client import ImageWorker
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore

WORTH_A_LOOK = 0.5
Training = TrainingImages | NoTrainingImages
_CHUNK = 32  # pictures that stand ready for an encoder at a time


class ModelMeasures:
    """Measures a grid with the encoders that the settings name.

    Args:
        workspace: Its settings name the models.
        record: The grid; every cell is rendered.
        store: Holds the cells' pictures.
        training: What was trained on; or why that is not to be had.
    """

    def __init__(
        self, workspace: Workspace, record: Evaluation, store: ObjectStore, training: Training
    ) -> None:
        self._workspace = workspace
        self._record = record
        self._store = store
        self._training = training
        self._pairs = cell_pairs(record)

    def measure(self) -> Found:
        """Return what every model says."""
        found = Found()
        self._with(found, "clip", ("clipText", "clipImage"), self._clip)
        self._with(found, "dino", ("dino",), self._dino)
        self._with(found, "lpips", ("lpipsVariety",), self._lpips)
        self._with(found, "copies", ("copies",), self._copies)
        return found

    def _with(
        self,
        found: Found,
        kind: Any,
        names: Sequence[str],
        use: Callable[[EncoderSession, Found], None],
    ) -> None:
        try:
            with open_encoder(self._workspace, kind) as session:
                use(session, found)
        except (EncoderError, ExtraMissingError, ImageRefusedError) as error:
            hint = f"; {error.hint}" if isinstance(error, ExtraMissingError) else ""
            found.not_proven |= dict.fromkeys(names, f"{error.message}{hint}")

    def _clip(self, session: EncoderSession, found: Found) -> None:
        vectors = self._cells(session, self._both())
        prompts = {one.id: spoken(one.text, "") for one in self._suite_prompts()}
        asked = sorted({pair.lora.prompt_id for pair in self._pairs})
        texts = dict(zip(asked, session.texts([prompts[one] for one in asked]), strict=True))

        def adherence(cell: Cell) -> float:
            return float(vectors[cell.image_sha256] @ texts[cell.prompt_id])

        found.values["clip_text"] = _encoded(session, compared(valued(self._pairs, adherence)))
        self._likeness(session, vectors, found, "clip_image", "clipImage")

    def _dino(self, session: EncoderSession, found: Found) -> None:
        vectors = self._cells(session, self._both())
        self._likeness(session, vectors, found, "dino", "dino")

    def _likeness(
        self,
        session: EncoderSession,
        vectors: dict[str, distances.Floats],
        found: Found,
        name: str,
        written_as: str,
    ) -> None:
        if isinstance(self._training, NoTrainingImages):
            found.not_proven[written_as] = self._training.reason
            return
        # The mean of cosines with unit vectors is the cosine with their mean.
        middle = self._trained(session, self._training).mean(axis=0)

        def likeness(cell: Cell) -> float:
            return float(vectors[cell.image_sha256] @ middle)

        found.values[name] = _encoded(session, compared(valued(self._pairs, likeness)))

    def _lpips(self, session: EncoderSession, found: Found) -> None:
        def distance(one: Cell, other: Cell) -> float:
            return session.distance(self._file(one), self._file(other))

        variety = compared(varied(self._pairs, distance))
        if variety is None:
            found.not_proven["lpipsVariety"] = ONE_SEED
        else:
            found.values["lpips_variety"] = _encoded(session, variety)

    def _copies(self, session: EncoderSession, found: Found) -> None:
        if isinstance(self._training, NoTrainingImages):
            found.not_proven["copies"] = self._training.reason
            return
        items = self._training.items
        cells = drawn(self._record.cells, base=False)
        bases = drawn(self._record.cells, base=True)
        vectors = self._cells(session, [*cells, *bases])
        trained = np.concatenate(
            [
                self._trained(session, self._training),
                self._trained(session, self._training, mirrored=True),
            ]
        )
        best, places = distances.best_matches(_rows(vectors, cells), trained)
        where = int(best.argmax())
        item = items[int(places[where]) % len(items)]
        highest = _similarity(best[where])
        found.values["copies"] = CopyCheck(
            similarity=highest,
            cell_id=cells[where].id,
            asset_id=item.asset_id,
            image_sha256=item.sha256,
            mirrored=int(places[where]) >= len(items),
            base=_similarity(distances.nearest(_rows(vectors, bases), trained).similarity)
            if bases
            else None,
            cells=len(cells),
            images=len(items),
            worth_a_look=int((best >= WORTH_A_LOOK).sum()),
            encoder=session.encoder,
        )
        found.values["copy_similarity_max"] = highest

    def _suite_prompts(self) -> Sequence[Any]:
        return self._record.suite.prompts if self._record.suite else ()

    def _both(self) -> list[Cell]:
        return [cell for pair in self._pairs for cell in (pair.lora, pair.base)]

    def _file(self, cell: Cell) -> PictureFile:
        return PictureFile(self._store.open_path(cell.image_sha256), cell.width, cell.height)

    def _cells(self, session: EncoderSession, cells: Sequence[Cell]) -> dict[str, distances.Floats]:
        by_content = {cell.image_sha256: cell for cell in cells}

        def encode(wanted: Sequence[str]) -> Iterator[tuple[str, distances.Floats]]:
            for chunk in _chunks(wanted):
                rows = session.images([self._file(by_content[one]) for one in chunk])
                yield from zip(chunk, rows, strict=True)

        found = self._remembered(session, list(by_content), encode, "cells")
        return dict(zip(by_content, found, strict=True))

    def _trained(
        self, session: EncoderSession, training: TrainingImages, *, mirrored: bool = False
    ) -> distances.Floats:
        by_content = {item.sha256: item for item in training.items}

        def encode(wanted: Sequence[str]) -> Iterator[tuple[str, distances.Floats]]:
            for chunk in _chunks(wanted):
                with tempfile.TemporaryDirectory(prefix="lora-encoder-") as folder:
                    items = [by_content[one] for one in chunk]
                    files = self._normalised(training, items, Path(folder))
                    yield from zip(chunk, session.images(files, mirrored=mirrored), strict=True)

        form = f"{training.background} {'mirrored' if mirrored else 'as it is'}"
        return self._remembered(session, list(by_content), encode, form)

    def _normalised(
        self, training: TrainingImages, items: Sequence[Item], folder: Path
    ) -> list[PictureFile]:
        def one(worker: ImageWorker, item: Item) -> PictureFile:
            data = training.read(item)
            if isinstance(data, str):
                raise EncoderError(f"image of {item.asset_id}: {data}")
            source, target = folder / item.sha256, folder / f"{item.sha256}.png"
            source.write_bytes(data)
            made = worker.normalise(source, target, background=training.background, name=item.path)
            return PictureFile(target, made.width, made.height)

        return list(map_images(self._workspace, one, items, topic="encode"))

    def _remembered(
        self,
        session: EncoderSession,
        contents: Sequence[str],
        encode: Callable[[Sequence[str]], Iterator[tuple[str, distances.Floats]]],
        form: str,
    ) -> distances.Floats:
        """Return one vector for each content; those that are known are not made again."""
        cache = _cache(self._workspace, session, form)
        unknown = [one for one in contents if one not in cache]
        try:
            for sha256, vector in encode(unknown):
                cache.add(_Vector(sha256, vector))
        finally:
            if unknown and not self._workspace.dry_run:
                cache.save(contents)
        return np.asarray(cache.rows(contents)["vector"], dtype=np.float32)


class _Vector:
    def __init__(self, sha256: str, vector: distances.Floats) -> None:
        self.sha256 = sha256
        self.vector = vector


def _cache(workspace: Workspace, session: EncoderSession, form: str) -> MeasureCache:
    row = np.dtype([("sha256", "u1", (32,)), ("vector", "<f4", (session.size,))])
    encoder = session.encoder
    pillow = importlib.metadata.version("pillow")
    seal = f"1 {encoder.digest} {encoder.version} {pillow} {form}\n".encode("utf-8", "replace")
    name = f"vectors-{encoder.digest.removeprefix('sha256:')[:12]}-{_slug(form)}"

    def as_row(one: _Vector) -> tuple[object, ...]:
        return np.frombuffer(bytes.fromhex(one.sha256), dtype=np.uint8), one.vector

    return MeasureCache(workspace.runtime / "cache" / name, seal, row, as_row)


def _slug(form: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in form.lower()).strip("-")


def _encoded(session: EncoderSession, value: Compared | None) -> Encoded | None:
    if value is None:
        return None
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    return Encoded(**fields, encoder=session.encoder)


def _rows(vectors: dict[str, distances.Floats], cells: Sequence[Cell]) -> distances.Floats:
    return np.stack([vectors[cell.image_sha256] for cell in cells])


def _similarity(value: float | np.floating[Any]) -> float:
    # Rounding may lead a little beyond the same.
    return round(max(-1.0, min(1.0, float(value))), DIGITS)


def _chunks(wanted: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(wanted), _CHUNK):
        yield wanted[start : start + _CHUNK]
