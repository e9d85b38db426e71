"""Checkpoint profiles: how prompts are spoken to a base model, in versions."""

from __future__ import annotations

from typing import ClassVar, Literal

from lora_pipeline.foundation.record import Part, Record


class ProfilePrompt(Part, frozen=True, kw_only=True):
    """Words that prompts of one asset type begin with."""

    positive: str = ""
    negative: str = ""


class RuntimeSafety(Part, frozen=True, kw_only=True):
    """Words that every prompt ends with, whatever it says before."""

    enabled: bool = True
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()


class CheckpointProfile(Record, frozen=True, kw_only=True):
    """The prompt dialect of a checkpoint. A change is a new version, in a file of its own.

    ``tag_order`` holds tags and tag groups; what it does not name follows in the order of the
    spec. ``checkpoint_default`` leaves that order as it is.
    """

    KIND: ClassVar[str] = "checkpoint-profile"

    profile_id: str
    version: int
    checkpoint_id: str
    created_at: str
    updated_at: str
    default_for_checkpoint: bool = False
    base_positive: str = ""
    base_negative: str = ""
    per_asset_type: dict[str, ProfilePrompt] = {}
    tag_order_policy: Literal["checkpoint_default", "explicit"] = "checkpoint_default"
    tag_order: tuple[str, ...] = ()
    runtime_safety: RuntimeSafety = RuntimeSafety()
    notes: str = ""
