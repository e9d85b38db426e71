"""Which inputs of a workflow are prompt, seed, size, …: found where it is plain, else told.

What is found must be the only candidate. A workflow where two nodes could be meant is refused
with both of them named, and a mapping file says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.evaluation.renderers.comfyui.graph import (
    LORA_LOADERS,
    MARK,
    OUTPUTS,
    Graph,
    Link,
    NodeInfo,
    input_spec,
    link_of,
    listed,
    named,
    needed_for,
    taken,
    types_of,
)
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError, RendererError

ROLES = (
    "prompt", "negative", "seed", "steps", "guidance", "width", "height", "sampler", "scheduler",
)  # fmt: skip
_OPTIONAL = frozenset({"negative", "guidance", "sampler", "scheduler"})
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": ("text_g", "text_l"),
    "CLIPTextEncodeSD3": ("clip_l", "clip_g", "t5xxl"),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl"),
    "CLIPTextEncodeHiDream": ("clip_l", "clip_g", "t5xxl", "llama"),
    "CLIPTextEncodeLumina2": ("user_prompt",),
}
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_PRIMITIVES = ("value", "text", "string", "seed")
_MAPPING_HINT = "write a mapping (docs/renderers.md) and set renderers.comfyui.mapping"


class Place(msgspec.Struct, frozen=True):
    """One input of one node."""

    node: str
    field: str


class Roles(msgspec.Struct, frozen=True):
    """What is what in a workflow.

    Attributes:
        places: The inputs that each role sets; several for a prompt with several encoders.
        output: The node whose picture is taken.
        model: Where the model leaves its last loader.
        clip: Where the text encoders leave theirs, or None.
        marked: A LoRA loader of the user's that stands for ours, or empty.
        told: Roles that a mapping file told.
    """

    places: Mapping[str, tuple[Place, ...]]
    output: str
    model: Link
    clip: Link | None
    marked: str = ""
    told: tuple[str, ...] = msgspec.field(default=())


def read_mapping(path: Path) -> dict[str, list[str]]:
    """Return a mapping file: roles, each with one or more ``node.input``.

    Raises:
        RendererError: When it is none.
    """
    try:
        document = strict_json.load(path)
    except PipelineError as error:
        raise RendererError(error.message, hint=error.hint) from error
    if not isinstance(document, dict):
        raise RendererError(f"{path.name} must hold roles and inputs")
    mapping: dict[str, list[str]] = {}
    for role, value in document.items():
        if role not in {*ROLES, "output", "model", "clip"}:
            raise RendererError(
                f"{path.name}: no role {role!r}",
                hint=f"there are {', '.join(ROLES)}, output, model, clip",
            )
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in values):
            raise RendererError(f"{path.name}: {role} must be text such as 6.text")
        mapping[role] = values
    return mapping


def output_of(graph: Graph, mapping: Mapping[str, list[str]]) -> str:
    """Return the node whose picture is taken.

    Raises:
        RendererError: When there is none, or more than one.
    """
    if "output" in mapping:
        return _told_node(graph, mapping["output"], "output")
    found = [node_id for node_id, node in graph.items() if node["class_type"] in OUTPUTS]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RendererError("the workflow saves no picture: it has no SaveImage node")
    raise RendererError(
        f"the workflow has {len(found)} outputs: {listed(graph, found)}", hint=_MAPPING_HINT
    )


def find_roles(graph: Graph, info: NodeInfo, mapping: Mapping[str, list[str]]) -> Roles:
    """Return what is what in a workflow that was reduced to what its output needs.

    Raises:
        RendererError: When something is not there, or not the only one.
    """
    output = output_of(graph, mapping)
    finder = _Finder(graph, info)
    places = {role: _told(graph, role, mapping[role]) for role in ROLES if mapping.get(role)}
    if not set(ROLES) - _OPTIONAL <= places.keys():
        for role, found in finder.found().items():
            places.setdefault(role, found)
    for role in ROLES:
        if role not in places and role not in _OPTIONAL:
            raise RendererError(f"nothing in the workflow is its {role}", hint=_MAPPING_HINT)
    for found in places.values():
        for place in found:
            _require_input(graph, info, place)
    marked = finder.marked()
    model = _told_link(mapping, "model") or finder.model(marked)
    clip = _told_link(mapping, "clip") or finder.clip(model, marked)
    return Roles(places, output, model, clip, marked, tuple(sorted(mapping)))


class _Finder:
    """Looks for the only candidate of each role."""

    def __init__(self, graph: Graph, info: NodeInfo) -> None:
        self._graph = graph
        self._info = info

    def found(self) -> dict[str, tuple[Place, ...]]:
        """Return every role that can be told from the one sampler of the workflow."""
        sampler = self._only(lambda node: node["class_type"] in _SAMPLERS, "samplers")
        inputs = self._graph[sampler]["inputs"]
        kind = self._graph[sampler]["class_type"]
        source = self._behind(inputs, "guider", sampler)
        places = self._numbers(sampler, kind)
        positive = "positive" if "positive" in self._inputs(source) else "conditioning"
        places["prompt"] = self._texts(source, positive)
        guidance = self._upstream_place(source, positive, "FluxGuidance", "guidance")
        if guidance is not None:
            places["guidance"] = (guidance,)
        elif "cfg" in self._inputs(source):
            places["guidance"] = (self._literal(source, "cfg"),)
        if "negative" in self._inputs(source) and not self._zeroed(source):
            places["negative"] = self._texts(source, "negative")
        latent = self._only(
            lambda node: (
                node["class_type"].startswith("Empty")
                and {"width", "height"} <= node["inputs"].keys()
            ),
            "empty latents",
        )
        for role in ("width", "height"):
            places[role] = (self._literal(latent, role),)
        return places

    def marked(self) -> str:
        """Return the LoRA loader that the user marked as ours, or empty."""
        found = [one for one, node in self._graph.items() if node.get("title") == MARK]
        if not found:
            return ""
        if len(found) > 1 or self._graph[found[0]]["class_type"] not in LORA_LOADERS:
            raise RendererError(
                f"{listed(self._graph, found)} bears the title {MARK}; it stands for one "
                "LoraLoader or LoraLoaderModelOnly"
            )
        return found[0]

    def model(self, marked: str) -> Link:
        """Return where the model comes out of the last loader."""
        if marked:
            return self._link(marked, "model")
        start = self._only(
            lambda node: (
                "MODEL" in types_of(self._info, node["class_type"])
                and not taken(self._info, node["class_type"], "MODEL")
            ),
            "loaders of a model",
        )
        slot = types_of(self._info, self._graph[start]["class_type"]).index("MODEL")
        return self._behind_loras((start, slot))

    def clip(self, model: Link, marked: str) -> Link | None:
        """Return where the text encoders come out of their last loader, or None."""
        if marked:
            return link_of(self._graph[marked]["inputs"].get("clip"))
        kind = self._graph[model[0]]["class_type"]
        types = types_of(self._info, kind)
        if "CLIP" in types:
            return model[0], types.index("CLIP")
        found = [
            one
            for one, node in self._graph.items()
            if "CLIP" in types_of(self._info, node["class_type"])
            and not taken(self._info, node["class_type"], "CLIP")
        ]
        if len(found) != 1:
            return None
        return found[0], types_of(self._info, self._graph[found[0]]["class_type"]).index("CLIP")

    def _behind_loras(self, link: Link) -> Link:
        while True:
            further = [
                one
                for one, node in self._graph.items()
                if node["class_type"] in LORA_LOADERS
                and link_of(node["inputs"].get("model")) == link
            ]
            if not further:
                return link
            if len(further) > 1:
                raise RendererError(
                    f"the workflow's model goes into {listed(self._graph, further)}",
                    hint=f"give the one that stands for the evaluated LoRA the title {MARK}",
                )
            link = (further[0], 0)

    def _numbers(self, sampler: str, kind: str) -> dict[str, tuple[Place, ...]]:
        places: dict[str, tuple[Place, ...]] = {}
        noise = self._behind(self._inputs(sampler), "noise", sampler)
        seed = "seed" if kind == "KSampler" else "noise_seed"
        places["seed"] = (self._literal(noise, seed),)
        sigmas = self._behind(self._inputs(sampler), "sigmas", sampler)
        places["steps"] = (self._literal(sigmas, "steps"),)
        chosen = self._behind(self._inputs(sampler), "sampler", sampler)
        if "sampler_name" in self._inputs(chosen):
            places["sampler"] = (self._literal(chosen, "sampler_name"),)
        if "scheduler" in self._inputs(sigmas):
            places["scheduler"] = (self._literal(sigmas, "scheduler"),)
        return places

    def _behind(self, inputs: Mapping[str, Any], name: str, own: str) -> str:
        """Return the node that an input comes from; the node itself where it has no such input."""
        link = link_of(inputs.get(name))
        return link[0] if link else own

    def _inputs(self, node_id: str) -> Mapping[str, Any]:
        inputs: Mapping[str, Any] = self._graph[node_id]["inputs"]
        return inputs

    def _link(self, node_id: str, name: str) -> Link:
        link = link_of(self._graph[node_id]["inputs"].get(name))
        if link is None:
            raise RendererError(f"{named(self._graph, node_id)} has no {name}")
        return link

    def _texts(self, node_id: str, name: str) -> tuple[Place, ...]:
        upstream = needed_for(self._graph, self._link(node_id, name)[0])
        found = [one for one, node in upstream.items() if node["class_type"] in _TEXTS]
        if len(found) != 1:
            which = listed(self._graph, found) or "none"
            raise RendererError(
                f"{named(self._graph, node_id)}: texts behind its {name}: {which}",
                hint=_MAPPING_HINT,
            )
        fields = _TEXTS[self._graph[found[0]]["class_type"]]
        return tuple(self._literal(found[0], one) for one in fields)

    def _zeroed(self, node_id: str) -> bool:
        upstream = needed_for(self._graph, self._link(node_id, "negative")[0])
        return any(node["class_type"] == "ConditioningZeroOut" for node in upstream.values())

    def _upstream_place(self, node_id: str, name: str, kind: str, field_name: str) -> Place | None:
        upstream = needed_for(self._graph, self._link(node_id, name)[0])
        for one, node in upstream.items():
            if node["class_type"] == kind:
                return self._literal(one, field_name)
        return None

    def _literal(self, node_id: str, name: str) -> Place:
        """Return where a value really stands, following links to nodes that hold one value."""
        seen = set[str]()
        while True:
            value = self._graph[node_id]["inputs"].get(name)
            link = link_of(value)
            if link is None:
                return Place(node_id, name)
            inputs = self._graph[link[0]]["inputs"]
            fields = [one for one in _PRIMITIVES if one in inputs]
            if len(fields) != 1 or len(inputs) > 2 or link[0] in seen:
                raise RendererError(
                    f"{named(self._graph, node_id)} takes {name} from "
                    f"{named(self._graph, link[0])}, and not as a value",
                    hint=_MAPPING_HINT,
                )
            seen.add(link[0])
            node_id, name = link[0], fields[0]

    def _only(self, fits: Callable[[dict[str, Any]], bool], what: str) -> str:
        found = [one for one, node in self._graph.items() if fits(node)]
        if len(found) == 1:
            return found[0]
        which = f"{len(found)} {what}: {listed(self._graph, found)}" if found else f"no {what}"
        raise RendererError(f"the workflow has {which}", hint=_MAPPING_HINT)


def _told(graph: Graph, role: str, values: list[str]) -> tuple[Place, ...]:
    places = []
    for value in values:
        node_id, dot, name = value.partition(".")
        if not dot or node_id not in graph:
            raise RendererError(
                f"mapping: {role} is {value!r}, and the output needs no such node",
                hint=f"write it as node.input, of {listed(graph, list(graph)[:6])}",
            )
        places.append(Place(node_id, name))
    return tuple(places)


def _told_node(graph: Graph, values: list[str], role: str) -> str:
    if len(values) == 1 and values[0] in graph:
        return values[0]
    raise RendererError(f"mapping: {role} is {', '.join(values)}, which is no node")


def _told_link(mapping: Mapping[str, list[str]], role: str) -> Link | None:
    if role not in mapping:
        return None
    node_id, _, slot = mapping[role][0].partition(".")
    return node_id, int(slot) if slot.isdigit() else 0


def _require_input(graph: Graph, info: NodeInfo, place: Place) -> None:
    node = graph[place.node]
    if input_spec(info, node["class_type"], place.field) is None:
        raise RendererError(
            f"{named(graph, place.node)} has no input {place.field} on this server",
            hint=_MAPPING_HINT,
        )
    if link_of(node["inputs"].get(place.field)) is not None:
        raise RendererError(
            f"{named(graph, place.node)} takes {place.field} from another node, not as a value",
            hint=_MAPPING_HINT,
        )
