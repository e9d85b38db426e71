"""RunPod's interface for pods, as version 2 of its REST interface and its GraphQL describe it.

Pods are listed, asked about and deleted over REST, whose answers say what is wrong by their
status. They are created over GraphQL, because only that takes ``terminateAfter``: the moment at
which RunPod itself ends a pod that nobody came back for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from lora_pipeline.foundation.errors import ServiceRefusedError
from lora_pipeline.training.hosted.http_client import AnsweredNoError, ServiceClient

_CREATE = """
mutation createPod($input: PodFindAndDeployOnDemandInput!) {
  podFindAndDeployOnDemand(input: $input) { id name costPerHr }
}
"""
_NO_ROOM = ("no longer any instances", "no instances", "not available", "no gpu", "capacity")
_NO_MONEY = ("balance", "insufficient", "credit", "funds")


class Pod(msgspec.Struct, frozen=True):
    """A pod.

    Attributes:
        id: Its id.
        name: The name that it was given; RunPod lets many have the same.
        status: ``PROVISIONING``, ``STARTING``, ``RUNNING``, ``EXITED``, ``ERROR``, ``TERMINATED``.
        cost_per_hour: US dollars; 0.0 while it does not run.
        created_at: When it was made, in UTC.
    """

    id: str
    name: str
    status: str
    cost_per_hour: float = 0.0
    created_at: str = ""


class RunPodApi:
    """Pods of one account.

    Args:
        client: Speaks to RunPod.
    """

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def pods(self) -> list[Pod]:
        """Return all pods, the oldest first."""
        answer = self._client.read("/v2/pods")
        rows = answer.get("pods") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise ServiceRefusedError(
                f"{self._client.base} answers /v2/pods with another document than RunPod's",
                hint="see trainers.runpod.apiUrl",
            )
        found = [_pod(row) for row in rows if isinstance(row, dict)]
        return sorted(found, key=lambda pod: (pod.created_at, pod.id))

    def pod(self, pod_id: str) -> Pod | None:
        """Return one pod, or None when there is none any more."""
        try:
            answer = self._client.read(f"/v2/pods/{quote(pod_id, safe='')}")
        except AnsweredNoError as refusal:
            if refusal.status in {404, 410}:
                return None
            raise
        return _pod(answer) if isinstance(answer, dict) else None

    def create(self, wanted: Mapping[str, Any]) -> Pod:
        """Make a pod and return it; its status is not known yet."""
        body = {"query": _CREATE, "variables": {"input": dict(wanted)}}
        answer = self._client.act("POST", "/graphql", body)
        answer = answer if isinstance(answer, dict) else {}
        errors = answer.get("errors")
        if errors:
            first = errors[0] if isinstance(errors, list) else errors
            said = str(first.get("message") if isinstance(first, dict) else first)
            words = " ".join(said.split())[:200]
            raise ServiceRefusedError(f"RunPod makes no pod: {words}", hint=_advice(words))
        row = (answer.get("data") or {}).get("podFindAndDeployOnDemand")
        if not isinstance(row, dict) or not row.get("id"):
            raise ServiceRefusedError(
                f"{self._client.base} answered the making of a pod without one",
                hint="see the pods in RunPod's console before you try again",
            )
        return Pod(str(row["id"]), str(row.get("name") or ""), "", _price(row.get("costPerHr")))

    def delete(self, pod_id: str) -> None:
        """Delete a pod and what is on its disks; does nothing when it is gone already."""
        try:
            self._client.act("DELETE", f"/v2/pods/{quote(pod_id, safe='')}")
        except AnsweredNoError as refusal:
            if refusal.status not in {404, 410}:
                raise

    def price_per_hour(self, gpu_type: str, cloud: str) -> float | None:
        """Return the list price of a GPU, or None when this cloud has none."""
        try:
            answer = self._client.read(f"/v2/catalog/gpus/{quote(gpu_type, safe='')}")
        except AnsweredNoError as refusal:
            if refusal.status != 404:
                raise
            raise ServiceRefusedError(
                f"RunPod has no GPU type {gpu_type!r}",
                hint="set trainers.runpod.gpuType to an id of RunPod's catalog, "
                "such as NVIDIA GeForce RTX 4090",
            ) from refusal
        prices = answer.get("price") if isinstance(answer, dict) else None
        price = _price(prices.get(cloud.lower())) if isinstance(prices, dict) else 0.0
        return price or None


def _pod(row: Mapping[str, Any]) -> Pod:
    return Pod(
        id=str(row.get("id") or ""),
        name=str(row.get("name") or ""),
        status=str(row.get("status") or ""),
        cost_per_hour=_price(row.get("cost")),
        created_at=str(row.get("createdAt") or ""),
    )


def _price(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _advice(words: str) -> str:
    lower = words.lower()
    if any(one in lower for one in _NO_MONEY):
        return "see to the account's credit; nothing was started"
    if any(one in lower for one in _NO_ROOM):
        return "later, or with another trainers.runpod.gpuType, cloud or dataCenterId"
    return "see the settings of trainers.runpod"
