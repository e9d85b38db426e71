"""A studio with a trained release, a rendered grid and reviews, all of it real.

The weights are a safetensors file in the store, the cells are PNGs in the store, the digests are
computed by the product's own functions; only training and rendering are left out.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from msgspec.structs import replace as changed
from PIL import Image

from lora_pipeline.catalog.records import (
    Asset,
    AssetTypes,
    Checkpoint,
    CheckpointLicense,
    Weights,
)
from lora_pipeline.datasets.manifest import hash_of_manifest, in_order
from lora_pipeline.datasets.records import CaptionRule, Item, Manifest, Selection
from lora_pipeline.evaluation.effect import measure
from lora_pipeline.evaluation.grid import plan_cells, result_digest
from lora_pipeline.evaluation.pixels import read_pixels
from lora_pipeline.evaluation.records import (
    Cell,
    Evaluation,
    RendererIdentity,
    Review,
    ReviewBinding,
    Verdict,
)
from lora_pipeline.evaluation.reviews import sealed
from lora_pipeline.evaluation.suites import read_suite
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.operations.releases.promote import promote_release
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.records import OutputFile, Recipe, Run
from lora_pipeline.training.weights.file import read_header, tensor_sha256
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.store_builders import put_bytes
from tests.support.training_builders import write_lora
from tests.support.workspace_builders import commit_all, make_workspace, reopen

PROJECT = "neon_city"
SCOPE = Scope(PROJECT)
TRAINER, KIM, ANA = "lee@studio.example", "kim@studio.example", "ana@studio.example"
LORA, DATASET, CHECKPOINT, SUITE = "icons", "icons", "tiny", "tiny"
CHECKPOINT_DIGEST = "sha256:" + "c" * 64
SIZE = 16
_SHEET = b"RIFF a picture that nobody looks at here"
SUITE_YAML = """\
id: tiny
summary: Two prompts, for tests
assetTypes: [ui_icon]
prompts:
  - {id: star, text: "{trigger}, a red star", kind: in_domain}
  - {id: plain, text: "a red star", kind: no_trigger}
seeds: [1, 2]
strengths: [0.5, 1.0]
render: {width: 16, height: 16, steps: 4, guidance: 3.0}
"""


class Studio(msgspec.Struct, frozen=True):
    """A workspace with one LoRA.

    Attributes:
        root: Its folder.
        workspace: It, as ANA sees it.
    """

    root: Path
    workspace: Workspace

    def as_(self, actor: str, **options: Any) -> Workspace:
        """Return the workspace as somebody else sees it."""
        return reopen(self.root, actor=actor, **options)

    def lora(self) -> Loaded[Lora]:
        """Return the LoRA as it stands on disk."""
        return self.workspace.records.read(Lora, SCOPE, LORA)

    def path(self, kind: str, record_id: str) -> Path:
        """Return the file of a record of the project."""
        return self.workspace.records.path(kind, SCOPE, record_id)


def make_studio(root: Path) -> Studio:
    """Return a studio whose release r1 was trained by TRAINER and is a candidate."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config" / "suites").mkdir(parents=True)
    (root / "config" / "suites" / f"{SUITE}.yaml").write_text(SUITE_YAML, encoding="utf-8")
    workspace = make_workspace(root, project=PROJECT, actor=ANA)
    add_catalogs(workspace, PROJECT)
    judge_by(workspace, SUITE)
    add_checkpoint(workspace)
    art = root.parent / f"{root.name}-art"
    assets = [
        add_asset(workspace, PROJECT, draw_icon(art / f"{seed}.png", seed=seed, size=32))
        for seed in range(3)
    ]
    add_manifest(workspace, assets)
    add_lora(workspace)
    studio = Studio(root, workspace)
    add_release(studio, "r1")
    commit_all(root, "A trained candidate")
    return studio


def judge_by(workspace: Workspace, suite_id: str) -> None:
    """Say in the catalog by which suite icons are judged."""
    loaded = workspace.records.read(AssetTypes, SCOPE, AssetTypes.KIND)
    types = tuple(changed(one, suite_id=suite_id) for one in loaded.record.asset_types)
    changes = Changes(workspace)
    changes.update(loaded, changed(loaded.record, asset_types=types))
    changes.apply()


def copy_of(studio: Studio, root: Path) -> Studio:
    """Return the same studio in another folder: much faster than building it again."""
    shutil.copytree(studio.root, root, symlinks=True)
    return Studio(root, reopen(root, actor=ANA))


def add_checkpoint(workspace: Workspace) -> None:
    """Write the record of a base model, whose file stands outside Git."""
    file = workspace.runtime / "models" / "tiny.safetensors"
    write_lora(file)
    now = workspace.now()
    record = Checkpoint(
        id=CHECKPOINT,
        name="Tiny",
        created_at=now,
        updated_at=now,
        supported_asset_types=("ui_icon",),
        architecture="sd15",
        digest=CHECKPOINT_DIGEST,
        license=CheckpointLicense(id="Apache-2.0", commercial_loras="yes"),
        weights=Weights(kind="repo_relative", path=".lora/models/tiny.safetensors"),
    )
    changes = Changes(workspace)
    changes.create(record, SCOPE, CHECKPOINT)
    changes.apply()


def add_manifest(
    workspace: Workspace, assets: Sequence[Asset], dataset_id: str = DATASET
) -> Manifest:
    """Write the manifest of ``assets`` and return it."""
    now = workspace.now()
    manifest = Manifest(
        id=dataset_id,
        scope="project",
        project_id=PROJECT,
        created_at=now,
        updated_at=now,
        items=in_order(_item(asset) for asset in assets),
        selection=Selection(asset_types=("ui_icon",)),
        caption_rule=CaptionRule(trigger_word="stkr"),
    )
    manifest = changed(manifest, content_hash=hash_of_manifest(manifest))
    changes = Changes(workspace)
    changes.create(manifest, SCOPE, dataset_id)
    changes.apply()
    return manifest


def add_lora(workspace: Workspace, lora_id: str = LORA, **options: Any) -> Lora:
    """Write a LoRA without releases and return it."""
    now = workspace.now()
    values: dict[str, Any] = {
        "name": lora_id.title(),
        "scope": "project",
        "checkpoint_id": CHECKPOINT,
        "asset_types": ("ui_icon",),
        "trigger_word": "stkr",
    } | options
    record = Lora(id=lora_id, created_at=now, updated_at=now, **values)
    changes = Changes(workspace)
    changes.create(record, SCOPE, lora_id)
    changes.apply()
    return record


def add_release(
    studio: Studio, release_id: str, *, lora_id: str = LORA, trained_by: str = TRAINER
) -> Release:
    """Write weights, a finished run and a candidate release of it."""
    workspace = studio.workspace
    now, run_id = workspace.now(), new_ulid()
    file = workspace.runtime / "runs" / run_id / "out.safetensors"
    # The number of the release makes its weights other weights.
    write_lora(file, up=0.01 + 0.01 * (1 + len(release_id + lora_id)), metadata={"r": release_id})
    sha256 = open_store(workspace).put_file(file)
    tensors = tensor_sha256(file, read_header(file))
    manifest = workspace.records.read(Manifest, SCOPE, DATASET).record
    recipe = Recipe(resolution=64, steps=12, rank=4)
    run = Run(
        id=run_id,
        lora_id=lora_id,
        release_id=release_id,
        state="ready",
        trainer="diffusers",
        trainer_version="0.42",
        created_at=now,
        updated_at=now,
        started_at=now,
        ended_at=now,
        plan_digest="sha256:" + "d" * 64,
        dataset_id=DATASET,
        manifest_hash=manifest.content_hash,
        checkpoint_id=workspace.records.read(Lora, SCOPE, lora_id).record.checkpoint_id,
        checkpoint_digest=CHECKPOINT_DIGEST,
        recipe=recipe,
        requested_by=trained_by,
        outputs=(
            OutputFile(
                name="out.safetensors",
                sha256=sha256,
                bytes=file.stat().st_size,
                tensor_sha256=tensors,
            ),
        ),
    )
    release = Release(
        id=release_id,
        created_at=now,
        status="candidate",
        created_by=trained_by,
        weights=Weights(
            kind="store", sha256=sha256, tensor_sha256=tensors, bytes=file.stat().st_size
        ),
        training={
            "trainer": "diffusers",
            "trainerVersion": "0.42",
            "recipe": recipe.to_dict(),
            "datasetId": DATASET,
            "manifestHash": manifest.content_hash,
            "checkpointDigest": CHECKPOINT_DIGEST,
            "runId": run_id,
        },
    )
    changes = Changes(workspace)
    changes.create(run, SCOPE, run_id)
    loaded = workspace.records.read(Lora, SCOPE, lora_id)
    changes.update(loaded, changed(loaded.record, releases=(*loaded.record.releases, release)))
    changes.apply()
    return release


def add_grid(
    studio: Studio,
    release_id: str = "r1",
    *,
    lora_id: str = LORA,
    lift: int = 60,
    created_at: str = "",
    evaluation_id: str = "",
) -> Evaluation:
    """Render a grid by drawing: at full strength every value is ``lift`` above the base."""
    workspace = studio.workspace
    lora = workspace.records.read(Lora, SCOPE, lora_id).record
    release = lora.release(release_id)
    assert release is not None
    assert release.weights is not None
    loaded = read_suite(workspace, SUITE)
    store = open_store(workspace)
    cells = tuple(
        _drawn(workspace, cell, lift)
        for cell in plan_cells(
            loaded.suite,
            trigger_word=lora.trigger_word,
            weights_sha256=release.weights.sha256,
            checkpoint_digest=CHECKPOINT_DIGEST,
        )
    )
    cells, metrics = measure(
        loaded.suite,
        cells,
        lambda cell: read_pixels(store.path(cell.image_sha256), width=SIZE, height=SIZE),
    )
    now = created_at or workspace.now()
    evaluation = Evaluation(
        id=evaluation_id or new_ulid(),
        lora_id=lora_id,
        release_id=release_id,
        created_at=now,
        updated_at=now,
        status="complete",
        prompts=tuple(dict.fromkeys(cell.prompt for cell in cells)),
        suite_id=SUITE,
        suite_digest=loaded.digest,
        suite=loaded.suite,
        weights_sha256=release.weights.sha256,
        checkpoint_id=lora.checkpoint_id,
        checkpoint_digest=CHECKPOINT_DIGEST,
        renderer=RendererIdentity(name="drawn", version="1", fingerprint="sha256:" + "f" * 64),
        cells=cells,
        metrics=metrics,
        sheet_sha256=hashlib.sha256(_SHEET).hexdigest(),
    )
    evaluation = changed(evaluation, result_digest=result_digest(evaluation))
    changes = Changes(workspace)
    changes.write_file(studio.path("evaluation", evaluation.id).with_suffix(".webp"), _SHEET)
    changes.create(evaluation, SCOPE, evaluation.id)
    changes.apply()
    return evaluation


def review_of(
    studio: Studio,
    evaluation: Evaluation,
    reviewer: str = KIM,
    verdict: Verdict = "approved",
    **options: Any,
) -> Review:
    """Return a sealed review that was not written yet."""
    lora = studio.workspace.records.read(Lora, SCOPE, evaluation.lora_id).record
    release = lora.release(evaluation.release_id)
    assert release is not None
    assert release.weights is not None
    values: dict[str, Any] = {
        "id": new_ulid(),
        "evaluation_id": evaluation.id,
        "lora_id": evaluation.lora_id,
        "release_id": evaluation.release_id,
        "reviewer": reviewer,
        "verdict": verdict,
        "created_at": studio.workspace.now(),
        "cells_seen": len(evaluation.cells),
        "cells_total": len(evaluation.cells),
        "comment": "hatching as it should be" if verdict == "approved" else "halo on dark",
        "binding": ReviewBinding(
            weights_sha256=release.weights.sha256,
            tensor_sha256=release.weights.tensor_sha256,
            manifest_hash=release.training["manifestHash"],
            suite_digest=evaluation.suite_digest,
            result_digest=evaluation.result_digest,
        ),
    }
    return sealed(Review(**(values | options)))


def add_review(
    studio: Studio,
    evaluation: Evaluation,
    reviewer: str = KIM,
    verdict: Verdict = "approved",
    **options: Any,
) -> Review:
    """Write a review."""
    review = review_of(studio, evaluation, reviewer, verdict, **options)
    changes = Changes(studio.workspace)
    changes.create(review, SCOPE, review.id)
    changes.apply()
    return review


def make_active(studio: Studio, release_id: str = "r1", *, lora_id: str = LORA) -> Evaluation:
    """Render, review and promote a release, commit everything, and return the evaluation."""
    evaluation = add_grid(studio, release_id, lora_id=lora_id)
    add_review(studio, evaluation)
    result = promote_release(studio.as_(ANA), lora_id, release_id)
    assert result.success, result.refusal
    commit_all(studio.root, f"Promoted {release_id}")
    return evaluation


def edit(path: Path, old: str, new: str) -> None:
    """Change a file by hand, as somebody with an editor would; ``old`` must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def at(studio: Studio, time: str) -> Studio:
    """Return the studio at another time."""
    from datetime import datetime

    moment = datetime.fromisoformat(time)
    return replace(studio, workspace=replace(studio.workspace, clock=lambda: moment))


def _item(asset: Asset) -> Item:
    version = asset.versions[0]
    variant = version.variants[0]
    assert variant.alpha is not None
    return Item(
        asset_id=asset.id,
        asset_version_id=version.id,
        variant_id=variant.id,
        path=variant.alpha_path,
        caption="stkr, flat style",
        tags=variant.tags,
        sha256=variant.alpha.sha256,
        xxh3=variant.alpha.xxh3,
        bytes=variant.alpha.bytes,
        width=variant.alpha.width,
        height=variant.alpha.height,
        license=asset.provenance.license,
    )


def _drawn(workspace: Workspace, cell: Cell, lift: int) -> Cell:
    chance = np.random.default_rng([cell.seed, len(cell.prompt)])
    base = chance.integers(0, 120, size=(SIZE, SIZE, 3))
    pixels = (base + round(lift * cell.strength)).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, format="PNG")
    sha256 = put_bytes(open_store(workspace), target.getvalue())
    return changed(cell, status="done", image_sha256=sha256)


def active_studio(root: Path) -> Studio:
    """Return a studio with r1 active and r2 a candidate, everything committed."""
    studio = make_studio(root)
    make_active(studio)
    add_release(studio, "r2")
    commit_all(root, "Another candidate")
    return studio
