"""A user's own ComfyUI workflow: read, held to a list of nodes, and reduced to what draws.

A workflow is a program that a server runs, so it is treated as one: nodes that nobody allowed
are refused, and of what is left only what the picture needs is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError, RendererError

Graph = dict[str, dict[str, Any]]
Link = tuple[str, int]
# What a server says of its nodes, by class: the answer of /object_info.
NodeInfo = Mapping[str, Mapping[str, Any]]

OUTPUTS = ("SaveImage", "PreviewImage")
LORA_LOADERS = ("LoraLoader", "LoraLoaderModelOnly")
MARK = "LORA_EVAL"
# Nodes of ComfyUI itself that load, condition, sample and decode. None of them runs code that a
# workflow brings, writes a model, or talks to the network.
ALLOWED = frozenset({
    "CheckpointLoaderSimple", "UNETLoader", "CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader",
    "QuadrupleCLIPLoader", "VAELoader", "LoraLoader", "LoraLoaderModelOnly",
    "CLIPTextEncode", "CLIPTextEncodeSDXL", "CLIPTextEncodeFlux", "CLIPTextEncodeSD3",
    "CLIPTextEncodeHiDream", "CLIPTextEncodeLumina2", "CLIPSetLastLayer",
    "ConditioningCombine", "ConditioningConcat", "ConditioningAverage", "ConditioningZeroOut",
    "ConditioningSetTimestepRange", "FluxGuidance",
    "EmptyLatentImage", "EmptySD3LatentImage", "EmptyHunyuanImageLatent", "EmptyFlux2LatentImage",
    "EmptyQwenImageLayeredLatentImage", "LatentUpscale", "LatentUpscaleBy",
    "KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced", "KSamplerSelect",
    "BasicScheduler", "KarrasScheduler", "ExponentialScheduler", "SDTurboScheduler",
    "Flux2Scheduler", "AlignYourStepsScheduler", "BetaSamplingScheduler", "SplitSigmas",
    "RandomNoise", "DisableNoise", "BasicGuider", "CFGGuider", "DualCFGGuider",
    "ModelSamplingFlux", "ModelSamplingSD3", "ModelSamplingAuraFlow", "ModelSamplingDiscrete",
    "ModelSamplingContinuousEDM", "RescaleCFG", "FreeU", "FreeU_V2", "PerturbedAttentionGuidance",
    "SelfAttentionGuidance", "CFGNorm", "CFGZeroStar", "SkipLayerGuidanceDiT",
    "VAEDecode", "VAEDecodeTiled", "ImageScale", "ImageScaleBy", "ImageCrop",
    "SaveImage", "PreviewImage",
    "PrimitiveInt", "PrimitiveFloat", "PrimitiveString", "PrimitiveStringMultiline",
    "PrimitiveBoolean",
})  # fmt: skip
# Code that comes with ComfyUI; everything else was installed by somebody, under any name.
_CORE_MODULES = ("nodes", "comfy_extras.")
_HINT = 'export it in ComfyUI with "Export (API)", and see docs/renderers.md'


def read_workflow(path: Path) -> Graph:
    """Return a workflow in the API format.

    Raises:
        RendererError: When it is not there, or is something else.
    """
    try:
        document = strict_json.load(path)
    except PipelineError as error:
        raise RendererError(error.message, hint=_HINT) from error
    if isinstance(document, dict) and {"nodes", "links"} <= document.keys():
        raise RendererError(f"{path.name} is a workflow as the editor saves it", hint=_HINT)
    if not isinstance(document, dict) or not document:
        raise RendererError(f"{path.name} holds no workflow", hint=_HINT)
    for node_id, node in document.items():
        if (
            not isinstance(node, dict)
            or not isinstance(node.get("class_type"), str)
            or not isinstance(node.get("inputs"), dict)
        ):
            raise RendererError(f"{path.name}: node {node_id!r} has no class or inputs", hint=_HINT)
    return {
        node_id: {
            "class_type": node["class_type"],
            "inputs": dict(node["inputs"]),
            "title": str((node.get("_meta") or {}).get("title", "")),
        }
        for node_id, node in document.items()
    }


def link_of(value: Any) -> Link | None:
    """Return a value as the output of another node, or None when it is a plain value."""
    if isinstance(value, list | tuple) and len(value) == 2:
        node, slot = value
        if isinstance(node, str) and isinstance(slot, int) and not isinstance(slot, bool):
            return node, slot
    return None


def named(graph: Graph, node_id: str) -> str:
    """Return a node as people find it in ComfyUI."""
    node = graph[node_id]
    title = f" “{node['title']}”" if node.get("title") else ""
    return f"node {node_id} ({node['class_type']}{title})"


def listed(graph: Graph, node_ids: Iterable[str]) -> str:
    """Return nodes as people find them."""
    return ", ".join(named(graph, node_id) for node_id in node_ids)


def needed_for(graph: Graph, output: str) -> Graph:
    """Return only the nodes that an output needs: nothing else is run, and nothing else saved.

    Raises:
        RendererError: When a link leads nowhere.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting = [output]
    while waiting:
        node_id = waiting.pop()
        if node_id in found:
            continue
        found[node_id] = graph[node_id]
        for name, value in graph[node_id]["inputs"].items():
            link = link_of(value)
            if link is None:
                continue
            if link[0] not in graph:
                raise RendererError(
                    f"the workflow's {named(graph, node_id)} takes {name} from node {link[0]}, "
                    "which is not there",
                    hint=_HINT,
                )
            waiting.append(link[0])
    return {node_id: found[node_id] for node_id in graph if node_id in found}


def require_allowed(graph: Graph, info: NodeInfo, further: frozenset[str]) -> None:
    """Check that every node may run, and is the one that ComfyUI itself brings.

    Args:
        graph: What is going to be sent.
        info: What the server says of the nodes' classes.
        further: Classes that the studio allows besides.

    Raises:
        RendererError: Names the node.
    """
    for node_id, node in graph.items():
        kind = node["class_type"]
        if kind not in ALLOWED | further:
            raise RendererError(
                f"the workflow's {named(graph, node_id)} is no node that may be used",
                hint=f"add {kind} to renderers.comfyui.allowedNodes once you know what it does",
            )
        if not info.get(kind):
            raise RendererError(
                f"the server does not know the workflow's {named(graph, node_id)}",
                hint="install it there, or export a workflow that this server can draw",
            )
        module = str(info[kind].get("python_module", "nodes"))
        if kind not in further and not module.startswith(_CORE_MODULES):
            raise RendererError(
                f"the workflow's {named(graph, node_id)} is not ComfyUI's own on this server, it "
                f"comes from {module}",
                hint=f"add {kind} to renderers.comfyui.allowedNodes once you know what it does",
            )


def types_of(info: NodeInfo, kind: str) -> tuple[str, ...]:
    """Return what a class of nodes puts out."""
    return tuple(str(one) for one in info.get(kind, {}).get("output", ()))


def input_spec(info: NodeInfo, kind: str, name: str) -> Any:
    """Return what a class of nodes takes as one of its inputs, or None when it has no such one."""
    inputs = info.get(kind, {}).get("input", {})
    for group in ("required", "optional"):
        found = (inputs.get(group) or {}).get(name)
        if found is not None:
            return found
    return None


def taken(info: NodeInfo, kind: str, wanted: str) -> bool:
    """Return whether a class of nodes takes an input of a type, such as ``MODEL``."""
    inputs = info.get(kind, {}).get("input", {})
    specs = [*(inputs.get("required") or {}).values(), *(inputs.get("optional") or {}).values()]
    return any(isinstance(spec, list) and spec and spec[0] == wanted for spec in specs)


def sent(graph: Graph) -> dict[str, dict[str, Any]]:
    """Return a graph as it is sent: without titles."""
    return {
        node_id: {"class_type": node["class_type"], "inputs": node["inputs"]}
        for node_id, node in graph.items()
    }
