"""What planning and training came to, as every face tells it."""

from __future__ import annotations

import json
import shlex

from lora_pipeline.datasets.staging.folder import plan_staging
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.releases.release_register import weights_facts
from lora_pipeline.operations.training.train_hosted import base_elsewhere
from lora_pipeline.operations.training.train_outlook import look_ahead, outlook_of
from lora_pipeline.operations.training.train_request import (
    Training,
    Wishes,
    base_model,
    make_plan,
    plan_digest,
)
from lora_pipeline.operations.training.train_run import Finished
from lora_pipeline.operations.training.train_sending import cap_refusal, estimate_of, sending_facts
from lora_pipeline.training.hosted.interface import HostedTrainer
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.recipe import flag_of
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.workspace.root import Workspace

# A plan that is only looked at belongs to no run.
NO_RUN = "RUN_ID"


def command_of(wishes: Wishes) -> str:
    """Return the command that asks for the same training, ready to paste."""
    words = ["lora", "train", "--lora", wishes.lora, "--dataset", wishes.dataset]
    named = {
        "--trainer": wishes.trainer,
        "--preset": wishes.preset,
        "--config-file": wishes.config_file,
        "--config": json.dumps(wishes.config) if wishes.config else "",
        "--trainer-args": json.dumps(wishes.trainer_arguments) if wishes.trainer_arguments else "",
        "--trainer-config": wishes.trainer_config,
        "--release": wishes.release,
        "--project": wishes.project or "",
        "--scope": wishes.scope if wishes.scope != "project" else "",
    }
    named |= {
        flag_of(name): f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in wishes.flags.items()
        if value is not None
    }
    for name, value in named.items():
        words += [name, value] if value else []
    return shlex.join(words)


def brought(
    workspace: Workspace,
    training: Training,
    finished: Finished,
    written: list[str],
    *,
    resumed: bool,
) -> Result:
    """Return the result of a training that brought a release."""
    run = finished.run
    staging = plan_staging(workspace, training.manifest)
    estimate = look_ahead(workspace, training, staging)
    lora, release = run.lora_id, finished.release_id
    verb = "Finished the killed run of" if resumed else "Trained"
    return Result(
        data={
            "runId": run.id,
            "loraId": lora,
            "releaseId": release,
            "status": "candidate",
            "resumed": resumed,
            "trainer": run.trainer,
            "trainerVersion": run.trainer_version,
            "datasetId": run.dataset_id,
            "manifestHash": run.manifest_hash,
            "checkpointId": run.checkpoint_id,
            "preset": training.preset or None,
            "images": estimate.images,
            "steps": run.steps_done,
            "seconds": run.duration_seconds,
            "finalLoss": run.final_loss,
            "recipe": training.recipe.explain(),
            **weights_facts(finished.weights),
            "checkpointsKept": len(run.outputs) - 1,
            "log": workspace.relative(run_folder(workspace, run.id)),
        },
        reasoning=f"{verb} {release} of {lora} from {run.dataset_id} with {run.trainer}",
        warnings=list(dict.fromkeys([*estimate.warnings, *finished.warnings])),
        suggestions=(
            f"lora eval grid {lora} {release}", f"lora release show {lora} {release}",
        ),
        written=list(dict.fromkeys([*written, *finished.written])),
    )  # fmt: skip


def base_to_plan(workspace: Workspace, training: Training) -> CheckpointOnDisk:
    """Return the base model for a plan; one that is trained elsewhere need not be here."""
    if isinstance(training.trainer, HostedTrainer):
        return base_elsewhere(workspace, training.checkpoint)
    return base_model(workspace, training.checkpoint, prove=False)


def planned(workspace: Workspace, training: Training) -> Result:
    """Return the result of planning."""
    staging = plan_staging(workspace, training.manifest)
    base = base_to_plan(workspace, training)
    version = training.trainer.version(workspace.settings)
    plan = make_plan(workspace, training, base, staging, NO_RUN, version)
    digest = plan_digest(workspace, training, base, staging, version)
    expected = estimate_of(workspace, training, plan)
    capped = expected and cap_refusal(workspace, training.lora.scope, expected)
    elsewhere = sending_facts(workspace, training.lora.scope, plan, expected) if expected else {}
    outlook = outlook_of(workspace, training, staging, plan, base)
    problem = training.trainer.health(workspace.settings)
    lora = training.lora.record_id
    return Result(
        data={
            "loraId": lora,
            "releaseId": training.release_id,
            "datasetId": training.manifest.id,
            "manifestHash": training.manifest.content_hash,
            "checkpointId": training.checkpoint.id,
            "preset": training.preset or None,
            "presetChosen": training.preset_chosen,
            "recipe": training.recipe.explain(),
            "images": outlook.estimate.images,
            "imagesPerEpoch": outlook.estimate.images_per_epoch,
            "steps": plan.total_steps,
            "looksPerImage": round(outlook.estimate.looks, 1),
            "minutes": outlook.minutes.to_dict(),
            "sizes": outlook.sizes,
            "staging": workspace.relative(staging.folder),
            "alpha": training.manifest.normalization.alpha,
            "runFolder": workspace.relative(run_folder(workspace, NO_RUN)),
            "plan": plan.to_dict(),
            "planDigest": digest,
            "cautions": [one.to_dict() for one in outlook.cautions],
            **elsewhere,
        },
        reasoning=f"{plan.trainer} would train {training.release_id} of {lora}",
        warnings=[
            *([f"it would be refused: {capped.message}"] if capped else []),
            *dict.fromkeys(one.message for one in outlook.cautions),
        ],
        suggestions=(problem.hint if problem else command_of(training.wishes),),
        dry_run=workspace.dry_run,
    )


def tried(workspace: Workspace, training: Training) -> Result:
    """Return the result of a dry run: the plan, and the records that would be written."""
    told = planned(workspace, training)
    records, scope = workspace.records, training.lora.scope
    would = [records.path("run", scope, NO_RUN), training.lora.path]
    return Result(
        data=told.data,
        reasoning=told.reasoning,
        warnings=told.warnings,
        suggestions=told.suggestions,
        written=[workspace.relative(path) for path in would],
        dry_run=True,
    )
