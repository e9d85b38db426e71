"""A ComfyUI server as version 0.3 answers over HTTP.

It has habits to know: it answers 200 for an unknown node and for a job that nobody knows, a
finished job and an interrupted one both read ``error``, what it loaded it keeps by name, and
after a restart it has forgotten every job. It knows no users: everybody sees every job.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from lora_pipeline.evaluation.renderers.connection import fetched, require_mapping
from lora_pipeline.foundation.errors import RendererError, ServiceRefusedError
from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.training.hosted.http_client import AnsweredNoError, ServiceClient

_PATH = re.compile(r"(?:[A-Za-z]:)?[\\/](?:[^\s\\/:'\",]+[\\/])+")
_LONGEST = 300


class Ended(msgspec.Struct, frozen=True):
    """A job that the server has done with.

    Attributes:
        graph: What it was asked to draw.
        outputs: What each node put out.
        error: Why it brought nothing, or empty.
        stopped: Whether somebody interrupted it.
        cached: Nodes that did not run, because they had run before.
    """

    graph: Any
    outputs: Mapping[str, Any]
    error: str
    stopped: bool
    cached: frozenset[str]


class ComfyServer:
    """The few routes that drawing needs.

    Args:
        client: Speaks to it.
    """

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    @property
    def address(self) -> str:
        """Where it is."""
        return self._client.base

    def stats(self) -> dict[str, Any]:
        """Return what it is and what it runs on.

        Raises:
            RendererError: When it is no ComfyUI.
        """
        answer = require_mapping(self._client.read("/system_stats"), self.address, "/system_stats")
        system = answer.get("system")
        if not isinstance(system, dict) or not isinstance(system.get("comfyui_version"), str):
            raise RendererError(
                f"{self.address} does not answer as ComfyUI does",
                hint="set comfyui.baseUrl to the address of its web page",
            )
        return answer

    def node(self, kind: str) -> dict[str, Any]:
        """Return what it says of a class of nodes; empty when it knows none of that name."""
        path = f"/object_info/{quote(kind, safe='')}"
        found = require_mapping(self._client.read(path), self.address, path).get(kind, {})
        return require_mapping(found, self.address, path)

    def files(self, kind: str) -> list[str]:
        """Return the names of its models of a kind, such as ``loras``."""
        path = f"/models/{quote(kind, safe='')}"
        try:
            answer = self._client.read(path)
        except ServiceRefusedError:
            return []
        return [str(one) for one in answer] if isinstance(answer, list) else []

    def sizes(self, kind: str) -> dict[str, int]:
        """Return the lengths of its models of a kind, where it tells; the route is optional."""
        try:
            answer = self._client.read(f"/experiment/models/{quote(kind, safe='')}")
        except ServiceRefusedError:
            return {}
        rows = answer if isinstance(answer, list) else []
        return {
            str(row["name"]): row["size"]
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("size"), int) and "name" in row
        }

    def log(self) -> list[str]:
        """Return the last lines of its log; the route is optional."""
        try:
            answer = self._client.read("/internal/logs")
        except ServiceRefusedError:
            return []
        return answer.splitlines() if isinstance(answer, str) else []

    def submit(self, graph: Mapping[str, Any], prompt_id: str, client_id: str) -> None:
        """Give it a job.

        Raises:
            RendererError: When it refuses the graph; the message names node and input.
            ServiceUnreachableError: When it is not known whether it took it.
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        try:
            answer = self._client.act("POST", "/prompt", body)
        except AnsweredNoError as error:
            if error.status != 400:
                raise
            raise RendererError(
                f"ComfyUI refuses the workflow: {refusal_words(error.body)}"
            ) from error
        answer = require_mapping(answer, self.address, "/prompt")
        # It may run one branch of a graph and refuse another, with 200.
        if answer.get("node_errors"):
            words = refusal_words(json.dumps(answer).encode())
            self.cancel(str(answer.get("prompt_id") or prompt_id))
            raise RendererError(f"ComfyUI refuses a part of the workflow: {words}")
        if answer.get("prompt_id") != prompt_id:
            raise RendererError(
                f"{self.address} gave our job another id, so it could not be told from others",
                hint="update ComfyUI: ids are honoured since 2025",
            )

    def queued(self, prompt_id: str) -> tuple[str, int] | None:
        """Return where a job stands in the queue, or None when it stands in none.

        Returns:
            ``running`` or ``waiting``, and how many jobs stand before it.
        """
        answer = require_mapping(self._client.read("/queue"), self.address, "/queue")
        running = _rows(answer.get("queue_running"))
        if any(row[1] == prompt_id for row in running):
            return "running", 0
        pending = sorted(_rows(answer.get("queue_pending")), key=lambda row: float(row[0]))
        for place, row in enumerate(pending):
            if row[1] == prompt_id:
                return "waiting", place + len(running)
        return None

    def ended(self, prompt_id: str) -> Ended | None:
        """Return how a job ended, or None when it did not, or nobody knows it."""
        path = f"/history/{quote(prompt_id, safe='')}"
        entry = require_mapping(self._client.read(path), self.address, path).get(prompt_id)
        if entry is None:
            return None
        entry = require_mapping(entry, self.address, path)
        status = _mapping(entry.get("status"))
        messages = [
            (str(one[0]), one[1])
            for one in status.get("messages") or []
            if isinstance(one, list) and len(one) == 2 and isinstance(one[1], dict)
        ]
        told = dict(messages)
        asked = entry.get("prompt")
        stopped = "execution_interrupted" in told
        error = ""
        if stopped:
            error = "somebody interrupted it on the server"
        elif status.get("status_str") != "success" or status.get("completed") is not True:
            error = _failure(told.get("execution_error", {}))
        return Ended(
            graph=asked[2] if isinstance(asked, list) and len(asked) > 2 else None,
            outputs=_mapping(entry.get("outputs")),
            error=error,
            stopped=stopped,
            cached=frozenset(map(str, told.get("execution_cached", {}).get("nodes") or [])),
        )

    def cancel(self, prompt_id: str) -> None:
        """Take a job of ours out of the queue, or stop it; others' jobs are left alone."""
        self._client.tell("POST", "/queue", {"delete": [prompt_id]})
        place = self.queued(prompt_id)
        if place is not None and place[0] == "running":
            self._client.tell("POST", "/interrupt", {"prompt_id": prompt_id})

    def picture(self, where: Mapping[str, Any], folder: Path) -> bytes:
        """Return the bytes of a picture that it saved.

        Raises:
            ServiceError: When they cannot be had whole.
        """
        query = {key: str(where.get(key, "")) for key in ("filename", "subfolder", "type")}
        return fetched(self._client, f"/view?{urlencode(query)}", folder)


def refusal_words(body: bytes) -> str:
    """Return why a graph is refused: node, input and rule, without lists of the server's files."""
    document: Any = None
    with contextlib.suppress(ValueError):
        document = json.loads(body)
    if not isinstance(document, dict):
        return "no reason was given"
    found = []
    nodes = document.get("node_errors")
    for node_id, node in nodes.items() if isinstance(nodes, dict) else ():
        for one in node.get("errors", []) if isinstance(node, dict) else []:
            extra = _mapping(one.get("extra_info"))
            name = extra.get("input_name") or ""
            kind = str(one.get("type", "error")).replace("_", " ")
            found.append(
                f"node {node_id} ({node.get('class_type', '?')}){f', input {name}' if name else ''}"
                f": {kind}"
            )
    if found:
        return _clean("; ".join(found))
    error = document.get("error")
    if isinstance(error, dict):
        return _clean(f"{error.get('message') or error.get('type')} {error.get('details') or ''}")
    return _clean(str(error))


def _failure(error: Mapping[str, Any]) -> str:
    if not error:
        return "it ended without a picture and without a reason"
    kind = str(error.get("exception_type", "error")).rpartition(".")[2]
    node = f"node {error.get('node_id')} ({error.get('node_type')})"
    return _clean(f"{node}: {kind}: {error.get('exception_message', '')}")


def _clean(text: str) -> str:
    # What it says holds folders of the server, and may hold anything.
    words = _PATH.sub("…/", redacted(" ".join(text.split())))
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"


def _rows(value: Any) -> list[Sequence[Any]]:
    rows = value if isinstance(value, list) else []
    return [
        row
        for row in rows
        if isinstance(row, list) and len(row) > 1 and isinstance(row[0], int | float)
    ]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
