"""Packages, trainers and renderers: are they there, whole, and none that is known to be bad."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from lora_pipeline.evaluation.renderers.interface import Renderer
from lora_pipeline.evaluation.renderers.registry import RENDERERS
from lora_pipeline.foundation.errors import PipelineError, RendererError
from lora_pipeline.foundation.process import run
from lora_pipeline.training.trainers.environment import Environment
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.health.machine import Check, State
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import Settings

# Distribution names by extra.
_EXTRAS = {"train": ("torch", "accelerate", "diffusers", "peft", "transformers")}
# Releases that carried malicious code, or decode images unsafely.
_BAD_RELEASES = {
    "ultralytics": (("8.3.41", "8.3.42"), "carried a miner"),
    "litellm": (("1.82.7", "1.82.8"), "stole keys"),
}
_SAFE_PILLOW = 13
_PROBE_S = 60.0
# Asks a foreign Python what it has; prints one line of JSON and imports nothing but torch.
_PROBE = """
import importlib.metadata as m, json, sys
found = {}
for name in ("torch", *sys.argv[1:]):
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
devices = ["cpu"]
if "torch" in found:
    try:
        import torch
        if torch.cuda.is_available():
            devices = [torch.cuda.get_device_name(0)]
        elif getattr(torch.backends, "mps", None) and torch.backends.mps.is_available():
            devices = ["mps"]
    except Exception as error:
        devices = ["torch does not start: " + str(error).splitlines()[0][:120]]
print(json.dumps({"python": sys.version.split()[0], "packages": found, "devices": devices}))
"""


def package_checks() -> Iterator[Check]:
    """Yield what can be said of the packages in our own environment."""
    for extra, names in _EXTRAS.items():
        yield _extra(extra, names)
    bad = bad_releases({name: _version(name) or "" for name in _BAD_RELEASES})
    if bad:
        yield Check("packages", "fail", "; ".join(bad), "uninstall it, and change your keys")
        return
    pillow = _version("pillow") or "0"
    if int(pillow.partition(".")[0]) < _SAFE_PILLOW:
        words = f"pillow {pillow} has known holes"
        yield Check("packages", "fail", words, "pip install --upgrade pillow")
        return
    yield Check("packages", "ok", "none that is known to be bad")


def bad_releases(versions: Mapping[str, str]) -> list[str]:
    """Return the releases among ``versions`` that are known to be bad, each with the reason."""
    return [
        f"{name} {versions[name]} {reason}"
        for name, (known, reason) in _BAD_RELEASES.items()
        if versions.get(name) in known
    ]


def program_checks(workspace: Workspace) -> Iterator[Check]:
    """Yield each trainer and renderer.

    One that is missing is no failure: a machine for reviews needs none of them.
    """
    settings = workspace.settings
    for name, trainer in TRAINERS.items():
        problem = trainer.health(settings)
        state = _state_of(name, settings.text("trainers.default"), broken=problem is not None)
        found = problem.message if problem else trainer.version(settings)
        found = "ready" if found == "unknown" else found
        yield Check(f"trainer {name}", state, found, problem.hint if problem else "")
    for name, python in _own_environments(workspace, settings):
        yield _environment(name, python)
    for name, renderer in RENDERERS.items():
        yield _renderer(name, renderer, settings)


def _renderer(name: str, renderer: Renderer, settings: Settings) -> Check:
    reason = renderer.health(settings)
    state = _state_of(name, settings.text("renderers.default"), broken=reason is not None)
    if reason is not None:
        return Check(f"renderer {name}", state, reason.message, reason.hint)
    try:
        return Check(f"renderer {name}", state, renderer.found(settings))
    except RendererError as error:
        # It is set up, so somebody means to use it.
        return Check(f"renderer {name}", "warn", error.message, error.hint or "")


def _own_environments(workspace: Workspace, settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield the Pythons of trainers that live in an environment of their own."""
    named = settings.text("trainers.kohya_ss.python")
    for name in TRAINERS:
        environment = Environment(workspace.runtime / "trainers" / name)
        if name == "kohya_ss" and named:
            yield name, Path(named).expanduser()
        elif environment.complete:
            yield name, environment.python


def _environment(name: str, python: Path) -> Check:
    title = f"environment {name}"
    fix = f"lora setup {name}"
    try:
        done = run([str(python), "-c", _PROBE, *_BAD_RELEASES], timeout_s=_PROBE_S)
        facts = json.loads(done.stdout.strip().splitlines()[-1])
    except (PipelineError, ValueError, IndexError) as error:
        words = error.message if isinstance(error, PipelineError) else "it does not run"
        return Check(title, "fail", f"{python}: {words}", fix)
    packages: dict[str, str] = facts["packages"]
    bad = bad_releases(packages)
    if bad:
        return Check(title, "fail", "; ".join(bad), "uninstall it, and change your keys")
    if "torch" not in packages:
        return Check(title, "warn", f"Python {facts['python']} without torch", fix)
    words = f"Python {facts['python']}, torch {packages['torch']}, {', '.join(facts['devices'])}"
    return Check(title, "warn" if "does not start" in words else "ok", words, fix)


def _state_of(name: str, default: str | None, *, broken: bool) -> State:
    if not broken:
        return "ok"
    return "warn" if name == default else "skipped"


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
