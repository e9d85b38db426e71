"""One pod for one job: made once, waited for, used, and given back whatever happens.

The pod carries the job's name, which carries the run's id, so that it is found again without a
note of ours. It holds ai-toolkit's web server; once that answers, the job is sent to it and
followed as on any other such server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from lora_pipeline.foundation.errors import (
    PipelineError,
    ServiceRefusedError,
    ServiceUnreachableError,
)
from lora_pipeline.training.hosted.interface import JobView, RemoteFile, Spent
from lora_pipeline.training.hosted.rented import Kept, spent_on
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.ai_toolkit.api import AiToolkitService
from lora_pipeline.training.trainers.runpod.api import Pod, RunPodApi

_COMING = frozenset({"", "CREATED", "PROVISIONING", "STARTING"})
_LOOKS_FOR_LOST = 3
T = TypeVar("T")


class PodWishes(msgspec.Struct, frozen=True):
    """What a pod is to be.

    Attributes:
        wanted: Input of the request that makes it, without name, token and end.
        max_hours: After so many hours RunPod ends it by itself.
        start_minutes: So long its server may take to answer.
    """

    wanted: Mapping[str, Any]
    max_hours: float
    start_minutes: float


class RunPodService:
    """A connection to RunPod, and to the server in the pod of one job.

    Args:
        api: Speaks to RunPod.
        wishes: What a pod is to be.
        token_of: Returns what lets us into the pod of a job's name.
        server_of: Opens a connection to the server in the pod of an id and a job's name.
        pause_s: How long is waited before looking again for a pod whose making is in doubt.
        sleep: Waits; tests give their own.
        clock: A clock that only goes forward, in seconds.
        now: Tells the time.
    """

    def __init__(
        self,
        api: RunPodApi,
        wishes: PodWishes,
        *,
        token_of: Callable[[str], str],
        server_of: Callable[[str, str], AiToolkitService],
        pause_s: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._wishes = api, wishes
        self._token_of, self._server_of = token_of, server_of
        self._pause_s, self._sleep, self._clock, self._now = pause_s, sleep, clock, now
        self._plan: Plan | None = None
        self._pods: dict[str, Pod] = {}
        self._ended: dict[str, str] = {}
        self._jobs: dict[str, str] = {}
        self._running: set[str] = set()
        self._server: AiToolkitService | None = None
        self._waiting_since: float | None = None

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; what it rented stays."""
        self._leave_server()
        self._api.close()

    def check(self) -> None:
        """Check that RunPod takes our key and has such a GPU."""
        self._api.pods()
        self.price_per_hour()

    def price_per_hour(self) -> float | None:
        """Return what RunPod asks for such a GPU, or None where this cloud has none."""
        wanted = self._wishes.wanted
        return self._api.price_per_hour(str(wanted["gpuTypeId"]), str(wanted["cloudType"]))

    def find(self, name: str) -> str | None:
        """Return the id of the pod of a job's name, or None; of several the oldest is kept."""
        ours = [self._noted(pod) for pod in self._api.pods() if pod.name == name]
        alive = [pod for pod in ours if pod.status != "TERMINATED"]
        for second in alive[1:]:
            self._end(second)
        return alive[0].id if alive else None

    def send(self, plan: Plan, name: str, creating: Callable[[], None]) -> str:
        """Make the pod and return its id; images go there when the server in it answers."""
        self._plan = plan
        end = self._now() + timedelta(hours=self._wishes.max_hours)
        environment = [
            *self._wishes.wanted.get("env", []),
            {"key": "AI_TOOLKIT_AUTH", "value": self._token_of(name)},
        ]
        wanted = {
            **self._wishes.wanted,
            "name": name,
            "env": environment,
            "terminateAfter": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        creating()
        try:
            return self._noted(self._api.create(wanted)).id
        except ServiceUnreachableError:
            # The answer was lost, and perhaps the pod was not; a list may take a moment to show it.
            for _ in range(_LOOKS_FOR_LOST):
                known = self.find(name)
                if known is not None:
                    return known
                self._sleep(self._pause_s)
            raise

    def start(self, job_id: str) -> None:
        """Do nothing: a pod starts when it is made, and the job in it when it is sent."""

    def look(self, job_id: str) -> JobView:
        """Return how the pod and the job in it stand; sends the job once the server answers."""
        pod = self._api.pod(job_id)
        gone = _gone(pod, job_id)
        if pod is None or gone is not None:
            return gone or JobView("failed")
        pod = self._noted(pod)
        if pod.status in _COMING:
            return self._waiting(pod, "the pod is being made")
        try:
            inner = self._job_in(pod)
        except ServiceUnreachableError:
            if self._waiting_since is None and job_id in self._jobs:
                raise
            return self._waiting(pod, "the server in the pod does not answer yet")
        if inner is None:
            return self._send_into(pod)
        self._waiting_since = None
        return self._asked(lambda: self._started(pod, inner).look(inner))

    def stop(self, job_id: str) -> None:
        """Delete the pod and, with it, the job."""
        self._end(self._pods.get(job_id) or self._api.pod(job_id) or Pod(job_id, "", "TERMINATED"))

    def outputs(self, job_id: str) -> Sequence[RemoteFile]:
        """Return the weights that the job left in its pod."""
        pod = self._api.pod(job_id)
        inner = self._job_in(self._noted(pod)) if pod else None
        if pod is None or inner is None:
            raise ServiceRefusedError(f"pod {job_id} does not hold the job any more")
        return self._asked(lambda: self._require_server(pod).outputs(inner))

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write a file of the pod's server; it tells no digest, so its length is compared."""
        if self._server is None:
            raise ServiceRefusedError("the pod was not asked what it holds")
        self._server.fetch(file, target)

    def spent(self, job_id: str) -> Spent | None:
        """Return the pod's time by its price, or None while it still runs."""
        pod, end = self._pods.get(job_id), self._ended.get(job_id)
        return spent_on(pod.cost_per_hour, pod.created_at, end) if pod and end else None

    def holds_job(self, job_id: str) -> bool:
        """Return whether the job was sent into the pod."""
        pod = self._api.pod(job_id)
        if pod is None or _gone(pod, job_id) is not None:
            return True  # what became of it is told by look
        return pod.status not in _COMING and self._job_in(self._noted(pod)) is not None

    def let_go(self, name: str) -> None:
        """Delete every pod of a job's name."""
        self._leave_server()
        for pod in self._api.pods():
            if pod.name == name and pod.status != "TERMINATED":
                self._end(pod)

    def kept(self, prefix: str) -> list[Kept]:
        """Return the pods of jobs of ours."""
        return [
            Kept(pod.id, pod.name, pod.cost_per_hour, pod.created_at)
            for pod in self._api.pods()
            if pod.name.startswith(prefix) and pod.status != "TERMINATED"
        ]

    def _noted(self, pod: Pod) -> Pod:
        """Keep what is known of a pod: one that does not run tells no price any more."""
        before = self._pods.get(pod.id)
        self._pods[pod.id] = Pod(
            pod.id,
            pod.name or (before.name if before else ""),
            pod.status,
            pod.cost_per_hour or (before.cost_per_hour if before else 0.0),
            pod.created_at or (before.created_at if before else ""),
        )
        return self._pods[pod.id]

    def _end(self, pod: Pod) -> None:
        self._noted(pod)
        self._api.delete(pod.id)
        self._ended.setdefault(pod.id, self._now().isoformat())

    def _waiting(self, pod: Pod, words: str) -> JobView:
        if self._waiting_since is None:
            self._waiting_since = self._clock()
        limit = self._wishes.start_minutes
        if self._clock() - self._waiting_since > limit * 60:
            return JobView("failed", message=f"the server in pod {pod.id} did not answer within "
                           f"{limit:g} minutes")  # fmt: skip
        return JobView("waiting", message=words)

    def _require_server(self, pod: Pod) -> AiToolkitService:
        if self._server is None:
            self._server = self._server_of(pod.id, pod.name)
        return self._server

    def _leave_server(self) -> None:
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None

    def _job_in(self, pod: Pod) -> str | None:
        """Return the id of the job in a pod, or None when it holds none."""
        if pod.id not in self._jobs:
            found = self._asked(lambda: self._require_server(pod).find(pod.name))
            if found is None:
                return None
            self._jobs[pod.id] = found
        return self._jobs[pod.id]

    def _send_into(self, pod: Pod) -> JobView:
        if self._plan is None:
            return JobView("failed", message="it was broken off before the images were sent")
        server = self._require_server(pod)
        try:
            self._jobs[pod.id] = server.send(self._plan, pod.name, lambda: None)
            self._started(pod, self._jobs[pod.id])
        except PipelineError:
            # Nothing in it is of use to anybody, and it would go on costing money.
            self.stop(pod.id)
            raise
        return JobView("waiting", message="images, captions and the job are sent")

    def _started(self, pod: Pod, inner: str) -> AiToolkitService:
        server = self._require_server(pod)
        if pod.id not in self._running:
            server.start(inner)
            self._running.add(pod.id)
        return server

    def _asked(self, question: Callable[[], T]) -> T:
        """Ask the server in a pod: a page of the proxy's before it is no answer of the server."""
        try:
            return question()
        except ServiceRefusedError as refusal:
            raise ServiceUnreachableError(refusal.message, hint=refusal.hint) from refusal


def _gone(pod: Pod | None, pod_id: str) -> JobView | None:
    """Return how a job stands whose pod is of no use any more, or None."""
    if pod is None or pod.status == "TERMINATED":
        words = "it was deleted, or came to the end that was set when it was made"
        return JobView("failed", message=f"RunPod has no pod {pod_id} any more: {words}")
    if pod.status == "EXITED":
        return JobView("failed", message=f"pod {pod_id} was stopped, and what it held is lost")
    if pod.status == "ERROR":
        return JobView("failed", message=f"RunPod says that pod {pod_id} is broken")
    return None
