"""What the header of a weights file claims: who made it, for which model, with which rank.

Pure. Anybody can write anything there, so a claim is shown and compared and never believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lora_pipeline.foundation.redaction import redacted

_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
# Names of base models as trainers write them, the more particular ones first.
_ARCHITECTURES = (
    (re.compile(r"^(?:sdxl|stable-diffusion-xl)", re.IGNORECASE), "sdxl"),
    (re.compile(r"^(?:sd_?v?2|stable-diffusion-v2)", re.IGNORECASE), "sd21"),
    (re.compile(r"^(?:sd_?v?1|stable-diffusion-v1)", re.IGNORECASE), "sd15"),
    (re.compile(r"^(?:sd_?3|stable-diffusion-3)", re.IGNORECASE), "sd3"),
    (re.compile(r"^flux[._-]?2", re.IGNORECASE), "flux2"),
    (re.compile(r"^flux(?:[._-]?1|$)", re.IGNORECASE), "flux1"),
    (re.compile(r"^chroma", re.IGNORECASE), "chroma"),
    (re.compile(r"^z[_-]?image", re.IGNORECASE), "zimage"),
    (re.compile(r"^qwen[_-]?image", re.IGNORECASE), "qwen_image"),
    (re.compile(r"^lumina-?2", re.IGNORECASE), "lumina2"),
    (re.compile(r"^hunyuan-?image", re.IGNORECASE), "hunyuan_image"),
    (re.compile(r"^wan", re.IGNORECASE), "wan"),
)


class Declared(msgspec.Struct, frozen=True):
    """Claims of a header; empty or None where it says nothing.

    Attributes:
        made_by: The program that wrote it.
        base: Its base model, in the header's own words.
        architecture: The same as one of our architectures.
        rank: Rank of most modules.
        alpha: Alpha of most modules.
        steps: Steps that it was trained for.
        trigger: Its trigger word.
        title: Its title.
        tensor_sha256: Digest of its tensors.
    """

    made_by: str = ""
    base: str = ""
    architecture: str = ""
    rank: int | None = None
    alpha: float | None = None
    steps: int | None = None
    trigger: str = ""
    title: str = ""
    tensor_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what is claimed, JSON-ready."""
        named = {
            "madeBy": self.made_by, "base": self.base, "architecture": self.architecture,
            "rank": self.rank, "alpha": self.alpha, "steps": self.steps,
            "triggerWord": self.trigger, "title": self.title, "tensorSha256": self.tensor_sha256,
        }  # fmt: skip
        return {name: value for name, value in named.items() if value not in ("", None)}


def declared_by(metadata: Mapping[str, str]) -> Declared:
    """Return what a header claims."""
    base = metadata.get("ss_base_model_version") or metadata.get("modelspec.architecture", "")
    adapter = adapter_settings(metadata)
    return Declared(
        made_by=_made_by(metadata),
        base=_short(base),
        architecture=_architecture(base),
        rank=_whole(metadata.get("ss_network_dim")) or _one(adapter, "r", int),
        alpha=_number(metadata.get("ss_network_alpha")) or _one(adapter, "lora_alpha", float),
        steps=_steps(metadata),
        trigger=_short(metadata.get("modelspec.trigger_phrase", "")),
        title=_short(metadata.get("modelspec.title") or metadata.get("ss_output_name", "")),
        tensor_sha256=_digest(metadata),
    )


def adapter_settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what diffusers wrote of rank and alpha, as ``part.name`` to value."""
    document = _json(metadata.get("lora_adapter_metadata", ""))
    return document if isinstance(document, dict) else {}


def _made_by(metadata: Mapping[str, str]) -> str:
    software = _json(metadata.get("software", ""))
    if isinstance(software, dict) and isinstance(software.get("name"), str):
        return _short(f"{software['name']} {software.get('version') or ''}".strip())
    if "mflux_version" in metadata:
        return _short(f"mflux {metadata['mflux_version']}")
    module = metadata.get("ss_network_module", "")
    if module.startswith("lycoris"):
        return "sd-scripts with LyCORIS"
    if "ss_sd_scripts_commit_hash" in metadata or module.startswith("networks."):
        return "sd-scripts"
    implementation = metadata.get("modelspec.implementation", "")
    if "lora_adapter_metadata" in metadata and not implementation:
        return "diffusers"
    return _short(implementation.removeprefix("https://github.com/"))


def _architecture(base: str) -> str:
    return next((name for pattern, name in _ARCHITECTURES if pattern.match(base.strip())), "")


def _steps(metadata: Mapping[str, str]) -> int | None:
    told = _json(metadata.get("training_info", ""))
    step = told.get("step") if isinstance(told, dict) else None
    return _whole(metadata.get("ss_steps")) or (step if isinstance(step, int) else None)


def _digest(metadata: Mapping[str, str]) -> str:
    for key in ("modelspec.hash_sha256", "sshs_model_hash"):
        found = _HEX.fullmatch(metadata.get(key, "").strip())
        if found:
            return found[1].lower()
    return ""


def _one(adapter: Mapping[str, Any], name: str, kind: type[int] | type[float]) -> Any:
    """Return a setting that all parts agree on, or None."""
    values = {
        kind(value)
        for key, value in adapter.items()
        if key.rpartition(".")[2] == name and isinstance(value, int | float)
    }
    return values.pop() if len(values) == 1 else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _short(text: str) -> str:
    return redacted(" ".join(text[:400].split()))[:120]
