"""A ComfyUI server that is real but small: its HTTP interface in a thread, on loopback.

It answers as version 0.3.64 was seen to, odd habits included: 200 with ``{}`` for what it does
not know, models kept by name, results kept by inputs, everything forgotten by a restart, no error
for a LoRA that does not fit. It draws noise that follows from what the graph really says.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors import safe_open

from tests.support.fake_renderer import noise_picture
from tests.support.faulty_server import FaultyServer, Reply

_INT = {"min": 0, "max": 2**64 - 1}
_SIDE = {"default": 512, "min": 16, "max": 16384, "step": 8}


@dataclass
class FakeComfyUi(FaultyServer):
    """The server's state, and what tests tell it.

    Attributes:
        models: Its folder of models.
        output: Its folder of pictures.
        looks: How often a job is looked at before it has ended.
        fault: How pictures or jobs go wrong; see ``_spoilt`` and ``_end``.
        only_with_lora: Whether the fault strikes cells with the LoRA alone.
        version: What it says it is.
        argv: Its arguments.
        custom: Classes that custom nodes have put in the place of ComfyUI's own.
        strangers: Jobs of others, in the queue before ours; each takes one look.
        told_log: Lines of its log.
    """

    models: Path = Path()
    output: Path = Path()
    looks: int = 1
    fault: str = ""
    only_with_lora: bool = True
    version: str = "0.3.64"
    argv: list[str] = field(default_factory=lambda: ["main.py", "--cpu", "--port", "8188"])
    custom: dict[str, str] = field(default_factory=dict)
    strangers: int = 0
    separator: str = "/"
    told_log: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, dict[str, Any]] = field(default_factory=dict)
    loaded: dict[str, Path] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    number: int = 0

    def restart(self) -> None:
        """Forget what a process forgets."""
        self.jobs.clear()
        self.history.clear()
        self.loaded.clear()

    # What the routes do

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        """Return what is answered."""
        first, _, rest = path.removeprefix("/").partition("/")
        if method == "POST":
            return self._change(first, body)
        reading: dict[str, Callable[[], Any]] = {
            "system_stats": self._stats,
            "object_info": lambda: self._info(rest),
            "history": lambda: self._look(rest),
            "queue": self._queue,
            "internal": lambda: "\n".join(self.told_log),
        }
        if first in reading:
            return Reply(body=reading[first]())
        if first == "models":
            names = self._names(rest)
            return Reply(404, b"") if names is None else Reply(body=names)
        if path.startswith("/experiment/models/"):
            kind = path.rpartition("/")[2]
            return Reply(body=[self._size(kind, name) for name in self._names(kind) or []])
        if first == "view":
            return self._view(query)
        return Reply(404, b"", "text/plain")

    def _change(self, route: str, body: Any) -> Reply:
        if route == "prompt":
            return self._submit(body)
        if route == "queue":
            for prompt_id in body.get("delete", []):
                if self.jobs.get(prompt_id, {}).get("looked", 1) == 0:
                    del self.jobs[prompt_id]
                    self.stopped.append(prompt_id)
        elif route == "interrupt" and body.get("prompt_id") in self.jobs:
            self.interrupt(body["prompt_id"])
        return Reply(200, b"", "text/plain")

    def interrupt(self, prompt_id: str) -> None:
        """Stop a running job, as anybody can."""
        job = self.jobs.pop(prompt_id)
        self.stopped.append(prompt_id)
        messages = [["execution_start", {}], ["execution_interrupted", {"node_id": "3"}]]
        self._note(prompt_id, job, {}, "error", messages)

    def _stats(self) -> dict[str, Any]:
        return {
            "system": {
                "os": "posix", "comfyui_version": self.version, "python_version": "3.11.9 (main)",
                "pytorch_version": "2.13.0+cpu", "embedded_python": False, "argv": self.argv,
            },
            "devices": [{"name": "cpu", "type": "cpu", "index": None, "vram_total": 8}],
        }  # fmt: skip

    def _names(self, kind: str) -> list[str] | None:
        folder = self.models / kind
        if not folder.is_dir():
            return None
        found = sorted(folder.rglob("*.safetensors"))
        return [str(one.relative_to(folder)).replace("/", self.separator) for one in found]

    def _size(self, kind: str, name: str) -> dict[str, Any]:
        path = self.models / kind / name.replace(self.separator, "/")
        return {"name": name, "pathIndex": 0, "size": path.stat().st_size}

    def _info(self, kind: str) -> dict[str, Any]:
        node = self._classes().get(kind)
        if node is None and kind in self.custom:
            node = {"input": {"required": {}}, "output": []}
        if node is None:
            return {}
        module = self.custom.get(kind, "nodes")
        return {kind: {"name": kind, "python_module": module, "output_node": False, **node}}

    def _classes(self) -> dict[str, dict[str, Any]]:
        loras, bases = self._names("loras") or [], self._names("checkpoints") or []
        strength = ["FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}]
        text = ["STRING", {"multiline": True}]
        return {
            "CheckpointLoaderSimple": _node(["MODEL", "CLIP", "VAE"], ckpt_name=[bases]),
            "UNETLoader": _node(["MODEL"], unet_name=[self._names("diffusion_models") or []],
                                weight_dtype=[["default"]]),
            "DualCLIPLoader": _node(["CLIP"], clip_name1=[["l.safetensors"]],
                                    clip_name2=[["t.safetensors"]], type=[["flux"]]),
            "VAELoader": _node(["VAE"], vae_name=[["ae.safetensors"]]),
            "LoraLoader": _node(
                ["MODEL", "CLIP"], model=["MODEL"], clip=["CLIP"], lora_name=[loras, {}],
                strength_model=strength, strength_clip=strength,
            ),
            "LoraLoaderModelOnly": _node(
                ["MODEL"], model=["MODEL"], lora_name=[loras], strength_model=strength
            ),
            "CLIPTextEncode": _node(["CONDITIONING"], text=text, clip=["CLIP"]),
            "FluxGuidance": _node(["CONDITIONING"], conditioning=["CONDITIONING"],
                                  guidance=["FLOAT", {"min": 0.0, "max": 100.0}]),
            "ConditioningZeroOut": _node(["CONDITIONING"], conditioning=["CONDITIONING"]),
            "EmptyLatentImage": _node(
                ["LATENT"], width=["INT", _SIDE], height=["INT", _SIDE],
                batch_size=["INT", {"min": 1, "max": 4096}],
            ),
            "EmptySD3LatentImage": _node(
                ["LATENT"], width=["INT", {**_SIDE, "step": 16}],
                height=["INT", {**_SIDE, "step": 16}], batch_size=["INT", {"min": 1, "max": 9}],
            ),
            "KSampler": _node(
                ["LATENT"], model=["MODEL"], positive=["CONDITIONING"],
                negative=["CONDITIONING"], latent_image=["LATENT"], seed=["INT", _INT],
                steps=["INT", {"min": 1, "max": 10000}],
                cfg=["FLOAT", {"min": 0.0, "max": 100.0}],
                sampler_name=[["euler", "ddim", "dpmpp_2m"]], scheduler=[["normal", "karras"]],
                denoise=["FLOAT", {"min": 0.0, "max": 1.0}],
            ),
            "RandomNoise": _node(["NOISE"], noise_seed=["INT", _INT]),
            "BasicGuider": _node(["GUIDER"], model=["MODEL"], conditioning=["CONDITIONING"]),
            "KSamplerSelect": _node(["SAMPLER"], sampler_name=["COMBO", {"options": ["euler"]}]),
            "BasicScheduler": _node(
                ["SIGMAS"], model=["MODEL"], scheduler=["COMBO", {"options": ["simple", "normal"]}],
                steps=["INT", {"min": 1, "max": 10000}], denoise=["FLOAT", {"min": 0, "max": 1}],
            ),
            "SamplerCustomAdvanced": _node(
                ["LATENT", "LATENT"], noise=["NOISE"], guider=["GUIDER"], sampler=["SAMPLER"],
                sigmas=["SIGMAS"], latent_image=["LATENT"],
            ),
            "PrimitiveInt": _node(["INT"], value=["INT", _INT]),
            "VAEDecode": _node(["IMAGE"], samples=["LATENT"], vae=["VAE"]),
            "SaveImage": _node([], images=["IMAGE"], filename_prefix=["STRING", {}]),
            "PreviewImage": _node([], images=["IMAGE"]),
            "SaveLatent": _node([], samples=["LATENT"], filename_prefix=["STRING", {}]),
        }  # fmt: skip

    # Jobs

    def _submit(self, body: Any) -> Reply:
        if not isinstance(body, dict) or "prompt" not in body:
            return Reply(400, {"error": {"type": "no_prompt", "message": "No prompt provided"}})
        graph, prompt_id = body["prompt"], body["prompt_id"]
        wrong = self._wrong(graph)
        if wrong:
            return Reply(400, wrong)
        self.number += 1
        self.jobs[prompt_id] = {
            "number": self.number, "graph": copy.deepcopy(graph), "looked": 0, "body": body,
        }  # fmt: skip
        errors = {"7": {"errors": [{"type": "required_input_missing", "extra_info": {
            "input_name": "text"}}], "class_type": "CLIPTextEncode"}}  # fmt: skip
        refused = errors if self._strikes(graph, "half_refused") else {}
        return Reply(body={"prompt_id": prompt_id, "number": self.number, "node_errors": refused})

    def _wrong(self, graph: Any) -> dict[str, Any] | None:
        classes, errors = self._classes(), dict[str, Any]()
        for node_id, node in graph.items():
            kind = node.get("class_type")
            if kind not in classes and kind not in self.custom:
                error = {"type": "invalid_prompt", "message": f"node {kind} is missing",
                         "details": f"Node ID '#{node_id}'", "extra_info": {}}  # fmt: skip
                return {"error": error, "node_errors": {}}
            found = list(_violations(classes.get(kind, {}), node))
            if found:
                errors[node_id] = {"errors": found, "class_type": kind, "dependent_outputs": ["9"]}
        if not errors:
            return None
        error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed"}
        return {"error": error, "node_errors": errors}

    def _queue(self) -> dict[str, Any]:
        rows = [
            [job["number"], prompt_id, job["graph"], {"client_id": "x"}, ["9"]]
            for prompt_id, job in self.jobs.items()
        ]
        before = [[-1 - n, f"stranger-{n}", {}, {}, []] for n in range(self.strangers)]
        if before:
            return {"queue_running": before[:1], "queue_pending": [*reversed(rows), *before[1:]]}
        return {"queue_running": rows[:1], "queue_pending": rows[1:]}

    def _look(self, prompt_id: str) -> dict[str, Any]:
        job = self.jobs.get(prompt_id)
        if job is not None and not self._strikes(job["graph"], "hangs"):
            if self.strangers:
                self.strangers -= 1
            else:
                job["looked"] += 1
            if job["looked"] > self.looks:
                del self.jobs[prompt_id]
                self._end(prompt_id, job)
        return {prompt_id: self.history[prompt_id]} if prompt_id in self.history else {}

    def _end(self, prompt_id: str, job: dict[str, Any]) -> None:
        graph = job["graph"]
        if self._strikes(graph, "out_of_memory"):
            error = {
                "node_id": "3", "node_type": "KSampler", "executed": [], "traceback": ["…"],
                "exception_message": "Allocation on device at /home/kim/ComfyUI/execution.py",
                "exception_type": "torch.OutOfMemoryError",
            }  # fmt: skip
            self._note(prompt_id, job, {}, "error", [["execution_error", error]])
            return
        if self._strikes(graph, "no_output"):
            self._note(prompt_id, job, {}, "success", [])
            return
        (output,) = [one for one, node in graph.items() if node["class_type"] == "SaveImage"]
        prefix = graph[output]["inputs"]["filename_prefix"]
        folder, _, stem = prefix.rpartition("/")
        path = self.output / folder / f"{stem}_00001_.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._spoilt(graph, self._png(graph, output)))
        image = {"filename": path.name, "subfolder": folder, "type": "output"}
        if self._strikes(graph, "others_picture"):
            image["filename"] = "stranger_00007_.png"
        images = [image, image] if self._strikes(graph, "two_pictures") else [image]
        self._note(prompt_id, job, {output: {"images": images}}, "success", [])
        if self._strikes(graph, "file_vanishes"):
            path.unlink()
            self.fault = ""

    def _note(
        self, prompt_id: str, job: dict[str, Any], outputs: Any, status: str, messages: Any
    ) -> None:
        self.history[prompt_id] = {
            "prompt": [job["number"], prompt_id, job["graph"], {}, ["9"]],
            "outputs": outputs,
            "status": {"status_str": status, "completed": status == "success",
                       "messages": [["execution_start", {}], *messages]},
            "meta": {},
        }  # fmt: skip

    def _strikes(self, graph: Any, fault: str) -> bool:
        with_lora = any("Lora" in node["class_type"] for node in graph.values())
        return self.fault == fault and (with_lora or not self.only_with_lora)

    # Pictures

    def _png(self, graph: dict[str, Any], output: str) -> bytes:
        settings, loras = _drawn(graph, output)
        words = json.dumps(settings, sort_keys=True)
        applied = []
        for name, value in loras:
            # What was loaded is kept by name, whatever the file holds by now.
            path = self.loaded.setdefault(name, self.models / "loras" / name.replace("\\", "/"))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            strength = value if self._fitting(path) else 0.0
            if self._strikes(graph, "no_effect"):
                strength = 0.0
            elif self._strikes(graph, "ignores_strength"):
                strength = 1.0
            elif self._strikes(graph, "leaves_a_trace"):
                strength = max(strength, 0.2)
            applied.append((f"{words}{digest}", strength))
        if self._strikes(graph, "only_one_lora"):
            applied = applied[:1]
        pixels = noise_picture(words, applied, settings["width"], settings["height"])
        if self._strikes(graph, "black"):
            pixels = np.zeros_like(pixels)
        elif self._strikes(graph, "wrong_size"):
            pixels = pixels[: pixels.shape[0] // 2]
        text = PngInfo()
        text.add_text("prompt", json.dumps(graph))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG", pnginfo=text)
        return stream.getvalue()

    def _fitting(self, path: Path) -> bool:
        with safe_open(path, framework="numpy") as tensors:
            foreign = [name for name in tensors.keys() if "foreign" in name]  # noqa: SIM118
        for number, name in enumerate(foreign):
            self.told_log.append(f"2026-01-01T00:00:{number:02d} - lora key not loaded: {name}")
        return not foreign

    def _spoilt(self, graph: Any, data: bytes) -> bytes:
        if self._strikes(graph, "truncated"):
            return data[: len(data) // 2]
        return b"" if self._strikes(graph, "empty") else data

    def _view(self, query: dict[str, str]) -> Reply:
        path = self.output / query.get("subfolder", "") / query["filename"]
        if not path.is_file():
            return Reply(404, b"", "text/plain")
        return Reply(200, path.read_bytes(), "image/png")


def _node(output: list[str], **required: Any) -> dict[str, Any]:
    return {"input": {"required": required}, "output": output}


def _violations(info: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, spec in info.get("input", {}).get("required", {}).items():
        value = node["inputs"].get(name)
        extra = {"extra_info": {"input_name": name}, "details": f"{name}: {spec}"}
        if value is None:
            yield {"type": "required_input_missing", "message": "Required input missing", **extra}
        elif isinstance(spec[0], list) and value not in spec[0]:
            yield {"type": "value_not_in_list", "message": "Value not in list", **extra}
        elif (
            spec[0] in ("INT", "FLOAT")
            and not isinstance(value, list)
            and (value > spec[1].get("max", value))
        ):
            yield {"type": "value_bigger_than_max", "message": "Too big", **extra}


def _drawn(graph: dict[str, Any], output: str) -> tuple[dict[str, Any], list[tuple[str, float]]]:
    """Return what makes the picture: the values behind an output, and its LoRAs in order."""
    settings: dict[str, Any] = {}
    loras: list[tuple[str, float]] = []
    waiting, seen = [output], set[str]()
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        node = graph[node_id]
        if "Lora" in node["class_type"]:
            loras.append((node["inputs"]["lora_name"], node["inputs"]["strength_model"]))
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                waiting.append(value[0])
            elif "Lora" not in node["class_type"] and name != "filename_prefix":
                key = name if name in {"width", "height"} else f"{node_id}.{name}"
                settings[key] = value
    # 8 pixels to a latent, as the real one rounds.
    settings["width"] -= settings["width"] % 8
    settings["height"] -= settings["height"] % 8
    return settings, loras
