"""Every operation by name: the one list that ``lora call``, REST and MCP are made from."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.root import Workspace


@dataclass(frozen=True)
class Operation:
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
    Operation("workspace.status", "workspace_status:show_status", "read"),
    Operation("workspace.doctor", "doctor:check_health", "read"),
    Operation("workspace.validate", "validate:validate_workspace", "read"),
    Operation("workspace.rename", "rename:rename_id", "write"),
    Operation("doctor.mend", "doctor:mend_workspace", "write"),
    Operation("doctor.bundle", "doctor:write_bundle", "write", agents=False),
    Operation("migrate.list", "migrate:list_migrations", "read"),
    Operation("migrate.run", "migrate:run_migrations", "write", agents=False),
    Operation("backup.create", "backup:create_backup", "write"),
    Operation("backup.list", "backup:list_backups", "read"),
    Operation("backup.verify", "backup:check_backup", "read"),
    Operation("backup.restore", "backup:restore_backup", "write", agents=False),
    Operation("config.explain", "config_explain:explain_config", "read"),
    Operation("store.status", "store_remote:show_stores", "read"),
    Operation("store.push", "store_remote:push_objects", "write", agents=False),
    Operation("store.pull", "store_remote:pull_objects", "write"),
    Operation("store.verify", "store:verify_store", "read"),
    Operation("store.gc", "store:collect_garbage", "write", agents=False),
    Operation("store.verify-remote", "store_remote_care:verify_remote", "read"),
    Operation("store.gc-remote", "store_remote_care:collect_remote_garbage", "write", agents=False),
    Operation("report.changes", "report:report_changes", "read"),
    Operation("report.page", "report:write_report_page", "write"),
    Operation("ci.init", "ci_setup:init_ci", "write", agents=False),
    Operation("git.install", "git_setup:install_git", "write", agents=False),
    Operation("git.uninstall", "git_setup:uninstall_git", "write", agents=False),
    Operation("git.status", "git_setup:show_git", "read"),
    Operation("git.finish", "git_finish:finish_merges", "write"),
    Operation("project.create", "project:create_project", "write"),
    Operation("project.list", "project:list_projects", "read"),
    Operation("project.show", "project:show_project", "read"),
    Operation("project.rights", "project_rights:set_rights", "write", agents=False),
    Operation("checkpoint.add", "checkpoint:add_checkpoint", "write"),
    Operation("checkpoint.list", "checkpoint:list_checkpoints", "read"),
    Operation("checkpoint.show", "checkpoint:show_checkpoint", "read"),
    Operation("checkpoint.verify", "checkpoint:verify_checkpoint", "read"),
    Operation("checkpoint.add-profile", "checkpoint_profile:add_profile", "write"),
    Operation("checkpoint.profiles", "checkpoint_profile:list_profiles", "read"),
    Operation("checkpoint.show-profile", "checkpoint_profile:show_profile", "read"),
    Operation("catalog.show", "catalog_words:show_catalog", "read"),
    Operation("catalog.add", "catalog_words:add_word", "write"),
    Operation("spec.list", "spec:list_specs", "read"),
    Operation("spec.show", "spec:show_spec", "read"),
    Operation("spec.prompt", "checkpoint_profile:show_prompt", "read"),
    Operation("spec.remove", "spec:remove_specs", "write"),
    Operation("asset.import", "asset_import:import_assets", "write"),
    Operation("asset.list", "asset:list_assets", "read"),
    Operation("asset.show", "asset:show_asset", "read"),
    Operation("asset.approve", "asset:approve_assets", "write", agents=False),
    Operation("asset.reject", "asset:reject_assets", "write", agents=False),
    Operation("asset.deprecate", "asset:deprecate_assets", "write", agents=False),
    Operation("asset.tag", "asset_words:tag_assets", "write"),
    Operation("asset.rate", "asset_words:rate_assets", "write"),
    Operation("asset.withdraw", "asset_rights:withdraw_assets", "write", agents=False),
    Operation("asset.rights", "asset_rights:state_rights", "write", agents=False),
    Operation("dataset.build", "dataset:build_dataset", "write"),
    Operation("dataset.list", "dataset_views:list_datasets", "read"),
    Operation("dataset.show", "dataset_views:show_dataset", "read"),
    Operation("dataset.sheet", "dataset_sheet:draw_dataset", "write"),
    Operation("dataset.stats", "dataset_stats:count_dataset", "read"),
    Operation("dataset.diff", "dataset_diff:diff_datasets", "read"),
    Operation("dataset.diff-page", "dataset_diff:write_diff_page", "write"),
    Operation("dataset.croissant", "dataset_croissant:export_croissant", "write"),
    Operation("dataset.impact", "dataset_impact:show_impact", "read"),
    Operation("dataset.check", "dataset_check:check_dataset", "read"),
    Operation("dataset.acknowledge", "dataset_check:acknowledge_findings", "write", agents=False),
    Operation("dataset.verify", "dataset_files:verify_dataset", "read"),
    Operation("dataset.stage", "dataset_files:stage_dataset", "write"),
    Operation("dataset.export", "dataset_export:export_dataset", "write", agents=False),
    Operation("caption.lint", "caption:lint_captions_of", "read"),
    Operation("preset.list", "preset:list_presets", "read"),
    Operation("preset.show", "preset:show_preset", "read"),
    Operation("trainer.list", "setup:list_trainers", "read"),
    Operation("trainer.setup", "setup:setup_trainer", "write", agents=False),
    Operation("train.plan", "train:plan_training", "read"),
    Operation("train.save-plan", "train_plan:save_plan", "write"),
    Operation("train.run", "train:train", "write"),
    Operation("train.from-plan", "train_plan:train_from_plan", "write"),
    Operation("run.list", "run:list_runs", "read"),
    Operation("run.show", "run:show_run", "read"),
    Operation("run.log", "run_reading:read_run_log", "read"),
    Operation("run.cancel", "run_cancel:cancel_run", "write"),
    Operation("run.resume", "run:resume_run", "write"),
    Operation("run.follow", "run_reading:follow_run", "read"),
    Operation("run.work", "run_worker:work_queue", "write", agents=False),
    Operation("weights.inspect", "weights:inspect_weights_file", "read"),
    Operation("weights.compare", "weights_compare:compare_weights", "read"),
    Operation("weights.scrub", "weights:scrub_weights", "write"),
    Operation("lora.create", "lora:create_lora", "write"),
    Operation("lora.add-images", "lora_images:add_images", "write"),
    Operation("lora.add-approved-images", "lora_images:add_approved_images", "write", agents=False),
    Operation("lora.list", "lora:list_loras", "read"),
    Operation("lora.show", "lora:show_lora", "read"),
    Operation("lora.status", "lora_status:show_lora_status", "read"),
    Operation("lora.activate", "lora:activate_lora", "write", agents=False),
    Operation("lora.deactivate", "lora:deactivate_lora", "write", agents=False),
    Operation("lora.delete", "lora_delete:delete_lora", "write", agents=False),
    Operation("lora.resolve", "resolve:resolve_lora", "read"),
    Operation("lora.resolve-stack", "resolve:resolve_stack", "read"),
    Operation("lora.generate", "generate:generate_image", "write"),
    Operation("lora.advise", "advise:advise", "read"),
    Operation("hooks.show", "release_hooks:show_hooks", "read"),
    Operation("hooks.run", "release_hooks:run_hooks", "write", agents=False),
    Operation("release.list", "release:list_releases", "read"),
    Operation("release.show", "release:show_release", "read"),
    Operation("release.verify", "release:verify_release", "read"),
    Operation("release.register", "release_register:register_release", "write"),
    Operation("release.registerFrom", "release_fetch:register_release_from", "write", agents=False),
    Operation("release.card", "release_card:write_card", "write"),
    Operation("release.check-cards", "release_card:check_cards", "read"),
    Operation("release.diff", "release_diff:diff_releases", "write"),
    Operation("release.publish", "release_publish:publish_release", "write", agents=False),
    Operation("release.export", "release_export:export_release", "write", agents=False),
    Operation("release.deprecate", "release:deprecate_release", "write", agents=False),
    Operation("release.answer", "release_answer:answer_withdrawal", "write", agents=False),
    Operation("release.promote", "promote:promote_release", "write", agents=False),
    Operation("release.emergency", "emergency:break_glass", "write", agents=False),
    Operation("release.history", "release_history:show_history", "read"),
    Operation("release.rollback", "promote:rollback_release", "write", agents=False),
    Operation("suite.list", "suite:list_suites", "read"),
    Operation("suite.show", "suite:show_suite", "read"),
    Operation("eval.create", "evaluate:create_evaluation", "write"),
    Operation("eval.grid", "evaluate:render_evaluation", "write"),
    Operation("eval.metrics", "evaluation_metrics:measure_evaluation", "write"),
    Operation("eval.sweep", "evaluation_sweep:sweep_run", "write"),
    Operation("eval.normalize", "evaluation_tidy:normalize_evaluations", "write"),
    Operation("eval.cleanup", "evaluation_tidy:cleanup_evaluations", "write"),
    Operation("eval.show", "evaluate:show_evaluation", "read"),
    Operation("eval.compare", "release_diff:compare_evaluations", "write"),
    Operation("eval.sheet", "evaluate:write_sheet", "write"),
    Operation("eval.review", "review:review_evaluation", "write", agents=False),
    Operation("eval.blind-page", "review_blind:make_blind_page", "write", agents=False),
    Operation("eval.blind-answers", "review_answers:record_blind_review", "write", agents=False),
    Operation("eval.waive", "waive:waive_condition", "write", agents=False),
    Operation("eval.blind", "review_answers:show_blind", "read"),
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
    return operation.load()(workspace, **values)
