"""A user's workflow: what is refused, what is found in it, and where the LoRA goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from lora_pipeline.evaluation.renderers.comfyui.base import plain_workflow
from lora_pipeline.evaluation.renderers.comfyui.graph import (
    Graph,
    needed_for,
    read_workflow,
    require_allowed,
)
from lora_pipeline.evaluation.renderers.comfyui.request import (
    LORA_NODE,
    LoraNode,
    Workflow,
    loader_for,
)
from lora_pipeline.evaluation.renderers.comfyui.roles import (
    Place,
    find_roles,
    output_of,
    read_mapping,
)
from lora_pipeline.evaluation.renderers.comfyui.server import refusal_words
from lora_pipeline.evaluation.renderers.interface import CellRequest
from lora_pipeline.foundation.errors import RendererError
from tests.support.fake_comfyui import FakeComfyUi

CELL = CellRequest("c" * 16, "trg, a red heart", "", 7, 0.8, 64, 64, 4, 3.0, "default")
FAKE = FakeComfyUi(models=Path("/nowhere"), custom={"SaltLoader": "custom_nodes.salt"})
INFO = {
    kind: FAKE._info(kind).get(kind, {}) for kind in [*FAKE._classes(), "SaltLoader", "Unheard"]
}


def node(kind: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "title": title}


def flux() -> Graph:
    """The shape of the workflow that ComfyUI brings for FLUX."""
    return {
        "1": node("UNETLoader", unet_name="flux.safetensors", weight_dtype="default"),
        "2": node("DualCLIPLoader", clip_name1="l.safetensors", clip_name2="t.safetensors",
                  type="flux"),
        "3": node("VAELoader", vae_name="ae.safetensors"),
        "4": node("CLIPTextEncode", text="", clip=["2", 0]),
        "5": node("FluxGuidance", conditioning=["4", 0], guidance=3.5),
        "6": node("BasicGuider", model=["1", 0], conditioning=["5", 0]),
        "7": node("RandomNoise", noise_seed=["14", 0]),
        "8": node("KSamplerSelect", sampler_name="euler"),
        "9": node("BasicScheduler", model=["1", 0], scheduler="simple", steps=20, denoise=1.0),
        "10": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=4),
        "11": node("SamplerCustomAdvanced", noise=["7", 0], guider=["6", 0], sampler=["8", 0],
                   sigmas=["9", 0], latent_image=["10", 0]),
        "12": node("VAEDecode", samples=["11", 0], vae=["3", 0]),
        "13": node("SaveImage", images=["12", 0], filename_prefix="mine"),
        "14": node("PrimitiveInt", value=1),
    }  # fmt: skip


def plain() -> Graph:
    return plain_workflow("base.safetensors")


def workflow(
    graph: Graph, told: Mapping[str, list[str]] | None = None, *, text_encoders: bool = False
) -> Workflow:
    mapping = dict(told or {})
    graph = needed_for(graph, output_of(graph, mapping))
    roles = find_roles(graph, INFO, mapping)
    loader = loader_for(roles, text_encoders=text_encoders)
    return Workflow(graph, INFO, roles, (LoraNode(loader, "lora-eval/x.safetensors"),))


def written(folder: Path, document: Any) -> Path:
    path = folder / "workflow.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"nodes": [], "links": [], "version": 0.4}, "as the editor saves it"),
        ({}, "holds no workflow"),
        ([], "holds no workflow"),
        ({"3": {"inputs": {}}}, "node '3' has no class or inputs"),
        ({"3": "KSampler"}, "node '3' has no class or inputs"),
    ],
)
def test_what_is_no_workflow_in_the_api_format_is_refused(
    tmp_path: Path, document: Any, words: str
) -> None:
    with pytest.raises(RendererError, match=words) as caught:
        read_workflow(written(tmp_path, document))
    assert "Export (API)" in str(caught.value.hint)


def test_a_workflow_that_is_not_there_or_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RendererError):
        read_workflow(tmp_path / "workflow.json")
    (tmp_path / "workflow.json").write_text('{"3": ')
    with pytest.raises(RendererError):
        read_workflow(tmp_path / "workflow.json")


def test_a_plain_workflow_needs_no_mapping() -> None:
    roles = workflow(plain()).roles
    assert roles.places["prompt"] == (Place("6", "text"),)
    assert roles.places["negative"] == (Place("7", "text"),)
    assert roles.places["seed"] == (Place("3", "seed"),)
    assert roles.places["guidance"] == (Place("3", "cfg"),)
    assert roles.places["width"] == (Place("5", "width"),)
    assert (roles.output, roles.model, roles.clip) == ("9", ("4", 0), ("4", 1))


def test_the_usual_flux_workflow_needs_no_mapping() -> None:
    roles = workflow(flux()).roles
    assert roles.places["prompt"] == (Place("4", "text"),)
    assert "negative" not in roles.places
    assert roles.places["seed"] == (Place("14", "value"),)  # behind a primitive
    assert roles.places["guidance"] == (Place("5", "guidance"),)
    assert roles.places["steps"] == (Place("9", "steps"),)
    assert roles.places["scheduler"] == (Place("9", "scheduler"),)
    assert (roles.model, roles.clip) == (("1", 0), ("2", 0))


def test_a_cell_sets_its_values_and_nothing_else() -> None:
    graph = workflow(flux()).request(CELL, ())
    assert graph["4"]["inputs"]["text"] == CELL.prompt
    assert graph["14"]["inputs"]["value"] == 7
    assert graph["5"]["inputs"]["guidance"] == 3.0
    assert graph["10"]["inputs"] == {"width": 64, "height": 64, "batch_size": 1}
    assert graph["13"] == {"class_type": "SaveImage", "inputs": {"images": ["12", 0]}}
    assert graph["8"]["inputs"]["sampler_name"] == "euler"
    assert LORA_NODE not in graph


def test_the_lora_goes_between_the_loader_and_everything_that_takes_its_model() -> None:
    graph = workflow(flux()).request(CELL, (0.8,))
    assert graph[LORA_NODE] == {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {
            "model": ["1", 0],
            "lora_name": "lora-eval/x.safetensors",
            "strength_model": 0.8,
        },
    }
    assert graph["6"]["inputs"]["model"] == [LORA_NODE, 0]
    assert graph["9"]["inputs"]["model"] == [LORA_NODE, 0]
    assert graph["4"]["inputs"]["clip"] == ["2", 0]


def test_a_lora_with_text_encoders_goes_there_too() -> None:
    graph = workflow(plain(), text_encoders=True).request(CELL, (0.8,))
    assert graph[LORA_NODE]["class_type"] == "LoraLoader"
    assert graph[LORA_NODE]["inputs"]["strength_clip"] == 0.8
    assert graph["6"]["inputs"]["clip"] == [LORA_NODE, 1]
    assert graph["7"]["inputs"]["clip"] == [LORA_NODE, 1]
    assert graph["3"]["inputs"]["model"] == [LORA_NODE, 0]
    assert graph["8"]["inputs"]["vae"] == ["4", 2]


def test_several_loras_form_a_chain_in_their_order() -> None:
    one = workflow(plain(), text_encoders=True)
    nodes = (
        LoraNode("LoraLoader", "lora-eval/style.safetensors"),
        LoraNode("LoraLoaderModelOnly", "lora-eval/pose.safetensors"),
        LoraNode("LoraLoader", "lora-eval/hero.safetensors"),
    )
    graph = replace(one, loras=nodes).request(CELL, (0.8, 0.5, 1.0))

    style, pose, hero = (graph[name] for name in (LORA_NODE, "lora_eval_2", "lora_eval_3"))
    assert (style["inputs"]["model"], style["inputs"]["clip"]) == (["4", 0], ["4", 1])
    assert pose["inputs"] == {
        "model": [LORA_NODE, 0],
        "lora_name": "lora-eval/pose.safetensors",
        "strength_model": 0.5,
    }
    # The second has no text encoders, so the third takes them from the first.
    assert (hero["inputs"]["model"], hero["inputs"]["clip"]) == (["lora_eval_2", 0], [LORA_NODE, 1])
    assert hero["inputs"]["strength_clip"] == 1.0
    assert graph["3"]["inputs"]["model"] == ["lora_eval_3", 0]
    assert graph["6"]["inputs"]["clip"] == ["lora_eval_3", 1]
    assert replace(one, loras=nodes).digest != one.digest
    base = replace(one, loras=nodes).request(CELL, ())
    assert base == one.request(CELL, ())


def test_it_goes_behind_loras_that_the_studio_always_uses() -> None:
    graph = plain()
    graph["20"] = node("LoraLoader", model=["4", 0], clip=["4", 1], lora_name="house.safetensors",
                       strength_model=1.0, strength_clip=1.0)  # fmt: skip
    graph["3"]["inputs"]["model"] = ["20", 0]
    for one in ("6", "7"):
        graph[one]["inputs"]["clip"] = ["20", 1]
    ready = workflow(graph, text_encoders=True)
    assert (ready.roles.model, ready.roles.clip) == (("20", 0), ("20", 1))
    drawn = ready.request(CELL, (0.8,))
    assert drawn[LORA_NODE]["inputs"]["model"] == ["20", 0]
    assert drawn["20"]["inputs"]["model"] == ["4", 0]
    assert drawn["3"]["inputs"]["model"] == [LORA_NODE, 0]


def test_a_loader_that_is_marked_becomes_ours_and_the_base_goes_past_it() -> None:
    graph = plain()
    graph["20"] = node("LoraLoader", "LORA_EVAL", model=["4", 0], clip=["4", 1],
                       lora_name="old.safetensors", strength_model=1.0,
                       strength_clip=1.0)  # fmt: skip
    graph["3"]["inputs"]["model"] = ["20", 0]
    graph["6"]["inputs"]["clip"] = ["20", 1]  # the negative prompt stays with the base's
    ready = workflow(graph, text_encoders=True)
    base = ready.request(CELL, ())
    assert "20" not in base
    assert base["3"]["inputs"]["model"] == ["4", 0]
    assert base["6"]["inputs"]["clip"] == ["4", 1]
    drawn = ready.request(CELL, (0.8,))
    assert "20" not in drawn
    assert drawn["3"]["inputs"]["model"] == [LORA_NODE, 0]
    assert drawn["6"]["inputs"]["clip"] == [LORA_NODE, 1]
    assert drawn["7"]["inputs"]["clip"] == ["4", 1]


def test_what_the_output_does_not_need_is_not_sent() -> None:
    graph = plain()
    graph["30"] = node("SaveLatent", samples=["3", 0], filename_prefix="../../x")
    graph["31"] = node("SaltLoader")
    assert set(needed_for(graph, "9")) == {"3", "4", "5", "6", "7", "8", "9"}


def test_two_outputs_are_named_and_a_mapping_decides() -> None:
    graph = plain()
    graph["10"] = node("PreviewImage", "what I look at", images=["8", 0])
    with pytest.raises(RendererError, match=r"2 outputs: node 9 .*node 10 .*what I look at"):
        output_of(graph, {})
    ready = workflow(graph, {"output": ["10"]})
    assert ready.request(CELL, ())["10"]["class_type"] == "SaveImage"


def test_two_samplers_are_named_and_a_mapping_decides() -> None:
    graph = plain()
    graph["40"] = node("KSampler", **{**graph["3"]["inputs"], "latent_image": ["3", 0]})
    graph["8"]["inputs"]["samples"] = ["40", 0]
    with pytest.raises(RendererError, match=r"2 samplers: node 3 \(KSampler\), node 40"):
        workflow(graph)
    mapping = {
        "prompt": ["6.text"], "negative": ["7.text"], "seed": ["3.seed", "40.seed"],
        "steps": ["3.steps"], "guidance": ["3.cfg", "40.cfg"], "width": ["5.width"],
        "height": ["5.height"],
    }  # fmt: skip
    drawn = workflow(graph, mapping).request(CELL, ())
    assert (drawn["3"]["inputs"]["seed"], drawn["40"]["inputs"]["seed"]) == (7, 7)
    assert (drawn["3"]["inputs"]["steps"], drawn["40"]["inputs"]["steps"]) == (4, 20)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"promt": "6.text"}, "no role 'promt'"),
        ({"prompt": 6}, "prompt must be text"),
        ([], "must hold roles"),
    ],
)
def test_a_mapping_that_is_none_is_refused(tmp_path: Path, mapping: Any, words: str) -> None:
    with pytest.raises(RendererError, match=words):
        read_mapping(written(tmp_path, mapping))


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"prompt": ["66.text"]}, "prompt is '66.text', and the output needs no such node"),
        ({"prompt": ["6"]}, "prompt is '6', and the output needs no such node"),
        ({"prompt": ["6.txet"]}, r"node 6 \(CLIPTextEncode\) has no input txet on this server"),
        ({"prompt": ["6.clip"]}, "takes clip from another node, not as a value"),
        ({"output": ["99"]}, "output is 99, which is no node"),
    ],
)
def test_a_mapping_is_held_against_the_workflow_and_the_server(
    mapping: dict[str, list[str]], words: str
) -> None:
    with pytest.raises(RendererError, match=words):
        workflow(plain(), mapping)


def test_nodes_that_nobody_allowed_are_refused_and_can_be_allowed() -> None:
    graph = plain()
    graph["4"]["class_type"] = "SaltLoader"
    with pytest.raises(RendererError, match=r"node 4 \(SaltLoader\) is no node") as caught:
        require_allowed(graph, INFO, frozenset())
    assert "renderers.comfyui.allowedNodes" in str(caught.value.hint)
    require_allowed(graph, INFO, frozenset({"SaltLoader"}))


def test_a_node_of_comfyuis_name_that_somebody_else_brought_is_refused() -> None:
    info = {**INFO, "KSampler": {**INFO["KSampler"], "python_module": "custom_nodes.evil"}}
    with pytest.raises(RendererError, match=r"node 3 .*it comes from custom_nodes\.evil"):
        require_allowed(plain(), info, frozenset())


def test_a_node_that_the_server_does_not_know_is_refused() -> None:
    with pytest.raises(RendererError, match="does not know the workflow's node 3"):
        require_allowed(plain(), {**INFO, "KSampler": {}}, frozenset())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 60}, r"width 60 does not .* node 5 \(EmptyLatentImage\), input width takes 16"),
        ({"height": 100_000}, "height 100000 does not go with this workflow"),
        ({"steps": 0}, "steps 0 does not go with this workflow"),
        ({"guidance": 1000.0}, "guidance 1000 does not go with this workflow"),
        ({"seed": 2**64}, "seed .* does not go with this workflow"),
        ({"sampler": "magic"}, "sampler 'magic' does not go with this workflow"),
        ({"sampler": "unipc"}, "sampler 'uni_pc' does not go with this workflow: node 3"),
    ],
)
def test_values_are_held_against_what_the_server_takes(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RendererError, match=words):
        workflow(plain()).request(CellRequest(**{**asdict(CELL), **changes}), (0.8,))


def test_a_negative_prompt_that_has_no_place_is_refused() -> None:
    cell = CellRequest(**{**asdict(CELL), "negative": "blurry"})
    with pytest.raises(RendererError, match="takes no negative prompt"):
        workflow(flux()).request(cell, (0.8,))


def test_the_digest_is_that_of_the_workflow_and_of_no_cell_and_no_title() -> None:
    ready = workflow(plain())
    other = plain()
    other["6"]["inputs"]["text"] = "what the studio last drew"
    other["3"]["inputs"]["seed"] = 12345
    other["4"]["title"] = "the base"
    other["9"]["inputs"]["filename_prefix"] = "elsewhere"
    assert workflow(other).digest == ready.digest
    other["3"]["inputs"]["denoise"] = 0.9
    assert workflow(other).digest != ready.digest


def test_a_link_to_a_node_that_is_not_there_is_named() -> None:
    graph = plain()
    graph["3"]["inputs"]["model"] = ["77", 0]
    with pytest.raises(RendererError, match=r"node 3 \(KSampler\) takes model from node 77"):
        needed_for(graph, "9")


def test_a_refusal_names_node_and_input_and_no_list_of_files() -> None:
    body = {
        "error": {"type": "prompt_outputs_failed_validation", "message": "failed"},
        "node_errors": {
            "4": {
                "class_type": "CheckpointLoaderSimple",
                "errors": [
                    {
                        "type": "value_not_in_list",
                        "details": "ckpt_name: 'x' not in ['secret_project.safetensors']",
                        "extra_info": {"input_name": "ckpt_name"},
                    }
                ],
            }
        },
    }
    words = refusal_words(json.dumps(body).encode())
    assert words == "node 4 (CheckpointLoaderSimple), input ckpt_name: value not in list"
    assert refusal_words(b"not json") == "no reason was given"
    error = {"error": {"message": "Bad", "details": "in /home/kim/models/x.py"}}
    assert refusal_words(json.dumps(error).encode()) == "Bad in …/x.py"
