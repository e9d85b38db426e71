"""From a wish to train to a start: what may refuse it, and what is proven before it."""

from __future__ import annotations

from typing import Any

import msgspec

from lora_pipeline.datasets.staging.folder import Staging, plan_staging, stage_manifest
from lora_pipeline.foundation.errors import TrainerUnavailableError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.training.train_outcome import NO_RUN, base_to_plan, command_of
from lora_pipeline.operations.training.train_outlook import Outlook, outlook_of
from lora_pipeline.operations.training.train_request import (
    Training,
    base_model,
    make_plan,
    plan_digest,
)
from lora_pipeline.operations.training.train_sending import (
    cap_refusal,
    estimate_of,
    sending_facts,
    sending_refusal,
)
from lora_pipeline.releases.evidence.facts import TrainedManifest, Unproven
from lora_pipeline.releases.evidence.rights import rights_facts
from lora_pipeline.training.hosted.interface import HostedTrainer, JobEstimate
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.records import Cost
from lora_pipeline.workspace.root import Workspace


class Start(msgspec.Struct, frozen=True):
    """A training that nothing refuses.

    Attributes:
        version: Version of the trainer's program.
        plan: The plan of no run yet.
        base: The base model, not proven.
        staging: What the staging will be.
        digest: Digest of the plan, made from what records say of the base model.
        estimate: What it is expected to cost elsewhere, or None where it stays here.
    """

    version: str
    plan: Plan
    base: CheckpointOnDisk
    staging: Staging
    digest: str
    estimate: JobEstimate | None

    @property
    def cost(self) -> Cost:
        """The estimate as a run's record holds it."""
        return Cost() if self.estimate is None else self.estimate.as_cost()


class Proven(msgspec.Struct, frozen=True):
    """What was read to the last byte before a start.

    Attributes:
        base: The base model; where the work goes elsewhere it need not be here.
        staging: The staging, which is there.
        digest: Digest of the plan.
    """

    base: CheckpointOnDisk
    staging: Staging
    digest: str


def start_of(workspace: Workspace, training: Training, *, besides: str = "") -> Start | Refusal:
    """Return a start, or why there is none; reads no byte of images or models.

    Args:
        workspace: Where the records are.
        training: What training is about.
        besides: Id of its run, when there is one already: its cost is not counted twice.

    Raises:
        RecipeInvalidError: When the recipe asks for what the trainer cannot do.
        TrainerUnavailableError: When the trainer is not installed here.
    """
    settings, trainer = workspace.settings, training.trainer
    version = trainer.version(settings)
    base, staging = base_to_plan(workspace, training), plan_staging(workspace, training.manifest)
    plan = make_plan(workspace, training, base, staging, NO_RUN, version)
    estimate = estimate_of(workspace, training, plan)
    if estimate is not None:
        refused = (
            cap_refusal(workspace, training.lora.scope, estimate, besides=besides)
            if besides
            else sending_refusal(workspace, training, plan, estimate)
        )
        if refused is not None:
            return refused
    problem = trainer.health(settings)
    if problem is not None:
        raise TrainerUnavailableError(f"{trainer.name}: {problem.message}", hint=problem.hint)
    digest = plan_digest(workspace, training, base, staging, version)
    return Start(version, plan, base, staging, digest, estimate)


def prove(workspace: Workspace, training: Training, start: Start) -> Proven:
    """Read the base model to its last byte and make the staging.

    Raises:
        FileMissingError, DigestMismatchError: When images or base model are not here, or others.
    """
    base = start.base
    if not isinstance(training.trainer, HostedTrainer):
        base = base_model(workspace, training.checkpoint, prove=True)
    staging = stage_manifest(workspace, training.manifest)
    digest = plan_digest(workspace, training, base, staging, start.version)
    return Proven(base, staging, digest)


def expected_of(workspace: Workspace, training: Training, start: Start) -> Outlook:
    """Return what is to be expected of a start: minutes, sizes, what is unusual."""
    return outlook_of(workspace, training, start.staging, start.plan, start.base)


def rights_refusal(workspace: Workspace, training: Training) -> Refusal | None:
    """Return why a manifest may not be trained on any more, or None."""
    facts = rights_facts(workspace.records, TrainedManifest(training.manifest), workspace.now())
    if isinstance(facts, Unproven) or not facts.barred:
        return None
    shown = "; ".join(facts.barred[:3])
    more = f" and {len(facts.barred) - 3} more" if len(facts.barred) > 3 else ""
    build = f"lora dataset build {training.manifest.id}"
    expired = any(one.expired for one in facts.withdrawn)
    return Refusal(
        "rights_refused",
        f"{training.manifest.id} holds images that may not be trained on any more: {shown}{more}",
        f"lora asset withdraw --expired, then {build}" if expired else build,
    )


def not_done(workspace: Workspace, training: Training, refusal: Refusal) -> Result:
    """Return the answer that training is refused, with what would leave this machine."""
    facts: dict[str, Any] = {}
    if isinstance(training.trainer, HostedTrainer):
        version = training.trainer.version(workspace.settings)
        plan = make_plan(
            workspace, training, base_to_plan(workspace, training),
            plan_staging(workspace, training.manifest), NO_RUN, version,
        )  # fmt: skip
        estimate = estimate_of(workspace, training, plan)
        if estimate is not None:
            facts = sending_facts(workspace, training.lora.scope, plan, estimate)
    agree = {
        "upload_not_agreed": f"{command_of(training.wishes)} --yes-upload",
        "preflight_failed": f"{command_of(training.wishes)} --skip-preflight",
    }
    return Result(
        data={"loraId": training.lora.record_id, "datasetId": training.manifest.id} | facts,
        reasoning=refusal.message,
        refusal=refusal,
        suggestions=(agree.get(refusal.code) or refusal.hint or "lora run list",),
        dry_run=workspace.dry_run,
    )
