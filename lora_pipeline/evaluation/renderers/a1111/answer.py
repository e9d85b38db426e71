"""What AUTOMATIC1111 and Forge are asked for, and what their answers say: pure.

The infotext that comes with a picture is the program's own account of it. It is no proof that a
LoRA had an effect, but where it names another seed, model or LoRA than asked for, the picture is
another one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.evaluation.renderers.interface import CellRequest, Strengths
from lora_pipeline.evaluation.renderers.lora_file import CheckedLora
from lora_pipeline.foundation.errors import RendererError

# Our names of samplers as these programs have them: sampler and schedule.
SAMPLERS: Mapping[str, tuple[str, str]] = {
    "ddim": ("DDIM", "Automatic"),
    "euler": ("Euler", "Automatic"),
    "euler_a": ("Euler a", "Automatic"),
    "dpmpp_2m": ("DPM++ 2M", "Normal"),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "unipc": ("UniPC", "Automatic"),
}
# What a prompt may not hold: it would load other weights.
_NETWORKS = re.compile(r"<\s*(?:lora|lyco|hypernet)\s*:", re.IGNORECASE)
_PAIR = re.compile(r'\s*([\w][\w \-/]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_SHORTEST_HASH = 8
_MODEL_HASH = 10


class Asking(msgspec.Struct, frozen=True):
    """What is the same for every cell.

    Attributes:
        model: Title of the base model.
        base_digests: SHA-256 of the files that are the recorded base.
        loras: The LoRAs, in order.
        distilled: Whether guidance goes into the model (FLUX in Forge).
        samplers: Samplers that the server lists.
    """

    model: str
    base_digests: tuple[str, ...]
    loras: tuple[CheckedLora, ...]
    distilled: bool
    samplers: frozenset[str]

    def request(self, cell: CellRequest, strengths: Strengths) -> dict[str, Any]:
        """Return the body that asks for a cell, each LoRA at its strength.

        Raises:
            RendererError: When it cannot be asked for.
        """
        if _NETWORKS.search(f"{cell.prompt} {cell.negative}"):
            raise RendererError("the prompt names a LoRA itself, and would load other weights")
        if cell.width % 8 or cell.height % 8:
            raise RendererError(
                f"{cell.width} x {cell.height} does not go with this program: multiples of 8 do"
            )
        tags = "".join(
            f" <lora:{lora.stem}:{strength:g}>"
            for lora, strength in zip(self.loras, strengths, strict=False)
        )
        guidance = {"cfg_scale": cell.guidance}
        if self.distilled:
            guidance = {"cfg_scale": 1.0, "distilled_cfg_scale": cell.guidance}
        return {
            "prompt": f"{cell.prompt}{tags}",
            "negative_prompt": cell.negative,
            "seed": cell.seed,
            "subseed": -1,
            "subseed_strength": 0,
            "steps": cell.steps,
            "width": cell.width,
            "height": cell.height,
            **guidance,
            **self._sampler(cell.sampler),
            "batch_size": 1,
            "n_iter": 1,
            "send_images": True,
            "save_images": False,
            "do_not_save_samples": True,
            "do_not_save_grid": True,
            "override_settings": {
                "sd_model_checkpoint": self.model,
                "CLIP_stop_at_last_layers": 1,
                "randn_source": "CPU",
                "eta_noise_seed_delta": 0,
                "samples_format": "png",
                "add_model_hash_to_info": True,
                "lora_add_hashes_to_infotext": True,
            },
            "override_settings_restore_afterwards": True,
        }

    def _sampler(self, sampler: str) -> dict[str, str]:
        if sampler == "default":
            return {}
        name, schedule = SAMPLERS.get(sampler, ("", ""))
        if name not in self.samplers:
            raise RendererError(f"sampler {sampler!r} does not go with this server")
        return {"sampler_name": name, "scheduler": schedule}

    def require_told(
        self, told: Mapping[str, str], cell: CellRequest, strengths: Strengths
    ) -> None:
        """Check that the program says to have drawn what it was asked for.

        Raises:
            RendererError: Names what differs.
        """
        expected = {
            "Seed": str(cell.seed),
            "Steps": str(cell.steps),
            "Size": f"{cell.width}x{cell.height}",
        }
        for name, value in expected.items():
            if told.get(name, value) != value:
                raise RendererError(f"the server drew {name.lower()} {told[name]}, asked: {value}")
        model = told.get("Model hash", "")
        if not any(one.startswith(model) and model for one in self.base_digests):
            wanted = ", ".join(one[:_MODEL_HASH] for one in self.base_digests) or "no single file"
            raise RendererError(
                f"the server drew with model {model or 'that it does not name'}, "
                f"the checkpoint is {wanted}",
                hint="set renderers.a1111.checkpoint to the title of that model",
            )
        named = hashes_in(told.get("Lora hashes", ""))
        if not strengths:
            if any(lora.stem in named for lora in self.loras):
                raise RendererError("the server used the LoRA where the base was asked for")
            return
        for lora in self.loras:
            _require_named(lora, named.get(lora.stem, ""))


def _require_named(lora: CheckedLora, found: str) -> None:
    possible = (lora.report.tensor_sha256, lora.report.metadata.get("sshs_model_hash", ""))
    if len(found) < _SHORTEST_HASH or not any(one.startswith(found) for one in possible):
        words = f"with digest {found}" if found else "not at all"
        raise RendererError(
            f"the server names the LoRA {words} among what it used",
            hint="see its console for why it did not load it",
        )


def answer_of(document: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return the picture of an answer, and what the program says of it.

    Raises:
        RendererError: When there is not exactly one picture, or no account of it.
    """
    images = document.get("images")
    if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], str):
        count = len(images) if isinstance(images, list) else "no"
        raise RendererError(f"the server sent {count} pictures, one was asked for")
    text = images[0].partition(",")[2] if images[0].startswith("data:") else images[0]
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RendererError("the server's picture is not what it should be: no base64") from error
    return data, infotext(_info(document))


def infotext(text: str) -> dict[str, str]:
    """Return the names and values at the end of an infotext."""
    start = text.rfind("\nSteps: ")
    line = text[start + 1 :] if start >= 0 else text
    return {match[1].strip(): match[2].strip().strip('"').strip() for match in _PAIR.finditer(line)}


def hashes_in(text: str) -> dict[str, str]:
    """Return the LoRAs that an infotext names, with the digest that it gives for each."""
    pairs = [part.partition(":") for part in text.split(",")]
    return {name.strip(): value.strip().lower() for name, _, value in pairs if name.strip()}


def _info(document: Mapping[str, Any]) -> str:
    try:
        info = json.loads(document.get("info") or "")
        texts: Sequence[Any] = info["infotexts"]
        return str(texts[0])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise RendererError("the server says nothing of the picture it sent") from error
