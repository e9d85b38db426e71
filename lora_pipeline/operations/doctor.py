"""Check this machine and this workspace, before something goes wrong."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.workspace.health import Check, State, machine_checks, workspace_checks
from lora_pipeline.workspace.root import Workspace

# Distribution names by extra.
_EXTRAS = {"train": ("torch", "accelerate", "diffusers", "peft", "transformers")}
# Releases that carried malicious code, or decode images unsafely.
_BAD_RELEASES = {
    "ultralytics": (("8.3.41", "8.3.42"), "carried a miner"),
    "litellm": (("1.82.7", "1.82.8"), "stole keys"),
}
_SAFE_PILLOW = 13


def check_health(workspace: Workspace) -> Result:
    """Check Python, Git, disk, store, locks, trainers and renderers."""
    checks = [*machine_checks(workspace.root), *_packages()]
    return _judged([*checks, *workspace_checks(workspace), *_programs(workspace)])


def check_machine(problem: PipelineError) -> Result:
    """Check what can be checked without a workspace.

    Args:
        problem: Why there is none: not found, or its settings cannot be read.
    """
    return _judged([*machine_checks(Path.cwd()), *_packages(), _no_workspace(problem)])


def _judged(checks: list[Check]) -> Result:
    states = Counter(check.state for check in checks)
    failed = states["fail"]
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
        suggestions=[check.fix for check in checks if check.state == "fail" and check.fix][:3],
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


def _packages() -> Iterator[Check]:
    for extra, names in _EXTRAS.items():
        yield _extra(extra, names)
    bad = [
        f"{name} {found} {reason}"
        for name, (versions, reason) in _BAD_RELEASES.items()
        if (found := _version(name)) in versions
    ]
    if bad:
        yield Check("packages", "fail", "; ".join(bad), "uninstall it, and change your keys")
        return
    pillow = _version("pillow") or "0"
    if int(pillow.partition(".")[0]) < _SAFE_PILLOW:
        words = f"pillow {pillow} has known holes"
        yield Check("packages", "fail", words, "pip install --upgrade pillow")
        return
    yield Check("packages", "ok", "none that is known to be bad")


def _extra(extra: str, names: tuple[str, ...]) -> Check:
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    fix = f"pip install 'lora-pipeline[{extra}]'"
    if len(missing) == len(names):
        return Check(f"extra {extra}", "skipped", "not installed", fix)
    if missing:
        return Check(f"extra {extra}", "warn", f"{', '.join(missing)} missing", fix)
    words = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Check(f"extra {extra}", "ok", words)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _programs(workspace: Workspace) -> Iterator[Check]:
    """Yield each trainer and renderer.

    One that is missing is no failure: a machine for reviews needs none of them.
    """
    from lora_pipeline.evaluation.renderers.registry import RENDERERS
    from lora_pipeline.training.trainers.registry import TRAINERS

    settings = workspace.settings
    for name, trainer in TRAINERS.items():
        problem = trainer.health(settings)
        state = _state_of(name, settings.text("trainers.default"), broken=problem is not None)
        found = problem.message if problem else trainer.version(settings)
        found = "ready" if found == "unknown" else found
        yield Check(f"trainer {name}", state, found, problem.hint if problem else "")
    for name, renderer in RENDERERS.items():
        reason = renderer.health(settings)
        state = _state_of(name, settings.text("renderers.default"), broken=reason is not None)
        found = reason.message if reason else "ready"
        yield Check(f"renderer {name}", state, found, reason.hint if reason else "")


def _state_of(name: str, default: str | None, *, broken: bool) -> State:
    if not broken:
        return "ok"
    return "warn" if name == default else "skipped"
