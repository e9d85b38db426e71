"""What stands around the records: definitions, weights in Git, and what was left over."""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.catalog.image_index import images_without_asset
from lora_pipeline.evaluation.suites import read_suite
from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.workspace.validation.collect import holds_secret
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.releases.gate.policies import weakened_policies
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive, is_here
from lora_pipeline.workspace.definitions import FAMILIES, read_definition
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_WEIGHT_FILES = [
    f"*{ending}"
    for ending in (".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".onnx")
]  # fmt: skip
_UNDER_WAY = ("created", "queued", "training")


def definition_findings(workspace: Workspace) -> Iterator[Finding]:
    """Yield presets, suites and policies of the workspace that are not valid."""
    valid = True
    for family in FAMILIES:
        folder = workspace.root / "config" / family
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
            try:
                if family == "suites":
                    read_suite(workspace, path.stem)
                else:
                    read_definition(workspace, family, path.stem)
            except PipelineError as error:
                valid = False
                yield Finding(
                    error.code, "error", workspace.relative(path), error.message, error.hint or ""
                )
    if valid:
        for source, weaker in weakened_policies(workspace).items():
            yield Finding(
                "policy_weakened",
                "warning",
                source,
                f"it asks for less than the policy of that name that ships: {', '.join(weaker)}",
                "give a policy of your own another name",
            )


def secret_findings(workspace: Workspace) -> Iterator[Finding]:
    """Yield files of the configuration that hold what looks like a token."""
    folder = workspace.root / "config"
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        text = path.suffix in (".yaml", ".yml", ".json") and path.is_file()
        if text and holds_secret(strict_json.read_bytes(path)):
            yield Finding(
                "secret",
                "error",
                workspace.relative(path),
                "it holds what looks like a token, key or password",
                "set it as an environment variable, and revoke this one",
            )


def weights_in_git(workspace: Workspace) -> Iterator[Finding]:
    """Yield weight files that Git keeps, or would with the next ``git add``."""
    root = git.repository_root(workspace.root)
    if root is None:
        return
    for tracked in (True, False):
        for name in git.listed(workspace.root, _WEIGHT_FILES, tracked=tracked):
            state = "is in Git" if tracked else "would be added to Git"
            yield Finding(
                "weights_in_git",
                "error" if tracked else "warning",
                workspace.relative(root / name),
                f"a weights file {state}; weights are kept in the store, by digest",
                f"git rm --cached {name}, then lora release register" if tracked
                else "move it out of the repository, or lora release register it",
            )  # fmt: skip


def left_over(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    """Yield what interrupted work left, each with the command that finishes or removes it."""
    for path in files.stale_temporaries(workspace.runtime):
        yield Finding(
            "left_over",
            "warning",
            workspace.relative(path),
            "an interrupted write left it; nothing names it",
            f"rm {workspace.relative(path)}",
        )
    for scope in workspace.records.scopes():
        for folder in images_without_asset(workspace, scope):
            yield Finding(
                "left_over",
                "warning",
                workspace.relative(folder),
                "an interrupted import left it; no asset names it",
                f"import the same art again finishes it; rm -r {workspace.relative(folder)} "
                "removes it",
            )
    for run in records.everywhere(Run):
        record = run.record
        if record.state in _UNDER_WAY and not is_alive(workspace, record.id):
            yield _interrupted(workspace, run)
        if record.state == "ready" and records.exists(Lora, run.scope, record.lora_id):
            lora = records.read(Lora, run.scope, record.lora_id).record
            if lora.release(record.release_id) is None:
                yield Finding(
                    "release_missing",
                    "warning",
                    workspace.relative(run.path),
                    f"run {record.id} brought {record.release_id}, and {lora.id} has no such "
                    "release",
                    f"lora run resume {record.id}",
                )


def _interrupted(workspace: Workspace, loaded: Loaded[Run]) -> Finding:
    run, where = loaded.record, workspace.relative(loaded.path)
    if not is_here(workspace, run.id):
        message = f"run {run.id} of {run.lora_id} is {run.state}, on another machine"
        return Finding("run_elsewhere", "info", where, message, f"lora run show {run.id}")
    return Finding(
        "run_interrupted",
        "warning",
        where,
        f"run {run.id} of {run.lora_id} is {run.state}, and nothing works on it any more",
        f"lora run resume {run.id}, or lora run cancel {run.id}",
    )
