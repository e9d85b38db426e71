"""A workspace with many approved assets, written without the command line.

Importing 100,000 images takes longer than measuring what comes after it.
The records are those that ``lora asset import`` and ``lora asset approve`` write, made by the
same types, and ``lora validate`` accepts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lora_pipeline.catalog.records import (
    Asset,
    ImageIdentity,
    Project,
    ProjectDefaults,
    Prompt,
    Provenance,
    Spec,
    Variant,
    Version,
)
from lora_pipeline.foundation.file_facts import FileReader
from lora_pipeline.foundation.record import Record
from lora_pipeline.workspace.record_bytes import encode_record

NOON = "2026-01-01T12:00:00Z"
PROJECT = "bench"
COLOURS = ("red", "green", "blue", "gold", "black", "white", "grey", "brown")


def make_studio(folder: Path, images: Iterable[Path], *, size: int) -> None:
    """Write a workspace whose assets are hard links to ``images``, all of ``size`` pixels."""
    scope = folder / "data" / "projects" / PROJECT
    for name in ("assets", "specs", "datasets", "files/images"):
        (scope / name).mkdir(parents=True)
    (folder / "config").mkdir()
    (folder / "config" / "pipeline.yaml").write_text(f"project: {PROJECT}\n", encoding="utf-8")
    project = Project(
        id=PROJECT,
        name="Bench",
        created_at=NOON,
        updated_at=NOON,
        defaults=ProjectDefaults(style="flat", scenario="plain"),
    )
    _write(scope / "project.json", project)
    reader = FileReader()
    for number, image in enumerate(images):
        _add(scope, reader, image, number, size)


def _add(scope: Path, reader: FileReader, image: Path, number: int, size: int) -> None:
    facts = reader.facts(str(image))
    asset_id, spec_id, version_id, variant_id = (f"{number:025d}{kind}" for kind in "ABCD")
    file = f"projects/{PROJECT}/files/images/{asset_id}/original/{facts.sha256[:12]}.png"
    target = scope.parent.parent / file
    target.parent.mkdir(parents=True)
    os.link(image, target)
    colour = COLOURS[number % len(COLOURS)]
    variant = Variant(
        id=variant_id,
        original_path=file,
        original=ImageIdentity(
            sha256=facts.sha256,
            xxh3=facts.xxh3,
            bytes=facts.size,
            width=size,
            height=size,
            format="PNG",
        ),
        tags=("style:flat", f"color:{colour}"),
    )
    version = Version(
        id=version_id,
        created_at=NOON,
        status="approved",
        primary_variant_id=variant_id,
        reviewed_by="lead@example.com",
        reviewed_at=NOON,
        variants=(variant,),
    )
    made = Provenance(source="atelier", author="ana", license="CC0-1.0")
    asset = Asset(
        id=asset_id, project_id=PROJECT, spec_id=spec_id, created_at=NOON, updated_at=NOON,
        versions=(version,), provenance=made,
    )  # fmt: skip
    spec = Spec(
        id=spec_id, project_id=PROJECT, title=f"Icon {number}", asset_type="ui_icon",
        style="flat", scenario="plain", prompt=Prompt(positive=f"{colour} icon"),
        status="ready", created_at=NOON, updated_at=NOON,
    )  # fmt: skip
    _write(scope / "assets" / f"{asset_id}.json", asset)
    _write(scope / "specs" / f"{spec_id}.json", spec)


def _write(path: Path, record: Record) -> None:
    path.write_bytes(encode_record(record, path.name))
