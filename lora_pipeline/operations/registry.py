"""Every operation by name: the one list that ``lora call``, REST and MCP are made from."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, Literal, get_type_hints

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.root import Workspace


class Operation(msgspec.Struct, frozen=True):
    """One verb.

    Attributes:
        name: Dotted name, noun first.
        target: ``module:function`` below ``lora_pipeline.operations``.
        effect: Whether it writes.
        agents: False when only a person may do it (approve, promote, …).
    """

    name: str
    target: str
    effect: Literal["read", "write"]
    agents: bool = True

    def load(self) -> Callable[..., Result]:
        """Import and return the function."""
        module, _, function = self.target.partition(":")
        loaded: Callable[..., Result] = getattr(
            importlib.import_module(f"lora_pipeline.operations.{module}"), function
        )
        return loaded

    def summary(self) -> str:
        """Return the first line of its docstring."""
        return (inspect.getdoc(self.load()) or "").split("\n", 1)[0]

    def arguments(self) -> type[msgspec.Struct]:
        """Return the closed type of its arguments, made from its signature."""
        function = self.load()
        hints = get_type_hints(function)
        fields: list[Any] = []
        for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
            if parameter.default is inspect.Parameter.empty:
                fields.append((name, hints[name]))
            else:
                fields.append((name, hints[name], parameter.default))
        return msgspec.defstruct(
            "Arguments", fields, rename="camel", forbid_unknown_fields=True, kw_only=True
        )

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its arguments."""
        return msgspec.json.schema(self.arguments())


OPERATIONS: tuple[Operation, ...] = (
    Operation("workspace.status", "workspace.workspace_status:show_status", "read"),
    Operation("workspace.doctor", "workspace.doctor:check_health", "read"),
    Operation("workspace.validate", "workspace.validate:validate_workspace", "read"),
    Operation("workspace.rename", "workspace.rename:rename_id", "write"),
    Operation("doctor.mend", "workspace.doctor:mend_workspace", "write"),
    Operation("doctor.bundle", "workspace.doctor:write_bundle", "write", agents=False),
    Operation("migrate.list", "workspace.migrate:list_migrations", "read"),
    Operation("migrate.run", "workspace.migrate:run_migrations", "write", agents=False),
    Operation("backup.create", "workspace.backup:create_backup", "write"),
    Operation("backup.list", "workspace.backup:list_backups", "read"),
    Operation("backup.verify", "workspace.backup:check_backup", "read"),
    Operation("backup.restore", "workspace.backup:restore_backup", "write", agents=False),
    Operation("config.explain", "workspace.config_explain:explain_config", "read"),
    Operation("store.status", "workspace.store_remote:show_stores", "read"),
    Operation("store.push", "workspace.store_remote:push_objects", "write", agents=False),
    Operation("store.pull", "workspace.store_remote:pull_objects", "write"),
    Operation("store.verify", "workspace.store:verify_store", "read"),
    Operation("store.gc", "workspace.store:collect_garbage", "write", agents=False),
    Operation("store.verify-remote", "workspace.store_remote_care:verify_remote", "read"),
    Operation(
        "store.gc-remote",
        "workspace.store_remote_care:collect_remote_garbage",
        "write",
        agents=False,
    ),
    Operation("report.changes", "pull_requests.report:report_changes", "read"),
    Operation("report.page", "pull_requests.report:write_report_page", "write"),
    Operation("ci.init", "pull_requests.ci_setup:init_ci", "write", agents=False),
    Operation("git.install", "workspace.git_setup:install_git", "write", agents=False),
    Operation("git.uninstall", "workspace.git_setup:uninstall_git", "write", agents=False),
    Operation("git.status", "workspace.git_setup:show_git", "read"),
    Operation("git.finish", "workspace.git_finish:finish_merges", "write"),
    Operation("project.create", "catalog.project:create_project", "write"),
    Operation("project.list", "catalog.project:list_projects", "read"),
    Operation("project.show", "catalog.project:show_project", "read"),
    Operation("project.rights", "catalog.project_rights:set_rights", "write", agents=False),
    Operation("checkpoint.add", "catalog.checkpoint:add_checkpoint", "write"),
    Operation("checkpoint.list", "catalog.checkpoint:list_checkpoints", "read"),
    Operation("checkpoint.show", "catalog.checkpoint:show_checkpoint", "read"),
    Operation("checkpoint.verify", "catalog.checkpoint:verify_checkpoint", "read"),
    Operation("checkpoint.add-profile", "catalog.checkpoint_profile:add_profile", "write"),
    Operation("checkpoint.profiles", "catalog.checkpoint_profile:list_profiles", "read"),
    Operation("checkpoint.show-profile", "catalog.checkpoint_profile:show_profile", "read"),
    Operation("catalog.show", "catalog.catalog_words:show_catalog", "read"),
    Operation("catalog.add", "catalog.catalog_words:add_word", "write"),
    Operation("spec.list", "catalog.spec:list_specs", "read"),
    Operation("spec.show", "catalog.spec:show_spec", "read"),
    Operation("spec.prompt", "catalog.checkpoint_profile:show_prompt", "read"),
    Operation("spec.remove", "catalog.spec:remove_specs", "write"),
    Operation("asset.import", "catalog.asset_import:import_assets", "write"),
    Operation("asset.list", "catalog.asset:list_assets", "read"),
    Operation("asset.show", "catalog.asset:show_asset", "read"),
    Operation("asset.approve", "catalog.asset:approve_assets", "write", agents=False),
    Operation("asset.reject", "catalog.asset:reject_assets", "write", agents=False),
    Operation("asset.deprecate", "catalog.asset:deprecate_assets", "write", agents=False),
    Operation("asset.tag", "catalog.asset_words:tag_assets", "write"),
    Operation("asset.rate", "catalog.asset_words:rate_assets", "write"),
    Operation("asset.withdraw", "catalog.asset_rights:withdraw_assets", "write", agents=False),
    Operation("asset.rights", "catalog.asset_rights:state_rights", "write", agents=False),
    Operation("dataset.build", "datasets.dataset:build_dataset", "write"),
    Operation("dataset.list", "datasets.dataset_views:list_datasets", "read"),
    Operation("dataset.show", "datasets.dataset_views:show_dataset", "read"),
    Operation("dataset.sheet", "datasets.dataset_sheet:draw_dataset", "write"),
    Operation("dataset.stats", "datasets.dataset_stats:count_dataset", "read"),
    Operation("dataset.diff", "datasets.dataset_diff:diff_datasets", "read"),
    Operation("dataset.diff-page", "datasets.dataset_diff:write_diff_page", "write"),
    Operation("dataset.croissant", "datasets.dataset_croissant:export_croissant", "write"),
    Operation("dataset.impact", "datasets.dataset_impact:show_impact", "read"),
    Operation("dataset.check", "datasets.dataset_check:check_dataset", "read"),
    Operation(
        "dataset.acknowledge", "datasets.dataset_check:acknowledge_findings", "write", agents=False
    ),
    Operation("dataset.verify", "datasets.dataset_files:verify_dataset", "read"),
    Operation("dataset.stage", "datasets.dataset_files:stage_dataset", "write"),
    Operation("dataset.export", "datasets.dataset_export:export_dataset", "write", agents=False),
    Operation("caption.lint", "datasets.caption:lint_captions_of", "read"),
    Operation("preset.list", "training.preset:list_presets", "read"),
    Operation("preset.show", "training.preset:show_preset", "read"),
    Operation("trainer.list", "training.setup:list_trainers", "read"),
    Operation("trainer.setup", "training.setup:setup_trainer", "write", agents=False),
    Operation("train.plan", "training.train:plan_training", "read"),
    Operation("train.save-plan", "training.train_plan:save_plan", "write"),
    Operation("train.run", "training.train:train", "write"),
    Operation("train.from-plan", "training.train_plan:train_from_plan", "write"),
    Operation("run.list", "training.run_views:list_runs", "read"),
    Operation("run.show", "training.run_views:show_run", "read"),
    Operation("run.log", "training.run_reading:read_run_log", "read"),
    Operation("run.cancel", "training.run_cancel:cancel_run", "write"),
    Operation("run.resume", "training.run_resume:resume_run", "write"),
    Operation("run.follow", "training.run_reading:follow_run", "read"),
    Operation("run.work", "training.run_worker:work_queue", "write", agents=False),
    Operation("weights.inspect", "training.weights:inspect_weights_file", "read"),
    Operation("weights.compare", "training.weights_compare:compare_weights", "read"),
    Operation("weights.scrub", "training.weights:scrub_weights", "write"),
    Operation("lora.create", "releases.lora:create_lora", "write"),
    Operation("lora.add-images", "releases.lora_images:add_images", "write"),
    Operation(
        "lora.add-approved-images",
        "releases.lora_images:add_approved_images",
        "write",
        agents=False,
    ),
    Operation("lora.list", "releases.lora:list_loras", "read"),
    Operation("lora.show", "releases.lora:show_lora", "read"),
    Operation("lora.status", "releases.lora_status:show_lora_status", "read"),
    Operation("lora.activate", "releases.lora:activate_lora", "write", agents=False),
    Operation("lora.deactivate", "releases.lora:deactivate_lora", "write", agents=False),
    Operation("lora.delete", "releases.lora_delete:delete_lora", "write", agents=False),
    Operation("lora.resolve", "releases.resolve:resolve_lora", "read"),
    Operation("lora.resolve-stack", "releases.resolve:resolve_stack", "read"),
    Operation("lora.generate", "releases.generate:generate_image", "write"),
    Operation("lora.advise", "releases.advise:advise", "read"),
    Operation("hooks.show", "releases.release_hooks:show_hooks", "read"),
    Operation("hooks.run", "releases.release_hooks:run_hooks", "write", agents=False),
    Operation("release.list", "releases.release:list_releases", "read"),
    Operation("release.show", "releases.release:show_release", "read"),
    Operation("release.verify", "releases.release:verify_release", "read"),
    Operation("release.register", "releases.release_register:register_release", "write"),
    Operation(
        "release.registerFrom",
        "releases.release_fetch:register_release_from",
        "write",
        agents=False,
    ),
    Operation("release.card", "releases.release_card:write_card", "write"),
    Operation("release.check-cards", "releases.release_card:check_cards", "read"),
    Operation("release.diff", "releases.release_diff:diff_releases", "write"),
    Operation("release.publish", "releases.release_publish:publish_release", "write", agents=False),
    Operation("release.export", "releases.release_export:export_release", "write", agents=False),
    Operation("release.deprecate", "releases.release:deprecate_release", "write", agents=False),
    Operation("release.answer", "releases.release_answer:answer_withdrawal", "write", agents=False),
    Operation("release.promote", "releases.promote:promote_release", "write", agents=False),
    Operation("release.emergency", "releases.emergency:break_glass", "write", agents=False),
    Operation("release.history", "releases.release_history:show_history", "read"),
    Operation("release.rollback", "releases.promote:rollback_release", "write", agents=False),
    Operation("suite.list", "evaluation.suite:list_suites", "read"),
    Operation("suite.show", "evaluation.suite:show_suite", "read"),
    Operation("suite.use", "evaluation.suite:use_suite", "write", agents=False),
    Operation("eval.create", "evaluation.evaluate:create_evaluation", "write"),
    Operation("eval.grid", "evaluation.evaluate:render_evaluation", "write"),
    Operation("eval.metrics", "evaluation.evaluation_metrics:measure_evaluation", "write"),
    Operation("eval.sweep", "evaluation.evaluation_sweep:sweep_run", "write"),
    Operation("eval.normalize", "evaluation.evaluation_tidy:normalize_evaluations", "write"),
    Operation("eval.cleanup", "evaluation.evaluation_tidy:cleanup_evaluations", "write"),
    Operation("eval.show", "evaluation.evaluate:show_evaluation", "read"),
    Operation("eval.compare", "releases.release_diff:compare_evaluations", "write"),
    Operation("eval.sheet", "evaluation.evaluate:write_sheet", "write"),
    Operation("eval.review", "evaluation.review:review_evaluation", "write", agents=False),
    Operation("eval.blind-page", "evaluation.review_blind:make_blind_page", "write", agents=False),
    Operation(
        "eval.blind-answers", "evaluation.review_answers:record_blind_review", "write", agents=False
    ),
    Operation("eval.waive", "evaluation.waive:waive_condition", "write", agents=False),
    Operation("eval.blind", "evaluation.review_answers:show_blind", "read"),
)


def find_operation(name: str) -> Operation:
    """Return one operation.

    Raises:
        ArgumentInvalidError: When there is none of that name.
    """
    for operation in OPERATIONS:
        if operation.name == name:
            return operation
    near = did_you_mean(name, [operation.name for operation in OPERATIONS])
    raise ArgumentInvalidError(
        f"no operation {name!r}", hint=f"did you mean {near}?" if near else "lora call --list"
    )


def call_operation(workspace: Workspace, name: str, arguments: dict[str, Any]) -> Result:
    """Call an operation by name with JSON arguments.

    Raises:
        ArgumentInvalidError: When the name or an argument is wrong.
        PipelineError: As the operation does.
    """
    operation = find_operation(name)
    try:
        checked = msgspec.convert(arguments, operation.arguments())
    except msgspec.ValidationError as error:
        raise ArgumentInvalidError(f"{name}: {error}", hint=f"lora call {name} --schema") from error
    values = {field: getattr(checked, field) for field in checked.__struct_fields__}
    for field, value in values.items():
        if isinstance(value, str) and "\0" in value:  # no path and no program takes it
            raise ArgumentInvalidError(
                f"{name}: {field} holds a null character", hint=f"lora call {name} --schema"
            )
    return operation.load()(workspace, **values)
