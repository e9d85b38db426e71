"""What lets pull requests be checked: a workflow, hooks, owners, attributes."""

from __future__ import annotations

from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError
from lora_pipeline.foundation.resources import resource
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.code_owners import is_owner, with_owners
from lora_pipeline.workspace.git.drivers import ATTRIBUTES, attributes_file, attributes_found
from lora_pipeline.workspace.git.history import require_repository
from lora_pipeline.workspace.root import Workspace

_TEMPLATES = {
    ".github/workflows/lora.yml": "workflow.yml",
    ".github/actions/lora/action.yml": "action.yml",
    ".pre-commit-config.yaml": "pre-commit-config.yaml",
}
_OWNERS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")  # in the order GitHub looks
_HOOK = "lora-validate"


def init_ci(workspace: Workspace, *, owners: tuple[str, ...] = ()) -> Result:
    """Write what lets a pull request be checked and told; what is there stays as it is.

    Args:
        workspace: The workspace; the top of its repository.
        owners: Who must look at LoRAs, policies and suites: @user, @org/team or an e-mail
            address. Without any CODEOWNERS is left alone.

    Raises:
        ArgumentInvalidError: When an owner is none.
        RepositoryError: When there is no repository.
        StateError: When the workspace is not the top of the repository, where GitHub looks.
        StorageError: When the disk refuses.
    """
    for owner in owners:
        if not is_owner(owner):
            raise ArgumentInvalidError(
                f"{owner!r} is no owner", hint="@user, @organisation/team, or an e-mail address"
            )
    root = require_repository(workspace.root)
    if root.resolve() != workspace.root.resolve():
        raise StateError(
            f"the workspace is not the top of its repository {root}: GitHub would not look here",
            hint="take config/workspace/ci of the package as a start, and write the files there",
        )
    changes, kept = Changes(workspace), []
    for path, name in _TEMPLATES.items():
        if (workspace.root / path).exists():
            kept.append(path)
        else:
            data = resource("config", "workspace", "ci", name).read_bytes()
            changes.write_file(workspace.root / path, data)
    owned = _write_owners(workspace, changes, owners)
    _write_attributes(workspace, changes)
    written = changes.apply()
    return Result(
        data={"kept": kept, "owners": list(owners), "ownersFile": owned},
        reasoning="Pull requests are checked and told here"
        if written
        else "Pull requests are checked and told here already",
        warnings=_warnings(workspace, kept, owned=owned),
        suggestions=(f"git add {' '.join(written)}", "lora report HEAD")
        if written
        else ("lora report HEAD",),
        written=written,
        dry_run=workspace.dry_run,
    )


def _write_owners(workspace: Workspace, changes: Changes, owners: tuple[str, ...]) -> str | None:
    there = next((name for name in _OWNERS if (workspace.root / name).is_file()), None)
    if not owners:
        return there
    name = there or _OWNERS[0]
    path = workspace.root / name
    text = path.read_text(encoding="utf-8") if there else ""
    wanted = with_owners(text, owners, workspace.settings.require_text("dataRoot"))
    if wanted != text:
        changes.write_file(path, wanted.encode())
    return name


def _write_attributes(workspace: Workspace, changes: Changes) -> None:
    missing = [part for part in attributes_found(workspace) if part.state != "ok"]
    if missing:
        changes.write_file(workspace.root / ATTRIBUTES, attributes_file(workspace, missing))


def _warnings(workspace: Workspace, kept: list[str], *, owned: str | None) -> list[str]:
    warnings = []
    hooks = ".pre-commit-config.yaml"
    if hooks in kept and _HOOK not in (workspace.root / hooks).read_text(encoding="utf-8"):
        warnings.append(
            f"{hooks} was kept; add to it a local hook {_HOOK}: entry `lora validate --quiet`, "
            "language system, pass_filenames false"
        )
    if owned is None:
        warnings.append(
            "nobody owns the gate policies: lora ci init --owner @org/leads writes CODEOWNERS"
        )
    return warnings
