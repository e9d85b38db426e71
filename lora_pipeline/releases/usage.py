"""How the programs that draw are told to use weights: ready to paste. Pure.

ComfyUI: the nodes of its API format, one ``LoraLoader`` after the other. A1111 and Forge: tags of
the prompt, by the name of a file in ``models/Lora``. diffusers: lines of Python
(``load_lora_weights`` and ``set_adapters``). mflux: options of its command line. All but diffusers
are told the name that ``lora release export`` gives the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Program = Literal["a1111", "comfyui", "diffusers", "mflux"]
BY_NAME: frozenset[Program] = frozenset({"a1111", "comfyui", "mflux"})


class Use(msgspec.Struct, frozen=True):
    """One LoRA as it is used.

    Attributes:
        lora_id: Its id.
        release_id: The release.
        path: The file of its weights.
        trigger_word: First word of a prompt, or empty.
        strength: How strongly.
    """

    lora_id: str
    release_id: str
    path: str
    trigger_word: str
    strength: float

    @classmethod
    def of(cls, resolved: Mapping[str, Any]) -> Use:
        """Return the use of what ``lora resolve`` found."""
        return cls(
            resolved["loraId"],
            resolved["releaseId"],
            resolved["path"],
            resolved["triggerWord"],
            float(resolved["strength"]),
        )

    @property
    def name(self) -> str:
        """The name that ``lora release export`` gives the file, without its ending."""
        return f"{self.lora_id}-{self.release_id}"


def usage_of(program: Program, uses: Sequence[Use]) -> str:
    """Return what to paste, for LoRAs in the order in which they are applied."""
    return _FORMS[program](uses)


def _a1111(uses: Sequence[Use]) -> str:
    words = [f"<lora:{use.name}:{use.strength:g}>" for use in uses]
    return ", ".join([*words, *_triggers(uses)])


def _comfyui(uses: Sequence[Use]) -> str:
    nodes: dict[str, Any] = {}
    # "model" and "clip" stand for the nodes that the first loader is joined to.
    model, clip = ["model", 0], ["clip", 1]
    for number, use in enumerate(uses, start=1):
        node = f"lora-{number}"
        nodes[node] = {
            "class_type": "LoraLoader",
            "inputs": {
                "lora_name": f"{use.name}.safetensors",
                "strength_model": use.strength,
                "strength_clip": use.strength,
                "model": model,
                "clip": clip,
            },
            "_meta": {"title": f"{use.lora_id} {use.release_id}"},
        }
        model, clip = [node, 0], [node, 1]
    return json.dumps(nodes, indent=2, ensure_ascii=False)


def _diffusers(uses: Sequence[Use]) -> str:
    # The store names files by their digest alone; by its ending diffusers would choose pickle.
    lines = ["from safetensors.torch import load_file", ""]
    lines += [
        f"pipe.load_lora_weights(load_file({use.path!r}), adapter_name={use.lora_id!r})"
        for use in uses
    ]
    names, strengths = [use.lora_id for use in uses], [use.strength for use in uses]
    lines.append(f"pipe.set_adapters({names!r}, adapter_weights={strengths!r})")
    return "\n".join([*lines, *(f"# prompt: {word}, …" for word in _triggers(uses))])


def _mflux(uses: Sequence[Use]) -> str:
    paths = " ".join(f"{use.name}.safetensors" for use in uses)
    scales = " ".join(f"{use.strength:g}" for use in uses)
    return f"--lora-paths {paths} --lora-scales {scales}"


def _triggers(uses: Sequence[Use]) -> list[str]:
    return list(dict.fromkeys(use.trigger_word for use in uses if use.trigger_word))


_FORMS = {"a1111": _a1111, "comfyui": _comfyui, "diffusers": _diffusers, "mflux": _mflux}
