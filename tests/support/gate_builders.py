"""Evidence in memory: a release that passes the standard policy, to be spoilt one way at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from lora_pipeline.catalog.records import Weights
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.evaluation.effect import summarise
from lora_pipeline.evaluation.grid import plan_cells, result_digest
from lora_pipeline.evaluation.records import (
    Cell,
    Evaluation,
    RendererIdentity,
    RenderSettings,
    Review,
    ReviewBinding,
    Suite,
    SuitePrompt,
)
from lora_pipeline.evaluation.reviews import sealed
from lora_pipeline.evaluation.suites import suite_digest
from lora_pipeline.releases.evidence.facts import (
    GivenReview,
    ImageFacts,
    ReleaseEvidence,
    RightsFacts,
    TrainedManifest,
)
from lora_pipeline.releases.records import GatePolicy, Lora, Release
from lora_pipeline.training.records import OutputFile, Recipe, Run

NOW = "2026-03-01T12:00:00Z"
KIM, LEE, ANA = "kim@studio", "lee@studio", "ana@studio"
WEIGHTS, TENSORS = "a" * 64, "b" * 64
MANIFEST_HASH, BASE_DIGEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
STANDARD = GatePolicy(id="standard", summary="for tests")
SUITE = Suite(
    id="tiny",
    summary="for tests",
    asset_types=("ui_icon",),
    prompts=(
        SuitePrompt(id="star", text="{trigger}, a red star", kind="in_domain"),
        SuitePrompt(id="plain", text="a red star", kind="no_trigger"),
    ),
    seeds=(1, 2),
    strengths=(0.5, 1.0),
    render=RenderSettings(width=16, height=16, steps=4, guidance=3.0),
)
RELEASE = Release(
    id="r7",
    created_at=NOW,
    status="candidate",
    created_by=LEE,
    weights=Weights(kind="store", sha256=WEIGHTS, tensor_sha256=TENSORS),
    training={
        "trainer": "diffusers",
        "datasetId": "icons",
        "manifestHash": MANIFEST_HASH,
        "checkpointDigest": BASE_DIGEST,
        "runId": "01RUN",
    },
)
LORA = Lora(
    id="ui_icons",
    name="UI icons",
    created_at=NOW,
    updated_at=NOW,
    scope="project",
    checkpoint_id="sdxl",
    asset_types=("ui_icon",),
    trigger_word="stkr",
    releases=(RELEASE,),
)
RUN = Run(
    id="01RUN",
    lora_id="ui_icons",
    release_id="r7",
    state="ready",
    trainer="diffusers",
    created_at=NOW,
    updated_at=NOW,
    plan_digest="sha256:" + "3" * 64,
    dataset_id="icons",
    manifest_hash=MANIFEST_HASH,
    checkpoint_id="sdxl",
    checkpoint_digest=BASE_DIGEST,
    recipe=Recipe(steps=12),
    requested_by=LEE,
    outputs=(OutputFile(name="out", sha256=WEIGHTS, bytes=9),),
)
MANIFEST = Manifest(
    id="icons",
    scope="project",
    project_id="neon_city",
    created_at=NOW,
    updated_at=NOW,
    content_hash=MANIFEST_HASH,
    items=(
        Item(asset_id="A", asset_version_id="V", variant_id="I", path="a.png", sha256="4" * 64),
    ),
)


def _drawn(number: int, cell: Cell) -> Cell:
    effect = round(0.1 * cell.strength, 6) if cell.strength else None
    return replace(cell, status="done", image_sha256=f"{number:064x}", effect=effect)


def grid(
    change: Callable[[Cell], Cell] = lambda cell: cell, *, resealed: bool = True, **values: Any
) -> Evaluation:
    """Return a complete evaluation of r7; ``values`` replace its fields.

    Args:
        change: Applied to every cell before anything is computed from them.
        resealed: Whether the result digest is that of the changed evaluation.
        **values: Fields of the evaluation.
    """
    planned = plan_cells(
        SUITE, trigger_word="stkr", weights_sha256=WEIGHTS, checkpoint_digest=BASE_DIGEST
    )
    cells = tuple(change(_drawn(number, cell)) for number, cell in enumerate(planned))
    evaluation = Evaluation(
        id="01EVAL",
        lora_id="ui_icons",
        release_id="r7",
        created_at=NOW,
        status="complete",
        suite_id="tiny",
        suite_digest=suite_digest(SUITE),
        suite=SUITE,
        weights_sha256=WEIGHTS,
        checkpoint_id="sdxl",
        checkpoint_digest=BASE_DIGEST,
        renderer=RendererIdentity(name="drawn", version="1", fingerprint="f"),
        cells=cells,
        metrics=summarise(SUITE, cells, 0),
    )
    good = replace(evaluation, result_digest=result_digest(evaluation))
    spoilt = replace(good, **values)
    return replace(spoilt, result_digest=result_digest(spoilt)) if resealed else spoilt


GRID = grid()


def review(reviewer: str = KIM, *, at: str = NOW, number: int = 1, **values: Any) -> GivenReview:
    """Return a sealed approval of ``GRID``; ``values`` replace its fields."""
    record = Review(
        id=f"01REVIEW{number}",
        evaluation_id="01EVAL",
        lora_id="ui_icons",
        release_id="r7",
        reviewer=reviewer,
        verdict="approved",
        created_at=at,
        cells_seen=12,
        cells_total=12,
        binding=binding(),
    )
    return GivenReview(sealed(replace(record, **values)), committed_by=reviewer)


def binding(**values: str) -> ReviewBinding:
    """Return the digests of r7 and ``GRID``; ``values`` replace some of them."""
    bound = ReviewBinding(
        weights_sha256=WEIGHTS,
        tensor_sha256=TENSORS,
        manifest_hash=MANIFEST_HASH,
        suite_digest=GRID.suite_digest,
        result_digest=GRID.result_digest,
    )
    return replace(bound, **values)


def evidence(**values: Any) -> ReleaseEvidence:
    """Return evidence that passes; ``values`` replace its fields."""
    good: dict[str, Any] = {
        "lora": LORA,
        "release": RELEASE,
        "now": NOW,
        "weights_sha256": WEIGHTS,
        "manifest": TrainedManifest(MANIFEST),
        "checkpoint_digest": BASE_DIGEST,
        "suite_digest": suite_digest(SUITE),
        "suites": (SUITE.id,),
        "rights": RightsFacts(),
        "images": ImageFacts(),
        "run": RUN,
        "evaluation": GRID,
        "reviews": (review(),),
    }
    return ReleaseEvidence(**(good | values))
