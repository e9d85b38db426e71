"""An AUTOMATIC1111 or Forge server that is real but small: its HTTP interface, on loopback.

It answers as version 1.10 does: a LoRA that is not there is left out without an error, an alias is
taken from the metadata, the account of a picture is an infotext.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lora_pipeline.training.weights.inspection import inspect_weights
from tests.support.evaluation_builders import png_of
from tests.support.fake_renderer import noise_picture
from tests.support.faulty_server import FaultyServer, Reply

_LORA = re.compile(r"<lora:([^:>]+):([^:>]+)>")


@dataclass
class FakeA1111(FaultyServer):
    """The server's state, and what tests tell it.

    Attributes:
        loras: Its folder models/Lora.
        base_sha256: Digest of its one model.
        forge: Whether it is Forge.
        login: ``user:password`` that it wants, or empty.
        api: Whether it was started with ``--api``.
        fault: How pictures go wrong.
        listed: Names of LoRAs that it has found; a refresh finds those that are there.
    """

    loras: Path = Path()
    base_sha256: str = ""
    forge: bool = False
    login: str = ""
    api: bool = True
    fault: str = ""
    listed: tuple[str, ...] = ()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        """Return what is answered."""
        del query
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and self.headers[-1].get("authorization") != wanted:
            return Reply(401, {"detail": "Incorrect username or password"})
        if not self.api:
            return Reply(404, {"detail": "Not Found"})
        if method == "POST":
            return self._drawn(body) if path.endswith("txt2img") else self._refresh()
        options = {"sd_model_checkpoint": "base64", "sd_vae": "Automatic"}
        if self.forge:
            options["forge_additional_modules"] = "[]"
        title = f"base64.safetensors [{self.base_sha256[:10]}]"
        answers: dict[str, Any] = {
            "options": options,
            "samplers": [{"name": name} for name in ("Euler", "Euler a", "DPM++ 2M")],
            "sd-models": [{
                "title": title, "model_name": "base64", "hash": self.base_sha256[:10],
                "sha256": self.base_sha256, "filename": "C:\\sd\\base64.safetensors",
            }],
            "loras": [{"name": name, "alias": name, "path": "", "metadata": {}}
                      for name in self.listed],
            "memory": {"ram": {}, "cuda": {"error": "unavailable"}},
        }  # fmt: skip
        found = answers.get(path.rpartition("/")[2])
        return Reply(404, {"detail": "Not Found"}) if found is None else Reply(body=found)

    def _refresh(self) -> Reply:
        self.listed = tuple(sorted(one.stem for one in self.loras.glob("*.safetensors")))
        return Reply(body=None)

    def _drawn(self, body: Any) -> Reply:
        if self._strikes(body, "out_of_memory"):
            return Reply(500, {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA"})
        prompt = _LORA.sub("", body["prompt"]).strip()
        used = [
            (name, float(value))
            for name, value in _LORA.findall(body["prompt"])
            if name in self.listed and not self._strikes(body, "lora_not_found")
        ]
        kept = {key: one for key, one in body.items() if key not in {"width", "height", "prompt"}}
        words = f"{prompt}|{json.dumps(kept, sort_keys=True)}"
        digests = {
            name: inspect_weights(self.loras / f"{name}.safetensors").tensor_sha256
            for name, _ in used
        }
        applied = [(f"{words}{digests[name]}", strength) for name, strength in used]
        if self._strikes(body, "no_effect"):
            applied = []
        elif self._strikes(body, "only_one_lora"):
            applied = applied[:1]
        width, height = body["width"], body["height"]
        if self._strikes(body, "wrong_size"):
            width //= 2
        pixels = noise_picture(words, applied, width, height)
        if self._strikes(body, "black"):
            pixels = np.zeros_like(pixels)
        text = base64.b64encode(png_of(pixels)).decode()
        images = [text, text] if self._strikes(body, "two_pictures") else [text]
        if self._strikes(body, "no_base64"):
            images = ["<html>"]
        info = {"seed": body["seed"], "infotexts": [self._infotext(body, prompt, digests)]}
        return Reply(body={"images": images, "parameters": body, "info": json.dumps(info)})

    def _infotext(self, body: Any, prompt: str, digests: dict[str, str]) -> str:
        seed = body["seed"] + self._strikes(body, "other_seed")
        model = "ffffffffff" if self._strikes(body, "other_model") else self.base_sha256[:10]
        hashes = ", ".join(f"{name}: {value[:12]}" for name, value in digests.items())
        if self._strikes(body, "other_lora"):
            hashes = ", ".join(f"{name}: 0123456789ab" for name in digests)
        parts = [
            f"Steps: {body['steps']}", f"Sampler: {body.get('sampler_name', 'Euler')}",
            "Schedule type: Automatic", f"CFG scale: {body['cfg_scale']}", f"Seed: {seed}",
            f"Size: {body['width']}x{body['height']}", f"Model hash: {model}", "Model: base64",
            *([f'Lora hashes: "{hashes}"'] if hashes else []), "Version: v1.10.1",
        ]  # fmt: skip
        return f"{prompt}\nNegative prompt: Steps: 3, none\n{', '.join(parts)}"

    def _strikes(self, body: Any, fault: str) -> bool:
        return self.fault == fault and "<lora:" in body["prompt"]
