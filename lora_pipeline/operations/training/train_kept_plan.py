"""A plan as it is kept: made as any machine would make it, written, and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.datasets.staging.folder import plan_staging
from lora_pipeline.foundation import strict_json, strict_yaml
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    RecordInvalidError,
)
from lora_pipeline.foundation.schemas import require_valid, schema_name_of
from lora_pipeline.operations.training.train_outcome import NO_RUN, base_to_plan
from lora_pipeline.operations.training.train_outlook import Outlook, outlook_of
from lora_pipeline.operations.training.train_request import Training, Wishes, request_for
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.portable_plan import (
    Places,
    anywhere,
    is_place,
    places_of_program,
    places_of_settings,
    without_places,
)
from lora_pipeline.training.recipe import DEFAULT
from lora_pipeline.training.saved_plan import (
    PlanCaution,
    PlanFile,
    PlanMinutes,
    PlanWishes,
    SavedPlan,
)
from lora_pipeline.workspace.root import Workspace

HEAD = b"# A plan of lora train: lora train --from-plan FILE runs it while nothing has changed.\n"


def read_plan(workspace: Workspace, name: str) -> SavedPlan:
    """Return the plan that a file holds.

    Raises:
        FileMissingError: When there is no such file.
        RecordInvalidError: When it is no plan.
    """
    path = workspace.root / Path(name).expanduser()
    if not path.is_file():
        raise FileMissingError(
            f"no plan {name}", hint="lora train --lora ID --dataset ID --plan --output FILE.yaml"
        )
    document = strict_yaml.loads(strict_json.read_bytes(path), name)
    if not isinstance(document, dict):
        raise ArgumentInvalidError(
            f"{name} is no plan of training", hint="--plan --output makes one"
        )
    require_valid(document, schema_name_of(document, SavedPlan.KIND, name), name)
    return SavedPlan.from_dict(document)


def plan_bytes(plan: SavedPlan) -> bytes:
    """Return a plan as it stands in its file: files of the trainer can be read in it as they are.

    Raises:
        RecordInvalidError: When it would not be read back as what it is.
    """
    document = plan.to_dict()
    data = HEAD + strict_yaml.dumps(document)
    if strict_yaml.loads(data, "the plan") != document:
        raise RecordInvalidError(
            "the plan holds characters that a text file cannot keep",
            hint="lora caption lint shows them",
        )
    return data


def kept_plan(workspace: Workspace, training: Training) -> SavedPlan:
    """Return the plan of a training as it would be kept: nothing of this machine's places in it."""
    staging = plan_staging(workspace, training.manifest)
    base = base_to_plan(workspace, training)
    version = training.trainer.version(workspace.settings)
    plan, places = _portable(workspace, training, base, version)
    outlook = outlook_of(workspace, training, staging, plan, base)
    lora, manifest = training.lora, training.manifest
    kept = SavedPlan(
        argv=plan.argv,
        lora_id=lora.record_id,
        release_id=training.release_id,
        scope="project" if lora.scope.project_id else "baseline",
        project_id=lora.scope.project_id or "",
        trigger_word=lora.record.trigger_word,
        created_at=workspace.now(),
        created_by=workspace.actor or "",
        dataset_id=manifest.id,
        manifest_hash=manifest.content_hash,
        staging=staging.folder.name,
        images=len(staging.images),
        checkpoint_id=base.checkpoint_id,
        checkpoint_digest=base.digest,
        trainer=plan.trainer,
        trainer_version=version,
        preset=training.preset,
        recipe=training.recipe.recipe,
        recipe_from={
            name: source for name, source in training.recipe.sources.items() if source != DEFAULT
        },
        wishes=_kept_wishes(workspace, training.wishes),
        settings=_settings_of(workspace, plan.trainer, places),
        files=tuple(PlanFile(path=one.path, content=one.content) for one in plan.files),
        cwd=str(plan.cwd),
        environment=dict(sorted(plan.environment.items())),
        secrets=plan.secrets,
        service=plan.service,
        uploads=tuple(one.name for one in plan.uploads),
        expected_output=plan.expected_output,
        total_steps=plan.total_steps,
        **_expected(outlook, places),
        plan_digest="",
    )
    return msgspec.structs.replace(kept, plan_digest=kept.digest())


def _expected(outlook: Outlook, places: Places) -> dict[str, Any]:
    minutes = outlook.minutes
    return {
        "minutes": PlanMinutes(basis=minutes.basis, low=minutes.low, high=minutes.high),
        "cautions": tuple(
            PlanCaution(code=one.code, message=places.without(one.message))
            for one in outlook.cautions
        ),
    }


def _portable(
    workspace: Workspace, training: Training, base: CheckpointOnDisk, version: str
) -> tuple[Plan, Places]:
    """Return the plan as any machine would make it, and the words for the places of this one."""
    staging = plan_staging(workspace, training.manifest)
    request = request_for(workspace, training, staging, base, run_id=NO_RUN)
    settings = workspace.settings
    plan = training.trainer.prepare(anywhere(request), settings, version)
    places = Places(
        {
            str(Path.home()): "{home}",
            str(workspace.root): "{workspace}",
            **places_of_program(),
            **places_of_settings(settings, plan.trainer),
        }
    )
    return without_places(plan, places), places


def _settings_of(workspace: Workspace, trainer: str, places: Places) -> dict[str, str]:
    own = f"trainers.{trainer}."
    return {
        one.setting.key: "set" if is_place(one.value) else places.without(str(one.value))
        for one in workspace.settings.explain()
        if one.setting.key.startswith(own) and one.value not in (None, "")
    }


def _kept_wishes(workspace: Workspace, wishes: Wishes) -> PlanWishes:
    return PlanWishes(
        trainer=wishes.trainer,
        preset=wishes.preset,
        config_file=_kept_path(workspace, wishes.config_file),
        config=dict(wishes.config),
        flags={name: value for name, value in wishes.flags.items() if value is not None},
        trainer_arguments=wishes.trainer_arguments,
        trainer_config=_kept_path(workspace, wishes.trainer_config),
    )


def _kept_path(workspace: Workspace, name: str) -> str:
    """Return where a file is, relative to the workspace when it is in it."""
    if not name:
        return ""
    path = Path(name).absolute()
    return workspace.relative(path) if path.is_relative_to(workspace.root) else str(path)


def wishes_of(workspace: Workspace, kept: SavedPlan) -> Wishes:
    """Return what was asked for when a plan was made."""
    asked = kept.wishes
    return Wishes(
        lora=kept.lora_id,
        dataset=kept.dataset_id,
        trainer=asked.trainer,
        preset=asked.preset,
        config_file=_path_again(workspace, asked.config_file),
        config=asked.config,
        flags=asked.flags,
        trainer_arguments=asked.trainer_arguments,
        trainer_config=_path_again(workspace, asked.trainer_config),
        release="",
        project=kept.project_id or None,
        scope=kept.scope,
    )


def _path_again(workspace: Workspace, name: str) -> str:
    return str(workspace.root / name) if name else ""
