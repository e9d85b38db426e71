"""RunPod as its documentation describes it, small and on loopback.

Pods are made over GraphQL and listed, asked about and deleted over REST, version 2. The server in
a pod is the fake ai-toolkit server beside this.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.fake_web_service import Asked, FakeWebService

KEY = "rpa_" + "FAKE0FAKE1FAKE2FAKE3"
PRICE = 0.44
GPU = "NVIDIA GeForce RTX 4090"


@dataclass
class FakeRunPod(FakeWebService):
    """The account's state, and what tests tell it.

    Attributes:
        coming: How many looks a pod needs until it runs.
        hidden: How many lists do not show a new pod yet.
        twins: While set, every request for a pod makes two.
        graphql_error: Message that the making of a pod is refused with.
        on_make: Called with the name of each new pod.
        pods: Pods by id, as REST tells them.
        made: Inputs of the requests that made pods.
    """

    secret: str = KEY
    coming: int = 2
    hidden: int = 0
    twins: bool = False
    graphql_error: str = ""
    on_make: Callable[[str], object] = str
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)

    def forget(self) -> None:
        """Begin anew, at the same address."""
        for kept in (self.pods, self.made, self.requests, self.tokens, self.faults):
            kept.clear()
        self.hidden, self.twins, self.graphql_error = 0, False, ""

    def alive(self) -> list[str]:
        """Return the pods that cost money."""
        return [pod_id for pod_id, pod in self.pods.items() if pod["status"] != "TERMINATED"]

    def add(self, name: str, status: str = "RUNNING", *, age: int = 0) -> str:
        """Add a pod that is there already and return its id; ``age`` is in minutes."""
        pod_id = f"pod{len(self.pods) + 1}"
        self.pods[pod_id] = {
            "id": pod_id, "name": name, "status": status, "cost": PRICE,
            "createdAt": (datetime.now(UTC) - timedelta(minutes=age)).isoformat(),
            "env": {"AI_TOOLKIT_AUTH": "seen by whoever owns the account"}, "looked": 0,
        }  # fmt: skip
        return pod_id

    def refusal(self, status: int) -> Any:
        """Return an error as RFC 9457 has it."""
        return problem(status, f"no, says {self.secret}")

    def answer(self, asked: Asked) -> tuple[int, Any]:  # noqa: PLR0911
        """Return status and document."""
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return 401, problem(401, "invalid bearer token")
        if (asked.method, asked.path) == ("POST", "/graphql"):
            return 200, self._make(asked.body)
        if (asked.method, asked.path) == ("GET", "/v2/pods"):
            return 200, {"pods": self._rows()}
        if asked.path == f"/v2/catalog/gpus/{GPU}":
            return 200, {"id": GPU, "price": {"secure": PRICE, "community": 0.31}}
        found = re.fullmatch(r"/v2/pods/([^/]+)", asked.path)
        pod = self.pods.get(found.group(1)) if found else None
        if pod is None:
            return 404, problem(404, "not found")
        if asked.method == "DELETE":
            del self.pods[pod["id"]]
            return 204, None
        return 200, _looked_at(pod, self.coming)

    def _rows(self) -> list[dict[str, Any]]:
        rows = list(self.pods.values())
        if self.hidden and rows:
            self.hidden -= 1
            return rows[:-1]
        return rows

    def _make(self, body: Any) -> dict[str, Any]:
        wanted = body["variables"]["input"]
        if "podFindAndDeployOnDemand(input: $input)" not in body["query"]:
            return {"errors": [{"message": "Cannot query field"}]}
        if self.graphql_error:
            return {"errors": [{"message": self.graphql_error}], "data": None}
        self.made.append(wanted)
        pod_id = self.add(wanted["name"], "PROVISIONING")
        if self.twins:
            self.add(wanted["name"], "PROVISIONING", age=-1)
        self.on_make(wanted["name"])
        row = {"id": pod_id, "name": wanted["name"], "costPerHr": PRICE}
        return {"data": {"podFindAndDeployOnDemand": row}}


def problem(status: int, detail: str) -> dict[str, Any]:
    """Return an error as RFC 9457 has it."""
    return {"title": "Error", "status": status, "detail": detail}


def _looked_at(pod: dict[str, Any], coming: int) -> dict[str, Any]:
    pod["looked"] += 1
    if pod["status"] in {"PROVISIONING", "STARTING"}:
        pod["status"] = "RUNNING" if pod["looked"] > coming else "STARTING"
    return dict(pod)
