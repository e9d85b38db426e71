"""Ways round the gate: what somebody with an editor, or with this program's code, might do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.evaluation.reviews import sealed
from lora_pipeline.foundation import strict_json
from lora_pipeline.releases.history import entry_digest, extended
from lora_pipeline.releases.records import HistoryEntry, Lora
from lora_pipeline.workspace.store import open_store
from tests.support.release_builders import (
    ANA,
    KIM,
    LORA,
    SUITE,
    TRAINER,
    Studio,
    add_grid,
    add_review,
    edit,
)


def rewrite_lora(studio: Studio, change: Callable[[Lora], Lora]) -> None:
    """Write a LoRA's record by hand, in its proper form."""
    loaded = studio.lora()
    document = change(loaded.record).to_dict()
    loaded.path.write_bytes(strict_json.dumps(document))


def only(studio: Studio, kind: str) -> Path:
    """Return the one file of a kind."""
    [path] = studio.path(kind, "x").parent.glob("*.json")
    return path


def forged_pointer(studio: Studio) -> None:
    edit(studio.path("lora", LORA), '"activeReleaseId": "r1"', '"activeReleaseId": "r2"')


def forged_status(studio: Studio) -> None:
    rewrite_lora(
        studio,
        lambda lora: replace(
            lora,
            releases=tuple(replace(one, status="approved") for one in lora.releases),
        ),
    )


def forged_promotion(studio: Studio) -> None:
    """Add an entry with a proper chain that makes r2 active on the evidence of r1."""

    def change(lora: Lora) -> Lora:
        entry = HistoryEntry(
            event="promoted", at="2026-03-02T12:00:00Z", by=KIM, release_id="r2",
            evidence=lora.history[-1].evidence,
        )  # fmt: skip
        return replace(
            lora,
            active_release_id="r2",
            releases=tuple(replace(one, status="approved") for one in lora.releases),
            history=extended(lora.history, entry),
        )

    rewrite_lora(studio, change)


def edited_verdict(studio: Studio) -> None:
    edit(only(studio, "review"), "hatching as it should be", "hatching as it should be!")


def edited_and_resealed_verdict(studio: Studio) -> None:
    path = only(studio, "review")
    review = Review.from_dict(json.loads(path.read_text()))
    path.write_bytes(strict_json.dumps(sealed(replace(review, comment="all fine")).to_dict()))


def removed_verdict(studio: Studio) -> None:
    only(studio, "review").unlink()


def removed_verdict_of(studio: Studio, release_id: str, *, reviewer: str = KIM) -> None:
    for path in studio.path("review", "x").parent.glob("*.json"):
        review = Review.from_dict(json.loads(path.read_text()))
        if (review.release_id, review.reviewer) == (release_id, reviewer):
            path.unlink()


def swapped_weights(studio: Studio) -> None:
    weights = studio.lora().record.releases[0].weights
    assert weights is not None
    path = open_store(studio.workspace).path(weights.sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def exchanged_weights(studio: Studio) -> None:
    """Point r1 at the weights of r2, which nobody looked at."""

    def change(lora: Lora) -> Lora:
        first, second = lora.releases
        return replace(lora, releases=(replace(first, weights=second.weights), second))

    rewrite_lora(studio, change)


def with_other_manifest(release_id: str) -> Callable[[Lora], Lora]:
    """Return a change that says that a release was trained on another manifest."""

    def change(lora: Lora) -> Lora:
        return replace(
            lora,
            releases=tuple(
                replace(one, training=one.training | {"manifestHash": "sha256:" + "9" * 64})
                if one.id == release_id
                else one
                for one in lora.releases
            ),
        )

    return change


def edited_caption(studio: Studio) -> None:
    edit(only(studio, "dataset"), "stkr, flat style", "stkr, flat stile")


def rebuilt_manifest_without_git(studio: Studio) -> None:
    """Change a caption and make the manifest consistent again, where no history remembers."""
    path = only(studio, "dataset")
    manifest = Manifest.from_dict(json.loads(path.read_text()))
    items = tuple(replace(item, caption="another") for item in manifest.items)
    manifest = replace(manifest, items=items)
    manifest = replace(manifest, content_hash=hash_of_manifest(manifest))
    path.write_bytes(strict_json.dumps(manifest.to_dict(), one_line_each=("items",)))
    shutil.rmtree(studio.root / ".git")


def edited_suite(studio: Studio) -> None:
    edit(studio.root / "config" / "suites" / f"{SUITE}.yaml", "a red star", "a red stars")


def removed_suite(studio: Studio) -> None:
    (studio.root / "config" / "suites" / f"{SUITE}.yaml").unlink()


def edited_grid(studio: Studio) -> None:
    edit(only(studio, "evaluation"), '"effectMean": 0.235294', '"effectMean": 0.935294')


def altered_image(studio: Studio) -> None:
    cell = json.loads(only(studio, "evaluation").read_text())["cells"][1]
    path = open_store(studio.workspace).path(cell["imageSha256"])
    path.write_bytes(path.read_bytes() + b"\0")


def copied_review(studio: Studio) -> None:
    """Take r1's approval, write r2 over r1, and point at r2."""
    grid = add_grid(studio, "r2")
    path = only(studio, "review")
    text = path.read_text().replace('"releaseId": "r1"', '"releaseId": "r2"')
    text = text.replace(json.loads(text)["evaluationId"], grid.id)
    copy = path.with_name("01ARZ3NDEKTSV4RRFFQ69G5FAV.json")
    copy.write_text(text.replace(path.stem, copy.stem))
    forged_pointer(studio)


def stricter_policy(studio: Studio) -> None:
    write_policy(studio, approvals=2)


def edited_history(studio: Studio) -> None:
    rewrite_lora(
        studio, lambda lora: replace(lora, history=(replace(lora.history[0], by=TRAINER),))
    )


def rewritten_history(studio: Studio) -> None:
    """Change who promoted and make the chain consistent again; only Git remembers."""

    def change(lora: Lora) -> Lora:
        entry = replace(lora.history[0], by=TRAINER)
        return replace(lora, history=(replace(entry, digest=entry_digest(entry)),))

    rewrite_lora(studio, change)


def removed_history(studio: Studio) -> None:
    rewrite_lora(studio, lambda lora: replace(lora, history=()))


def deprecated_but_active(studio: Studio) -> None:
    rewrite_lora(
        studio,
        lambda lora: replace(
            lora,
            releases=tuple(
                replace(one, status="deprecated") if one.id == "r1" else one
                for one in lora.releases
            ),
        ),
    )


def withdrawn_asset(studio: Studio) -> None:
    path = min(studio.path("asset", "x").parent.glob("*.json"))
    edit(
        path,
        '"training": "allowed"',
        '"reason": "the artist asked", "training": "allowed", '
        '"withdrawnAt": "2026-03-02T12:00:00Z"',
    )


def self_approval(studio: Studio) -> None:
    """Put the trainer's name under the review and seal it, where no history remembers."""
    shutil.rmtree(studio.root / ".git")
    path = only(studio, "review")
    review = Review.from_dict(json.loads(path.read_text()))
    path.write_bytes(strict_json.dumps(sealed(replace(review, reviewer=TRAINER)).to_dict()))


def later_rejection(studio: Studio) -> None:
    path = only(studio, "evaluation")
    evaluation = Evaluation.from_dict(json.loads(path.read_text()))
    add_review(studio, evaluation, ANA, "rejected", comment="halo on dark")


def edited_run(studio: Studio) -> None:
    for path in studio.path("run", "x").parent.glob("*.json"):
        edit(path, '"state": "ready"', '"state": "cancelled"')


def removed_run(studio: Studio) -> None:
    for path in studio.path("run", "x").parent.glob("*.json"):
        path.unlink()


def other_base(studio: Studio) -> None:
    edit(studio.path("checkpoint", "tiny"), "c" * 64, "b" * 64)


def other_trigger(studio: Studio) -> None:
    edit(studio.path("lora", LORA), '"triggerWord": "stkr"', '"triggerWord": "sticker"')


def write_policy(studio: Studio, **values: Any) -> None:
    folder = studio.root / "config" / "gates"
    folder.mkdir(exist_ok=True)
    document = {"id": "standard", "summary": "ours", "approvals": 1} | values
    (folder / "standard.yaml").write_text(json.dumps(document))
