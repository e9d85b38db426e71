"""``lora worker``: takes runs out of the queue and has each tried by a child of its own.

A worker holds nothing that could be lost. A run that it has taken out of the queue stands in its
record and its ticket; killed at any moment, the next worker (or this one, started again) finds
what is owed. Places, so many for each GPU, are shared by all workers of a workspace.
"""

from __future__ import annotations

import contextlib
import os
import queue as threads
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from lora_pipeline.engine.gpus import read_gpus
from lora_pipeline.engine.places import Place, Places, places_of
from lora_pipeline.engine.queue import Queue
from lora_pipeline.foundation.child_environment import own_environment, own_program
from lora_pipeline.foundation.errors import ArgumentInvalidError, PipelineError
from lora_pipeline.foundation.events import Event, EventType
from lora_pipeline.foundation.process import Supervised
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.training.run_forward import TOPIC, Forwarding
from lora_pipeline.operations.training.run_queue import open_queue, owed, settle, settle_run
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive, run_folder
from lora_pipeline.training.runs.ticket import Ticket, read_ticket
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace

Until = Literal["stopped", "empty", "one"]
Program = Callable[[Workspace, str], list[str]]
_MODULE = "lora_pipeline.operations.training.run_child"
_LOOK_EVERY_S = 0.5
_SETTLE_EVERY_S = 5.0


def work_queue(
    workspace: Workspace,
    *,
    once: bool = False,
    drain: bool = False,
    per_gpu: int = 1,
    gpus: tuple[str, ...] = (),
) -> Result:
    """Execute the runs of this machine's queue, until it is asked to stop.

    Args:
        workspace: Where the runs are.
        once: End after one run, or when none is due.
        drain: End when nothing waits any more, further tries included.
        per_gpu: How many runs share a GPU, or the processor where there is none.
        gpus: GPUs to use, by number or UUID; all that are visible when left out.

    Raises:
        ExtraMissingError: When the extra ``queue`` is not installed.
        ArgumentInvalidError: When ``per_gpu`` is not at least 1, or once and drain are both given.
    """
    if per_gpu < 1:
        raise ArgumentInvalidError(f"per_gpu must be at least 1, got {per_gpu}")
    if once and drain:
        raise ArgumentInvalidError("once and drain exclude each other", hint="give one of them")
    until: Until = "one" if once else "empty" if drain else "stopped"
    if workspace.dry_run:
        return _would_do(workspace)
    places = places_of(gpus or _found_gpus(), per_gpu)
    tally = Worker(workspace, places, until=until, program=own_child).work()
    return _told(tally, until)


def own_child(workspace: Workspace, run_id: str) -> list[str]:
    """Return the command line of the child that tries a run."""
    actor = [workspace.actor] if workspace.actor else []
    return own_program(_MODULE, str(workspace.root), run_id, *actor)


@dataclass
class Tally:
    """What a worker did.

    Attributes:
        ends: Run to the state that each try left it in, in order.
        written: Records that were written.
    """

    ends: list[tuple[str, str]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


class _Job(msgspec.Struct, frozen=True):
    run_id: str
    ticket: Ticket
    place: Place

    @property
    def scope(self) -> Scope:
        return Scope(self.ticket.project) if self.ticket.project else SHARED


class Worker:
    """Takes runs and has them tried.

    Args:
        workspace: Where the runs are; its events take what the worker does.
        places: Where runs run.
        until: When it ends.
        program: Makes the command line of the child that tries a run.
    """

    def __init__(
        self,
        workspace: Workspace,
        places: Sequence[Place],
        *,
        until: Until = "stopped",
        program: Program,
    ) -> None:
        self._workspace = workspace
        self._names = tuple(place.name for place in places)
        self._places = Places(workspace.runtime / "queue" / "places", places)
        self._until = until
        self._program = program
        self._tally = Tally()
        self._running: dict[str, Supervised] = {}
        self._jobs: dict[str, _Job] = {}
        self._ended: threads.SimpleQueue[tuple[_Job, int | None]] = threads.SimpleQueue()
        self._wake = threading.Event()
        self._telling = threading.Lock()
        self._signals = 0
        self._now = False  # stop what runs, too
        self._settle_at = 0.0

    def work(self) -> Tally:
        """Work until there is nothing left to do, or until it is asked to stop."""
        with open_queue(self._workspace) as queue, self._listening():
            self._say("started", "waiting for runs", places=list(self._names), pid=os.getpid())
            while True:
                self._wake.clear()
                self._take_back(queue)
                self._settle(queue)
                if not self._stopping:
                    self._fill(queue)
                if not self._jobs and self._is_done(queue):
                    break
                self._wake.wait(_LOOK_EVERY_S)
            self._say("finished", "stopped" if self._stopping else "nothing is left to do",
                      tries=len(self._tally.ends))  # fmt: skip
        return self._tally

    @property
    def _stopping(self) -> bool:
        return self._signals > 0

    def _is_done(self, queue: Queue) -> bool:
        if self._stopping:
            return True
        if self._until == "one":
            return bool(self._tally.ends) or not queue.waiting()
        return self._until == "empty" and not queue.waiting()

    def _settle(self, queue: Queue) -> None:
        if time.monotonic() < self._settle_at:
            return
        self._settle_at = time.monotonic() + _SETTLE_EVERY_S
        try:
            for run_id in settle(self._workspace, queue):
                self._say("warning", "its process was lost", run=run_id)
        except PipelineError as error:
            self._say("warning", f"{error.message}  [{error.code}]")

    def _fill(self, queue: Queue) -> None:
        while self._until != "one" or not (self._jobs or self._tally.ends):
            place = self._places.take()
            if place is None:
                return
            job = self._next(queue, place)
            if job is None:
                self._places.leave(place)
                return
            self._jobs[job.run_id] = job
            threading.Thread(target=self._execute, args=(job,), daemon=True).start()

    def _next(self, queue: Queue, place: Place) -> _Job | None:
        """Return the next run that is really owed a try; entries that are not are dropped."""
        while True:
            now = self._workspace.clock().timestamp()
            run_id = queue.take(now)
            if run_id is None:
                return None
            ticket = read_ticket(run_folder(self._workspace, run_id))
            if ticket is None or run_id in self._jobs or is_alive(self._workspace, run_id):
                continue
            if ticket.not_before > now:
                queue.put(run_id, not_before=ticket.not_before)
                continue
            return _Job(run_id, ticket, place)

    def _execute(self, job: _Job) -> None:
        status: int | None = None
        try:
            argv = self._program(self._workspace, job.run_id)
            environment = _environment(job.place)
            self._say(
                "started", "", run=job.run_id, place=job.place.name, gpu=job.place.gpu or None
            )
            with Supervised(argv, cwd=self._workspace.root, environment=environment) as process:
                self._running[job.run_id] = process
                if self._now:
                    process.ask_to_stop()
                forward = Forwarding(job.run_id, self._tell)
                for line in process.lines():
                    forward(line)
                status = process.wait()
        except PipelineError as error:
            self._say("warning", f"{error.message}  [{error.code}]", run=job.run_id)
        finally:
            self._ended.put((job, status))
            self._wake.set()

    def _take_back(self, queue: Queue) -> None:
        while not self._ended.empty():
            job, status = self._ended.get()
            self._running.pop(job.run_id, None)
            del self._jobs[job.run_id]
            self._places.leave(job.place)
            ticket = read_ticket(run_folder(self._workspace, job.run_id))
            try:
                if ticket is not None and job.run_id not in queue.waiting():
                    settle_run(self._workspace, queue, job.run_id, ticket, taken_back=self._now)
                self._note_end(job, status)
            except PipelineError as error:
                self._say("warning", f"{error.message}  [{error.code}]", run=job.run_id)

    def _note_end(self, job: _Job, status: int | None) -> None:
        records = self._workspace.records
        if not records.exists(Run, job.scope, job.run_id):
            return
        run = records.read(Run, job.scope, job.run_id).record
        self._tally.ends.append((run.id, run.state))
        paths = [records.path(Run.KIND, job.scope, run.id)]
        if run.state == "ready":
            paths.append(records.path(Lora.KIND, job.scope, run.lora_id))
        for path in map(self._workspace.relative, paths):
            if path not in self._tally.written:
                self._tally.written.append(path)
        error = run.error
        self._say(
            "finished",
            error.message if error is not None else "",
            run=run.id, lora=run.lora_id, release=run.release_id, state=run.state,
            error=error.code if error is not None else None,
            attempt=run.attempts[-1].number if run.attempts else 0, status=status,
        )  # fmt: skip

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Take signals as wishes for the time of the block."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = [one for one in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, one)]
        before: dict[int, Any] = {}
        for name in names:
            number = getattr(signal, name)
            before[number] = signal.signal(number, self._asked)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _asked(self, number: int, _: object) -> None:
        """Note a signal: nothing new is taken; asked again, or by SIGTERM, runs stop, too."""
        self._signals += 1
        self._now = self._now or self._signals > 1 or number != signal.SIGINT
        if self._signals > 2:
            raise KeyboardInterrupt  # the guards stop what still runs
        self._wake.set()
        threading.Thread(target=self._obey, args=(self._now,), daemon=True).start()

    def _obey(self, now: bool) -> None:  # noqa: FBT001 - a thread's only argument
        running = list(self._running.items())
        if running and not now:
            self._say("log", f"finishing {len(running)}; asked again, they stop and wait anew")
        for run_id, process in running if now else ():
            self._say("log", "is ended, and waits in the queue again", run=run_id)
            process.ask_to_stop()

    def _say(self, kind: EventType, message: str, **data: Any) -> None:
        self._tell(Event(kind, TOPIC, message, data=data))

    def _tell(self, event: Event) -> None:
        with self._telling:
            self._workspace.events(event)


def _environment(place: Place) -> Mapping[str, str]:
    # The child is ourselves: it looks up the secrets that a plan names. A trainer gets few.
    chosen = {"CUDA_VISIBLE_DEVICES": place.gpu} if place.gpu else {}
    return dict(os.environ) | own_environment() | chosen


def _found_gpus() -> tuple[str, ...]:
    return tuple(gpu.uuid for gpu in read_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")) or ())


def _would_do(workspace: Workspace) -> Result:
    with open_queue(workspace) as queue:
        waiting = owed(workspace, queue)
    return Result(
        data={"waiting": waiting},
        reasoning=f"{len(waiting)} runs wait in the queue",
        dry_run=True,
    )


def _told(tally: Tally, until: Until) -> Result:
    last = dict(tally.ends)
    counts = {
        state: sum(1 for one in last.values() if one == state)
        for state in ("ready", "failed", "cancelled", "queued")
    }
    words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    failures = [run_id for run_id, state in last.items() if state == "failed"]
    refusal = None
    if failures and until != "stopped":
        refusal = Refusal(
            "runs_failed",
            f"{len(failures)} of {len(last)} runs failed",
            f"lora run show {failures[0]}",
        )
    return Result(
        data={
            "runs": [{"runId": run_id, "state": state} for run_id, state in last.items()],
            "tries": len(tally.ends),
            **counts,
        },
        reasoning=f"Executed {len(last)} runs" + (f": {words}" if words else ""),
        suggestions=[f"lora run show {run_id}" for run_id in failures[:3]],
        written=tally.written,
        refusal=refusal,
    )
