"""How sd-scripts goes on from the states that an interrupted run saved.

A state is a folder (``<name>-step00000400-state``) with the LoRA, the optimiser, the course of
the learning rate and the random numbers. sd-scripts counts after a resume what is left, not what
was done, and leaves out whole passes over the images by a count that is only right where the
last pass is a whole one; so the step that it is told to begin at is worked out here. With
accumulation of gradients it takes steps for batches besides, and there is such a step only for
some states: those from which whole passes are left, and some of the first pass.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.runs.log import LOG_FILE
from lora_pipeline.training.trainers.interface import CollectedFile, Continuation
from lora_pipeline.training.weights.inspection import inspect_weights

NOTE = "going-on.json"
BEFORE = "before"
_BATCHES = re.compile(r"^\s*num batches per epoch[^:]*:\s*(\d+)\s*$", re.MULTILINE)
_ACCUMULATION = re.compile(r"^gradient_accumulation_steps = ([1-9]\d*)$", re.MULTILINE)
# accelerate writes this one last; torch saves it and the others as zips.
_LAST = "random_states_0.pkl"
_PARTS = ("model.safetensors", "optimizer.bin", "scheduler.bin", _LAST)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError)


class _Start(msgspec.Struct, frozen=True):
    """Where sd-scripts is told to begin.

    Attributes:
        initial: Value of ``initial_step``.
        counted: What its own count of steps begins at.
    """

    initial: int
    counted: int


class _Course(msgspec.Struct, frozen=True):
    """How sd-scripts goes through a training.

    Attributes:
        total: Steps of the whole training.
        batches: Batches of one pass over the images.
        accumulation: Batches of one step; the last step of a pass may have fewer.
    """

    total: int
    batches: int
    accumulation: int

    @property
    def steps_a_pass(self) -> int:
        """Steps of one pass over the images."""
        return -(-self.batches // self.accumulation)

    def passes_left_out(self, initial: int) -> int:
        """Return how many passes are left out when it is told to begin at a step."""
        return initial * self.accumulation // self.steps_a_pass

    def counted(self, initial: int) -> int:
        """Return what it then begins to count at: the batches of a pass that it leaves out.

        Below zero where it took steps for batches; then it leaves out none.
        """
        return initial * self.accumulation - self.passes_left_out(initial) * self.batches

    def taken(self, initial: int) -> int:
        """Return how many steps it then takes.

        When its count is full it ends the pass, not the training: of every pass that is left it
        takes one step more.
        """
        passes = -(-self.total // self.steps_a_pass) - self.passes_left_out(initial)
        count = counted = self.counted(initial)
        of_pass = -(-(self.batches - max(counted, 0)) // self.accumulation)
        whole = of_pass + (passes - 1) * self.steps_a_pass
        if passes < 1 or counted + whole <= self.total:
            return whole if passes > 0 else 0
        for _ in range(passes):
            count += min(of_pass, max(self.total - count, 1))
            of_pass = self.steps_a_pass
        return count - counted


def carry_over(plan: Plan, earlier: Path, run_folder: Path) -> Continuation | None:
    """Copy the last sound state and the saves up to it; return how the run goes on."""
    course = _course(plan, earlier)
    if course is None:
        return None
    stem = Path(plan.expected_output).stem
    for step, state in sorted(_states(plan, earlier), reverse=True):
        start = _start(step, course)
        if start is None or not _sound(state):
            continue
        target = (run_folder / plan.expected_output).parent / BEFORE
        _copy(state, target / f"{stem}-step{step:08d}-state")
        for saved in saves(plan, earlier):
            if saved.step is not None and saved.step <= step:
                name = f"{stem}-step{saved.step:08d}.safetensors"
                files.copy_atomic(saved.path, target / name)
        note = {"step": step, "offset": step - start.counted}
        files.write_atomic(run_folder / NOTE, strict_json.dumps(note))
        argv = (
            *plan.argv, "--resume", str(target / f"{stem}-step{step:08d}-state"),
            "--skip_until_initial_step", "--initial_step", str(start.initial),
        )  # fmt: skip
        return Continuation(step, replace(plan, argv=argv), plan.total_steps - start.counted)
    return None


def saves(plan: Plan, run_folder: Path) -> Iterator[CollectedFile]:
    """Yield the weights that a run saved at steps, with the steps of the whole training."""
    for path, step in _numbered(plan, run_folder, ".safetensors"):
        if path.is_file():
            yield CollectedFile(path, step)


def _states(plan: Plan, run_folder: Path) -> Iterator[tuple[int, Path]]:
    for path, step in _numbered(plan, run_folder, "-state"):
        if path.is_dir():
            yield step, path


def _numbered(plan: Plan, run_folder: Path, ending: str) -> Iterator[tuple[Path, int]]:
    output, stem = (run_folder / plan.expected_output).parent, Path(plan.expected_output).stem
    # A count from below zero has its sign within the eight places.
    named = re.compile(rf"{re.escape(stem)}-step(\d{{8}}|-\d{{7}}){re.escape(ending)}")
    # What was carried over is named by the steps of the whole training, what came after by
    # the count of a program that began to count anew.
    for folder, offset in ((output / BEFORE, 0), (output, _offset(run_folder))):
        for path in sorted(folder.glob(f"*{ending}")):
            found = named.fullmatch(path.name)
            if found and not path.is_symlink():
                yield path, int(found.group(1)) + offset


def _copy(state: Path, target: Path) -> None:
    for path in sorted(state.iterdir()):
        files.copy_atomic(path, target / path.name)


def _start(step: int, course: _Course) -> _Start | None:
    """Return where to begin so that exactly the steps that are left are taken, or None.

    Of several such places, the one is taken at which it is in the right pass and leaves out
    what was seen.
    """
    left = course.total - step
    able = [one for one in range(1, course.total) if course.taken(one) == left]
    if not able:
        return None
    here = step // course.steps_a_pass
    initial = min(able, key=lambda one: (abs(course.passes_left_out(one) - here), abs(one - step)))
    return _Start(initial, course.counted(initial))


def _sound(state: Path) -> bool:
    """Return whether all of a state is there and whole; it is written in place."""
    try:
        names = {path.name for path in state.iterdir() if path.is_file()}
        if not names.issuperset(_PARTS):
            return False
        for path in state.iterdir():
            if path.suffix in {".bin", ".pkl"}:
                with zipfile.ZipFile(path) as archive:
                    if archive.testzip() is not None:
                        return False
        return not inspect_weights(state / "model.safetensors").problems
    except (*_UNREADABLE, PipelineError):
        return False


def _course(plan: Plan, run_folder: Path) -> _Course | None:
    # Only sd-scripts knows how its buckets fill batches, and it prints it.
    try:
        with (run_folder / LOG_FILE).open(encoding="utf-8", errors="replace") as log:
            printed = _BATCHES.search(log.read(1_000_000))
    except OSError:
        return None
    told = _ACCUMULATION.search(_run_toml(plan))
    batches = int(printed.group(1)) if printed else 0
    if not batches or told is None:
        return None
    return _Course(plan.total_steps, batches, int(told.group(1)))


def _offset(run_folder: Path) -> int:
    """Return what is added to the steps that a run's files are named by."""
    try:
        note: Any = strict_json.load(run_folder / NOTE)
        return int(note["offset"])
    except (PipelineError, LookupError, TypeError, ValueError):
        return 0


def _run_toml(plan: Plan) -> str:
    return next((one.content for one in plan.files if one.path == "run.toml"), "")
