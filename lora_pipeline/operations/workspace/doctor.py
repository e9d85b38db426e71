"""Check this machine and this workspace, before something goes wrong, and mend what is safe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import PipelineError, RecordExistsError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.workspace.checkup.bundle import bundle_of
from lora_pipeline.operations.workspace.checkup.programs import package_checks, program_checks
from lora_pipeline.operations.workspace.checkup.records import record_checks
from lora_pipeline.operations.workspace.checkup.rented import rented_checks
from lora_pipeline.operations.workspace.checkup.stagings import staging_checks
from lora_pipeline.operations.workspace.git_setup import drivers_check
from lora_pipeline.workspace.health.machine import Check, machine_checks
from lora_pipeline.workspace.health.repository import repository_checks
from lora_pipeline.workspace.health.state import state_checks
from lora_pipeline.workspace.root import Workspace

_WRONG = ("warn", "fail")


def check_health(workspace: Workspace) -> Result:
    """Check Python, Git, disk, store, locks, records, base models, trainers and renderers."""
    return _judged(_every_check(workspace))


def mend_workspace(workspace: Workspace) -> Result:
    """Mend what can be mended without asking, then check again.

    That is: finishing what was interrupted half-way, removing what interrupted writes left and
    nothing names, bringing editors' schemas to this version, adding the lines that .gitignore
    and .gitattributes lack, and giving back machines that runs which have ended had rented.
    Everything else is named with the command that mends it.

    Args:
        workspace: What is mended.

    Raises:
        RecordConflictError: When what was interrupted cannot be finished any more.
        LockedError, StorageError: As every write.
    """
    wrong = [one for one in _every_check(workspace) if one.mend and one.state in _WRONG]
    mended, written = [], []
    for one in wrong:
        assert one.mend is not None  # noqa: S101 - chosen above
        paths = [] if workspace.dry_run else one.mend()
        mended.append({"code": one.code, "name": one.name, "was": one.message, "paths": paths})
        written += paths
    result = _judged(_every_check(workspace))
    words = ", ".join(str(one["name"]) for one in mended)
    return Result(
        data={**result.data, "mended": mended},
        reasoning=f"Mended {words}" if mended else "Nothing that could be mended safely",
        suggestions=result.suggestions,
        written=list(dict.fromkeys(written)),
        dry_run=workspace.dry_run,
        refusal=result.refusal,
    )


def write_bundle(workspace: Workspace, out: str) -> Result:
    """Write a check-up that can be shown to strangers: without names, homes and secrets.

    Args:
        workspace: What is checked.
        out: The file, in Markdown.

    Raises:
        RecordExistsError: When it is there already.
        StorageError: When the disk refuses.
    """
    target = workspace.root / Path(out).expanduser()
    if target.exists():
        raise RecordExistsError(f"{target} is there already", hint="--bundle another name")
    checks = _every_check(workspace)
    text = bundle_of(workspace, checks)
    if not workspace.dry_run:
        with files.disk_refusals():
            files.write_atomic(target, text.encode())
    result = _judged(checks)
    inside = target.is_relative_to(workspace.root)
    return Result(
        data={**result.data, "bundle": str(target)},
        reasoning=f"Wrote a check-up to {target.name}; look at it before you show it",
        written=[workspace.relative(target)] if inside else [],
        dry_run=workspace.dry_run,
    )


def check_machine(problem: PipelineError) -> Result:
    """Check what can be checked without a workspace.

    Args:
        problem: Why there is none: not found, or its settings cannot be read.
    """
    return _judged([*machine_checks(Path.cwd()), *package_checks(), _no_workspace(problem)])


def _every_check(workspace: Workspace) -> list[Check]:
    drivers = drivers_check(workspace)
    return [
        *machine_checks(workspace.root),
        *package_checks(),
        *state_checks(workspace),
        *repository_checks(workspace),
        *([drivers] if drivers else []),
        *record_checks(workspace),
        *staging_checks(workspace),
        *program_checks(workspace),
        *rented_checks(workspace),
    ]


def _judged(checks: Sequence[Check]) -> Result:
    states = Counter(check.state for check in checks)
    failed = states["fail"]
    wrong = [check for check in checks if check.state in _WRONG]
    fixes = [check.fix for check in wrong if check.state == "fail" and check.fix]
    if any(check.mend for check in wrong):
        fixes = ["lora doctor --fix", *fixes]
    return Result(
        data={
            "checks": [check.to_dict() for check in checks],
            "counts": {state: states[state] for state in ("ok", "warn", "fail", "skipped")},
        },
        reasoning=", ".join(
            [
                f"{states['ok']} ok",
                _counted(states["warn"], "warning"),
                _counted(failed, "failure"),
                f"{states['skipped']} skipped",
            ]
        ),
        suggestions=list(dict.fromkeys(fixes))[:3],
        refusal=Refusal("unhealthy", f"{failed} of {len(checks)} checks failed")
        if failed
        else None,
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _no_workspace(problem: PipelineError) -> Check:
    if problem.code == "workspace_not_found":
        return Check("workspace", "skipped", problem.message, problem.hint or "")
    return Check("workspace", "fail", problem.message, problem.hint or "")
