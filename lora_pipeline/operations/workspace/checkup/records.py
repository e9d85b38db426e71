"""Records as a check-up sees them: their form, base models, and what production uses.

Cheap: weights are looked for and measured; ``lora validate --require-weights`` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.weight_files import place_of_weights
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.operations.workspace.migrations.plan import plan_migrations
from lora_pipeline.operations.workspace.migrations.registry import MIGRATIONS
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.health.machine import Check
from lora_pipeline.workspace.records import R
from lora_pipeline.workspace.root import Workspace

_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_SHOWN = 3


def record_checks(workspace: Workspace) -> Iterator[Check]:
    """Yield what can be said of the records without checking each: that is ``lora validate``."""
    yield _forms(workspace)
    yield _base_models(workspace)
    yield _active_weights(workspace)


def _forms(workspace: Workspace) -> Check:
    plan = plan_migrations(workspace, MIGRATIONS)
    if plan.migrated:
        words = f"{len(plan.migrated)} of {plan.checked} records have an older form"
        return Check("records", "warn", words, "lora migrate run")
    if plan.stuck:
        words = f"{len(plan.stuck)} of {plan.checked} records have an older form that stays"
        return Check("records", "ok", f"{words}; lora migrate list says why")
    return Check("records", "ok", f"{plan.checked}, all of the present form")


def _base_models(workspace: Workspace) -> Check:
    pickled, unproven, absent, count = [], [], [], 0
    for checkpoint in _every(workspace, Checkpoint):
        count += 1
        path = checkpoint.weights.path if checkpoint.weights else checkpoint.local_path
        if path.lower().endswith(_PICKLES):
            pickled.append(checkpoint.id)
        elif not checkpoint.digest:
            unproven.append(checkpoint.id)
        elif checkpoint.weights and not _is_here(workspace, checkpoint):
            absent.append(checkpoint.id)
    if pickled:
        words = f"{_some(pickled)}: a pickle, which can run code when a trainer reads it"
        return Check("base models", "fail", words, "take the safetensors file of the same model")
    if unproven:
        words = f"{_some(unproven)}: no digest on record, so nobody knows which model it is"
        return Check("base models", "warn", words, "lora checkpoint add ID --path PATH")
    if absent:
        words = f"{_some(absent)}: not on this machine"
        return Check("base models", "skipped", words, f"lora checkpoint verify {absent[0]}")
    return Check("base models", "ok", f"{count}, all by digest" if count else "none yet")


def _is_here(workspace: Workspace, checkpoint: Checkpoint) -> bool:
    assert checkpoint.weights is not None  # noqa: S101 - asked by the caller
    try:
        return place_of_weights(workspace, checkpoint.weights).exists()
    except PipelineError:
        return False


def _active_weights(workspace: Workspace) -> Check:
    wrong, absent, count = [], [], 0
    for lora in _every(workspace, Lora):
        release = lora.release(lora.active_release_id) if lora.active_release_id else None
        if release is None or release.weights is None:
            continue
        count += 1
        name = f"{lora.id} {release.id}"
        try:
            path = place_of_weights(workspace, release.weights)
            length = path.stat().st_size if path.is_file() else None
        except (PipelineError, OSError):
            length = None
        if length is None:
            absent.append(name)
        elif release.weights.bytes and length != release.weights.bytes:
            wrong.append(name)
    if wrong:
        words = f"{_some(wrong)}: the file has another length than the record says"
        return Check("active weights", "fail", words, "lora validate --require-weights")
    if absent:
        words = f"{_some(absent)}: not on this machine"
        return Check("active weights", "warn", words, "lora store status")
    return Check("active weights", "ok", f"{count} here" if count else "nothing is active")


def _every(workspace: Workspace, kind: type[R]) -> Iterator[R]:
    """Yield the records of a kind that can be read; the others are for ``lora validate``."""
    for scope in workspace.records.scopes():
        for record_id in workspace.records.ids(kind, scope):
            try:
                yield workspace.records.read(kind, scope, record_id).record
            except PipelineError:
                continue


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
