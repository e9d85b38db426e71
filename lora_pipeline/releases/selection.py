"""Which LoRAs go together for an asset: their order, and how many. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.releases.records import Lora
from lora_pipeline.releases.resolution import ReleasePolicy

Mode = Literal[
    "manual", "baseline_then_project", "project_then_baseline", "baseline_only", "project_only"
]


class SelectionPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a project chooses LoRAs (``policies.loraSelection`` of its record)."""

    mode: Mode = "baseline_then_project"
    prefer_recommended: bool = True
    max_active_loras: int = 2
    release_policy: ReleasePolicy = "active_only"


class Candidates(msgspec.Struct, frozen=True):
    """LoRAs in the order in which they are tried, and those that do not fit.

    Attributes:
        ordered: To be tried.
        skipped: Id of a LoRA and why it is not.
    """

    ordered: tuple[Lora, ...]
    skipped: tuple[tuple[str, str], ...]


def selection_policy(policies: dict[str, Any]) -> SelectionPolicy:
    """Return a project's policy; what it does not say has its default.

    Raises:
        RecordInvalidError: When a value is none of those that are known.
    """
    try:
        return msgspec.convert(policies.get("loraSelection", {}), SelectionPolicy)
    except msgspec.ValidationError as error:
        raise RecordInvalidError(f"project.json: policies.loraSelection: {error}") from error


def layer_caps(policies: dict[str, Any]) -> dict[str, int]:
    """Return how many LoRAs of each scope may be used (``policies.modelStackPolicy``).

    Raises:
        RecordInvalidError: When a cap is no number.
    """
    stack = policies.get("modelStackPolicy", {})
    caps = stack.get("layerCaps", {}) if isinstance(stack, dict) else {}
    try:
        return msgspec.convert(caps, dict[str, int])
    except msgspec.ValidationError as error:
        raise RecordInvalidError(f"project.json: policies.modelStackPolicy: {error}") from error


def order_candidates(
    loras: Sequence[Lora],
    policy: SelectionPolicy,
    *,
    asset_type: str,
    checkpoint_id: str,
    explicit: Sequence[str] = (),
) -> Candidates:
    """Return which LoRAs are tried for an asset, the ones that were named first.

    A LoRA fits when it is for the asset type and the checkpoint and is switched on. Named ones
    come first; then the scopes in the order of the policy, the recommended before others, the
    newest first.
    """
    fitting: list[Lora] = []
    skipped: list[tuple[str, str]] = []
    for lora in loras:
        reason = _unfit(lora, asset_type, checkpoint_id) or _unwanted(lora, policy, explicit)
        if reason:
            skipped.append((lora.id, reason))
        else:
            fitting.append(lora)
    fitting.sort(key=lambda lora: (lora.updated_at, lora.id), reverse=True)
    named = {lora_id: number for number, lora_id in enumerate(explicit)}
    scopes = ("project", "baseline") if policy.mode == "project_then_baseline" else (
        "baseline", "project"
    )  # fmt: skip
    fitting.sort(
        key=lambda lora: (
            named.get(lora.id, len(named)),
            scopes.index(lora.scope),
            policy.prefer_recommended and not lora.recommended,
        )
    )
    return Candidates(tuple(fitting), tuple(skipped))


def _unfit(lora: Lora, asset_type: str, checkpoint_id: str) -> str:
    if asset_type and asset_type not in lora.asset_types:
        return f"is for {', '.join(lora.asset_types)}"
    if checkpoint_id and lora.checkpoint_id != checkpoint_id:
        return f"is for checkpoint {lora.checkpoint_id}"
    return "" if lora.enabled else "is switched off"


def _unwanted(lora: Lora, policy: SelectionPolicy, explicit: Sequence[str]) -> str:
    if lora.id in explicit:
        return ""
    if policy.mode == "manual":
        return "was not named, and the project chooses by hand"
    only = {"baseline_only": "baseline", "project_only": "project"}.get(policy.mode)
    return f"is not {only}" if only and lora.scope != only else ""
