"""One cell as a graph: the user's workflow with the cell's values and the LoRAs in it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from lora_pipeline.evaluation.renderers.comfyui.graph import (
    Graph,
    Link,
    NodeInfo,
    input_spec,
    link_of,
    named,
    sent,
)
from lora_pipeline.evaluation.renderers.comfyui.roles import Place, Roles
from lora_pipeline.evaluation.renderers.interface import CellRequest, Strengths
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import RendererError

LORA_NODE = "lora_eval"
FOLDER = "lora-eval"
# Our names of samplers as ComfyUI has them: sampler and scheduler.
SAMPLERS: Mapping[str, tuple[str, str]] = {
    "ddim": ("ddim", "ddim_uniform"),
    "euler": ("euler", "normal"),
    "euler_a": ("euler_ancestral", "normal"),
    "dpmpp_2m": ("dpmpp_2m", "normal"),
    "dpmpp_2m_karras": ("dpmpp_2m", "karras"),
    "unipc": ("uni_pc", "normal"),
}
_VARYING = ("prompt", "negative", "seed", "steps", "guidance", "width", "height")


class LoraNode(msgspec.Struct, frozen=True):
    """A node of ours that loads a LoRA.

    Attributes:
        loader: Its class.
        name: The LoRA as the server lists it.
    """

    loader: str
    name: str


class Workflow(msgspec.Struct, frozen=True):
    """A workflow that is ready to draw cells.

    Attributes:
        graph: What its output needs.
        info: What the server says of its nodes.
        roles: What is what in it.
        loras: The nodes that load the LoRAs, each behind the one before.
    """

    graph: Graph
    info: NodeInfo
    roles: Roles
    loras: tuple[LoraNode, ...]

    @property
    def digest(self) -> str:
        """Digest of everything in it that a cell does not set."""
        graph = copy.deepcopy(self.graph)
        for role in _VARYING:
            for place in self.roles.places.get(role, ()):
                graph[place.node]["inputs"][place.field] = None
        if self.roles.marked:
            graph[self.roles.marked]["inputs"] = {}
        graph[self.roles.output] = {"class_type": "SaveImage", "inputs": self._saved(graph)}
        places = {
            role: [f"{place.node}.{place.field}" for place in places]
            for role, places in self.roles.places.items()
        }
        return digest_of(
            {
                "graph": sent(graph),
                "roles": places,
                "model": list(self.roles.model),
                "clip": list(self.roles.clip) if self.roles.clip else None,
                "loader": ",".join(one.loader for one in self.loras),
            }
        )

    def request(self, cell: CellRequest, strengths: Strengths) -> dict[str, dict[str, Any]]:
        """Return the graph that draws a cell, without the name of the file it is saved under.

        Each LoRA is loaded at its strength; none of them is in the graph where there are none.

        Raises:
            RendererError: When a value does not go with the node that takes it.
        """
        graph = copy.deepcopy(self.graph)
        for role, value in self._values(cell).items():
            for place in self.roles.places[role]:
                _require_value(graph, self.info, place, role, value)
                graph[place.node]["inputs"][place.field] = value
        for node in graph.values():
            if "batch_size" in node["inputs"]:
                node["inputs"]["batch_size"] = 1  # noise depends on the place in a batch
        self._place_loras(graph, strengths)
        graph[self.roles.output] = {"class_type": "SaveImage", "inputs": self._saved(graph)}
        return sent(graph)

    def saved_as(
        self, graph: Mapping[str, dict[str, Any]], prefix: str
    ) -> dict[str, dict[str, Any]]:
        """Return a request with the name that its picture is saved under."""
        output = graph[self.roles.output]
        inputs = {**output["inputs"], "filename_prefix": f"{FOLDER}/{prefix}"}
        return {**graph, self.roles.output: {**output, "inputs": inputs}}

    def _saved(self, graph: Graph) -> dict[str, Any]:
        return {"images": graph[self.roles.output]["inputs"].get("images")}

    def _values(self, cell: CellRequest) -> dict[str, Any]:
        values: dict[str, Any] = {
            "prompt": cell.prompt,
            "seed": cell.seed,
            "steps": cell.steps,
            "width": cell.width,
            "height": cell.height,
        }
        if "guidance" in self.roles.places:
            values["guidance"] = cell.guidance
        if "negative" in self.roles.places:
            values["negative"] = cell.negative
        elif cell.negative:
            raise RendererError("the workflow takes no negative prompt; leave it out")
        if cell.sampler == "default":
            return values
        if cell.sampler not in SAMPLERS or "sampler" not in self.roles.places:
            raise RendererError(f"sampler {cell.sampler!r} does not go with this workflow")
        values["sampler"], scheduler = SAMPLERS[cell.sampler]
        if "scheduler" in self.roles.places:
            values["scheduler"] = scheduler
        elif cell.sampler.endswith("_karras"):
            raise RendererError(f"sampler {cell.sampler!r} does not go with this workflow")
        return values

    def _place_loras(self, graph: Graph, strengths: Strengths) -> None:
        roles = self.roles
        if roles.marked:
            # The user's own node: it becomes ours, or what comes into it goes straight on.
            del graph[roles.marked]
        nodes, ends = self._chain(strengths)
        ways: dict[Link, Link] = {}
        for slot, (source, end) in enumerate(zip((roles.model, roles.clip), ends, strict=True)):
            if source is not None and end is not None:
                ways[(roles.marked, slot) if roles.marked else source] = end
        for node in graph.values():
            for name, value in node["inputs"].items():
                link = link_of(value)
                if link in ways:
                    node["inputs"][name] = list(ways[link])
        graph |= nodes

    def _chain(self, strengths: Strengths) -> tuple[Graph, tuple[Link, Link | None]]:
        """Return our loaders, and where model and text encoders leave the last of them."""
        model, clip = self.roles.model, self.roles.clip
        nodes: Graph = {}
        # Without strengths nothing is loaded: the base is the workflow itself.
        for number, (lora, strength) in enumerate(zip(self.loras, strengths, strict=False)):
            node_id = f"{LORA_NODE}_{number + 1}" if number else LORA_NODE
            inputs: dict[str, Any] = {
                "model": list(model),
                "lora_name": lora.name,
                "strength_model": strength,
            }
            model = (node_id, 0)
            if lora.loader == "LoraLoader" and clip is not None:
                inputs |= {"clip": list(clip), "strength_clip": strength}
                clip = (node_id, 1)
            nodes[node_id] = {"class_type": lora.loader, "inputs": inputs}
        return nodes, (model, clip)


def loader_for(roles: Roles, *, text_encoders: bool) -> str:
    """Return the class of the node that loads a LoRA into a workflow.

    Raises:
        RendererError: When the LoRA changes text encoders and the workflow has none to give.
    """
    if not text_encoders:
        return "LoraLoaderModelOnly"
    if roles.clip is None:
        raise RendererError(
            "the LoRA changes text encoders, and nothing says where the workflow has them",
            hint='add "clip": "NODE.SLOT" to the mapping (docs/renderers.md)',
        )
    return "LoraLoader"


def options_of(spec: Any) -> list[Any] | None:
    """Return the values that an input may have, or None where it is no list of them."""
    if not isinstance(spec, list) or not spec:
        return None
    if isinstance(spec[0], list):
        return spec[0]
    if spec[0] == "COMBO" and len(spec) > 1 and isinstance(spec[1], dict):
        options = spec[1].get("options")
        return options if isinstance(options, list) else None
    return None


def _require_value(graph: Graph, info: NodeInfo, place: Place, role: str, value: Any) -> None:
    kind = graph[place.node]["class_type"]
    spec = input_spec(info, kind, place.field)
    where = f"{named(graph, place.node)}, input {place.field}"
    options = options_of(spec)
    if options is not None:
        if value not in options:
            raise RendererError(f"{role} {value!r} does not go with this workflow: {where}")
        return
    limits = spec[1] if isinstance(spec, list) and len(spec) > 1 else {}
    if not isinstance(value, int | float) or not isinstance(limits, dict):
        return
    low, high = limits.get("min", -math.inf), limits.get("max", math.inf)
    step = limits.get("step", 0) if role in {"width", "height"} else 0
    if not low <= value <= high or (step and value % step):
        steps = f" in steps of {step}" if step else ""
        raise RendererError(
            f"{role} {value:g} does not go with this workflow: {where} takes {low} to {high}{steps}"
        )
