"""A LoRA with a release, a checkpoint and a suite, ready to be evaluated without any model."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from lora_pipeline.catalog.records import Checkpoint, Weights
from lora_pipeline.evaluation.grid import plan_cells
from lora_pipeline.evaluation.records import (
    Evaluation,
    RendererIdentity,
    RenderSettings,
    Suite,
    SuitePrompt,
)
from lora_pipeline.evaluation.suites import suite_digest
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.store_builders import put_bytes

PROJECT = "neon_city"
SCOPE = Scope(PROJECT)
LORA, RELEASE, CHECKPOINT, SUITE = "ui_icons", "r1", "base64", "tiny_icon"
MANIFEST_HASH = "sha256:" + "4" * 64
WEIGHTS = b"these bytes stand for weights"
BASE_MODEL = b"these bytes stand for a base model"

SUITE_YAML = """\
id: tiny_icon
summary: Two prompts, for tests
assetTypes: [tiny_icon]
prompts:
  - {id: heart, kind: in_domain, text: "{trigger}, a red heart"}
  - {id: bare, kind: no_trigger, text: "a red heart"}
seeds: [1, 2]
strengths: [0.5, 1.0]
render: {width: 32, height: 32, steps: 4, guidance: 3.0}
"""


def add_subject(
    workspace: Workspace, *, weights: bytes = WEIGHTS, release: str = RELEASE, trigger: str = "trg"
) -> str:
    """Write a LoRA with one release, its checkpoint and its suite; return the weights' digest."""
    (workspace.root / "config" / "suites").mkdir(parents=True, exist_ok=True)
    (workspace.root / "config" / "suites" / f"{SUITE}.yaml").write_text(SUITE_YAML)
    base = workspace.root / "models" / "base.safetensors"
    base.parent.mkdir(exist_ok=True)
    base.write_bytes(BASE_MODEL)
    sha256 = put_bytes(open_store(workspace), weights)
    changes = Changes(workspace)
    changes.create(
        Checkpoint(
            id=CHECKPOINT,
            name="Base",
            created_at=workspace.now(),
            updated_at=workspace.now(),
            supported_asset_types=(SUITE,),
            architecture="sd15",
            digest=digest_of_bytes(BASE_MODEL),
            weights=Weights(
                kind="repo_relative",
                path="models/base.safetensors",
                sha256=hashlib.sha256(BASE_MODEL).hexdigest(),
            ),
        ),
        SCOPE,
        CHECKPOINT,
    )
    changes.create(
        Lora(
            id=LORA,
            name="Icons",
            created_at=workspace.now(),
            updated_at=workspace.now(),
            scope="project",
            checkpoint_id=CHECKPOINT,
            asset_types=(SUITE,),
            trigger_word=trigger,
            releases=(make_release(workspace, sha256, release),),
        ),
        SCOPE,
        LORA,
    )
    changes.apply()
    return sha256


def add_release(workspace: Workspace, release: str, weights: bytes) -> str:
    """Add another release and return its weights' digest."""
    sha256 = put_bytes(open_store(workspace), weights)
    loaded = workspace.records.read(Lora, SCOPE, LORA)
    one = make_release(workspace, sha256, release, created_at="2026-03-02T12:00:00Z")
    changes = Changes(workspace)
    changes.update(
        loaded, msgspec.structs.replace(loaded.record, releases=(*loaded.record.releases, one))
    )
    changes.apply()
    return sha256


def make_release(workspace: Workspace, sha256: str, release: str, created_at: str = "") -> Release:
    """Return a candidate whose weights are an object of the store."""
    return Release(
        id=release,
        created_at=created_at or workspace.now(),
        status="candidate",
        weights=Weights(kind="store", sha256=sha256, tensor_sha256="5" * 64),
        training={"manifestHash": MANIFEST_HASH, "datasetId": "icons"},
        created_by="mira@studio.example",
    )


def make_suite(**changes: object) -> Suite:
    """Return a suite of two prompts, two seeds and two strengths."""
    suite = Suite(
        id=SUITE,
        summary="Two prompts, for tests",
        asset_types=(SUITE,),
        prompts=(
            SuitePrompt(id="heart", kind="in_domain", text="{trigger}, a red heart"),
            SuitePrompt(id="bare", kind="no_trigger", text="a red heart"),
        ),
        seeds=(1, 2),
        strengths=(0.5, 1.0),
        render=RenderSettings(width=32, height=32, steps=4, guidance=3.0),
    )
    return msgspec.structs.replace(suite, **changes)


def make_evaluation(suite: Suite | None = None, **changes: object) -> Evaluation:
    """Return an evaluation none of whose cells is rendered."""
    suite = suite or make_suite()
    evaluation = Evaluation(
        id="01JNMG7Z9S0000000000000000",
        lora_id=LORA,
        release_id=RELEASE,
        created_at="2026-03-01T12:00:00Z",
        status="pending",
        prompts=("trg, a red heart", "a red heart"),
        suite_id=suite.id,
        suite_digest=suite_digest(suite),
        suite=suite,
        weights_sha256="1" * 64,
        checkpoint_id=CHECKPOINT,
        checkpoint_digest="sha256:" + "2" * 64,
        renderer=make_identity(),
        cells=plan_cells(
            suite,
            trigger_word="trg",
            weights_sha256="1" * 64,
            checkpoint_digest="sha256:" + "2" * 64,
        ),
    )
    return msgspec.structs.replace(evaluation, **changes)


def make_identity(version: str = "1.0") -> RendererIdentity:
    """Return who drew."""
    return RendererIdentity(
        name="fake", version=version, fingerprint=digest_of_bytes(version.encode()), device="cpu"
    )


def png_of(pixels: np.ndarray) -> bytes:
    """Return pixels as PNG bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def noise(seed: int, width: int = 32, height: int = 32) -> np.ndarray:
    """Return a picture of coloured noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def files_below(folder: Path) -> list[str]:
    """Return the relative paths of all files below a folder, sorted."""
    if not folder.is_dir():
        return []
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
