"""Setting up trainers: foreign programs, each in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lora_pipeline.foundation.errors import ArgumentInvalidError, ServiceError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.training.hosted.interface import HostedTrainer
from lora_pipeline.training.trainers import checkout_setup
from lora_pipeline.training.trainers.ai_toolkit.home import CHECKOUT as AI_TOOLKIT
from lora_pipeline.training.trainers.checkout import CheckoutProgram
from lora_pipeline.training.trainers.environment import Environment, Say
from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.kohya.home import SD_SCRIPTS
from lora_pipeline.training.trainers.mflux import setup as mflux_setup
from lora_pipeline.training.trainers.mflux.trainer import PROGRAM, find_program, program_version
from lora_pipeline.training.trainers.registry import TRAINERS, find_trainer
from lora_pipeline.workspace.local_settings import record_local_settings
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import read_settings, typed_settings

# What is installed with pip into our own environment, by trainer.
_EXTRAS = {"diffusers": "pip install 'lora-pipeline[train]'"}


def list_trainers(workspace: Workspace) -> Result:
    """Say of every trainer whether it can run on this machine."""
    states = [_state(workspace, trainer) for trainer in TRAINERS.values()]
    ready = [state["trainer"] for state in states if state["ready"]]
    return Result(
        data={"trainers": states},
        reasoning=f"{len(ready)} of {len(states)} trainers can run here",
        suggestions=[state["hint"] for state in states if not state["ready"]],
    )


def setup_trainer(
    workspace: Workspace,
    trainer: str,
    *,
    source: str | None = None,
    python: str | None = None,
    check: bool = False,
) -> Result:
    """Install a trainer in an environment of its own, or use one that is there already.

    Args:
        workspace: Where settings are kept and ``.lora/trainers`` stands.
        trainer: Name of the trainer.
        source: Checkout of the trainer that is there already (kohya_ss, ai_toolkit).
        python: Python of an environment that has everything, else the one to make it with.
        check: Whether only to say how things stand.

    Raises:
        ArgumentInvalidError: When the trainer is unknown, or an argument is not for it.
        TrainerUnavailableError: When it cannot be installed; nothing is left half-made.
        LockedError: When another set-up of the trainer is under way.
    """
    found = find_trainer(trainer)
    _require_arguments(trainer, source=source, python=python)
    if isinstance(found, HostedTrainer):
        return _set_up_elsewhere(workspace, found, check=check)
    state = _state(workspace, found)
    if check or trainer not in _RECIPES:
        own = Environment(workspace.runtime / "trainers" / trainer)
        return _answer(state | {"changed": own.changed() if own.complete else []})
    if state["ready"] and source is None and python is None:
        return Result(
            data=state | {"steps": []},
            reasoning=f"{_named(state)} is ready, nothing to do",
            suggestions=[_next(trainer)],
            dry_run=workspace.dry_run,
        )
    recipe = _RECIPES[trainer](workspace, source, python)
    steps = recipe.steps()
    if workspace.dry_run:
        return Result(
            data=state | {"steps": steps},
            reasoning=f"{trainer} would be set up in {len(steps)} steps",
            written=record_local_settings(workspace, recipe.settings_to_be()),
            dry_run=True,
        )
    with workspace_lock(recipe.own.folder, timeout_s=1):
        values = recipe.run()
        written = record_local_settings(workspace, values)
    after = _state(replace(workspace, settings=read_settings(workspace.root)), found)
    return Result(
        data=after | {"steps": steps},
        reasoning=f"{_named(after)} is set up",
        warnings=[] if after["ready"] else [after["problem"]],
        suggestions=[_next(trainer)],
        written=written,
    )


@dataclass
class _Checkout:
    """How a trainer that is a checkout is set up."""

    program: CheckoutProgram
    workspace: Workspace
    source: str | None
    python: str | None

    def __post_init__(self) -> None:
        self.own = Environment(self.workspace.runtime / "trainers" / self.program.trainer)
        settings = self.workspace.settings
        self.checkout = checkout_setup.find_checkout(
            self.program, self.own.folder, settings, self.source
        )
        self.ready = checkout_setup.ready_python(
            self.program, self.checkout, settings, self.own, self.python
        )

    def steps(self) -> list[str]:
        """Return what will be done, in words."""
        install = [f"pip install {' '.join(one)}" for one in self.program.steps]
        return [
            *([] if self.checkout else [f"git clone {self.program.repository}"]),
            *([] if self.ready else [f"make an environment at {self.own.venv}", *install]),
            "record home and python in config/local.json",
        ]

    def settings_to_be(self) -> dict[str, str]:
        """Return the settings as they will be."""
        return self._values(
            self.checkout or self.own.folder / self.program.name, self.ready or self.own.python
        )

    def run(self) -> dict[str, str]:
        """Do it and return the settings to record."""
        say = _sayer(self.workspace)
        checkout = self.checkout or checkout_setup.fetch_checkout(
            self.program, self.own.folder, say
        )
        ready = self.ready or checkout_setup.build_python(
            self.program, checkout, self.own, self.python, say
        )
        return self._values(checkout, ready)

    def _values(self, checkout: Path, python: Path) -> dict[str, str]:
        return {
            f"trainers.{self.program.trainer}.home": str(checkout),
            f"trainers.{self.program.trainer}.python": str(python),
        }


@dataclass
class _Mflux:
    """How mflux is set up."""

    workspace: Workspace
    source: str | None
    python: str | None

    def __post_init__(self) -> None:
        self.own = Environment(self.workspace.runtime / "trainers" / "mflux")
        self.ready = self._program_of_python()

    def steps(self) -> list[str]:
        """Return what will be done, in words."""
        install = (
            []
            if self.ready
            else [
                f"make an environment at {self.own.venv}",
                *(f"pip install {' '.join(one)}" for one in mflux_setup.steps_for_this_machine()),
            ]
        )
        return [*install, "record program in config/local.json"]

    def settings_to_be(self) -> dict[str, str]:
        """Return the settings as they will be."""
        program = self.ready or self.own.programs / PROGRAM
        return {"trainers.mflux.program": str(program)}

    def run(self) -> dict[str, str]:
        """Do it and return the settings to record."""
        program = self.ready or mflux_setup.build_program(
            self.own, self.python, _sayer(self.workspace)
        )
        return {"trainers.mflux.program": str(program)}

    def _program_of_python(self) -> Path | None:
        if self.python is None:
            return None
        program = Path(self.python).expanduser().absolute().with_name(PROGRAM)
        return program if program.is_file() and program_version(program) != "unknown" else None


_WITH_CHECKOUT = {program.trainer: program for program in (SD_SCRIPTS, AI_TOOLKIT)}
_Recipe = Callable[[Workspace, str | None, str | None], _Checkout | _Mflux]
_RECIPES: dict[str, _Recipe] = {
    "mflux": _Mflux,
    **{name: partial(_Checkout, program) for name, program in _WITH_CHECKOUT.items()},
}


def _require_arguments(trainer: str, *, source: str | None, python: str | None) -> None:
    if source is not None and trainer not in _WITH_CHECKOUT:
        raise ArgumentInvalidError(
            f"--source is for {' and '.join(_WITH_CHECKOUT)}, {trainer} has none",
            hint=f"lora setup {trainer}",
        )
    if python is not None and trainer not in _RECIPES:
        raise ArgumentInvalidError(
            f"--python is for trainers with an environment of their own, {trainer} has none",
            hint=f"lora setup {trainer}",
        )


def _state(workspace: Workspace, trainer: Trainer) -> dict[str, Any]:
    settings = workspace.settings
    problem = trainer.health(settings)
    own = Environment(workspace.runtime / "trainers" / trainer.name)
    where = {
        "kohya_ss": settings.text("trainers.kohya_ss.home"),
        "mflux": str(find_program(settings) or "") or None,
        "ai_toolkit": settings.text("trainers.ai_toolkit.home"),
    }.get(trainer.name)
    if isinstance(trainer, HostedTrainer) and problem is None:
        where = trainer.address(settings)
    return {
        "trainer": trainer.name,
        "summary": trainer.summary,
        "program": trainer.starts_program,
        "ready": problem is None,
        "version": trainer.version(settings),
        "architectures": list(trainer.architectures),
        "where": where,
        "problem": problem.message if problem else None,
        "hint": (_EXTRAS.get(trainer.name) or problem.hint) if problem else None,
        "leftOver": own.left_over,
        "changed": [],
    }


def _set_up_elsewhere(workspace: Workspace, trainer: HostedTrainer, *, check: bool) -> Result:
    """Ask a service for the settings that are not set yet, then whether it takes our token."""
    written: list[str] = []
    state = _state(workspace, trainer)
    if not check:
        try:
            learnt = trainer.discover(workspace.settings)
        except ServiceError as error:
            refused = {"ready": False, "problem": error.message, "hint": error.hint or ""}
            return _answer(state | refused)
        if learnt:
            written = record_local_settings(workspace, typed_settings(learnt))
        if learnt and not workspace.dry_run:
            workspace = replace(workspace, settings=read_settings(workspace.root))
            state = _state(workspace, trainer)
    if state["ready"]:
        state = _asked(workspace, trainer, state)
    return replace(_answer(state), written=written, dry_run=workspace.dry_run)


def _asked(workspace: Workspace, trainer: HostedTrainer, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a trainer elsewhere after it was asked."""
    try:
        with trainer.service(workspace.settings) as service:
            service.check()
    except ServiceError as error:
        return state | {"ready": False, "problem": error.message, "hint": error.hint or ""}
    return state


def _answer(state: dict[str, Any]) -> Result:
    name = state["trainer"]
    left = ["an interrupted set-up is left over; setting it up again removes it"]
    warnings = left if state["leftOver"] else []
    if state["changed"]:
        shown = ", ".join(state["changed"][:5])
        warnings.append(f"its environment is not what was set up: {shown}")
    if state["ready"]:
        return Result(
            data=state,
            reasoning=f"{_named(state)} is ready",
            warnings=warnings,
            suggestions=[_next(name)] if name != "manual" else [],
        )
    return Result(
        data=state,
        reasoning=f"{name} cannot run here",
        warnings=warnings,
        suggestions=[state["hint"]],
        refusal=Refusal("trainer_not_ready", state["problem"], state["hint"]),
    )


def _next(name: str) -> str:
    return f"lora train --lora ID --dataset ID --trainer {name} --plan"


def _named(state: dict[str, Any]) -> str:
    name, version = state["trainer"], state["version"]
    if version == "unknown":
        return str(name)
    return str(version) if version.startswith(name) else f"{name} {version}"


def _sayer(workspace: Workspace) -> Say:
    return lambda line: workspace.events(Event("started", "setup", line))
