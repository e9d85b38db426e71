"""Records of training and of what services are paid.

The recipe that any trainer understands, the run that used it, and what pictures cost.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from lora_pipeline.foundation.record import Part, Record

RunState = Literal["created", "queued", "training", "ready", "failed", "cancelled"]


class Recipe(Part, frozen=True, kw_only=True, omit_defaults=False):
    """Trainer-neutral training settings.

    Sizes are in pixels; ``steps`` counts optimiser steps and wins over ``epochs``; ``alpha``
    None means the same as ``rank`` (scale 1). Every setting is written, also where it is the
    default: a record must not change its meaning when a later version changes a default.
    """

    resolution: int = 1024
    steps: int | None = None
    epochs: int | None = None
    rank: int = 16
    alpha: float | None = None
    learning_rate: float = 1e-4
    text_encoder_learning_rate: float | None = None
    batch_size: int = 1
    gradient_accumulation: int = 1
    optimizer: Literal["adamw", "adamw8bit", "adafactor", "prodigy", "lion"] = "adamw"
    weight_decay: float = 0.01
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    train_text_encoder: bool = False
    target_convolutions: bool = False
    caption_dropout: float = 0.0
    min_snr_gamma: float | None = None
    noise_offset: float = 0.0
    ema_decay: float | None = None
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    gradient_checkpointing: bool = False
    cache_latents: bool = True
    quantize: Literal[4, 8] | None = None
    low_memory: bool = False
    flip: bool = False
    seed: int = 42
    save_every: int | None = None
    sample_every: int | None = None
    sample_prompts: tuple[str, ...] = ()


class Attempt(Part, frozen=True, kw_only=True):
    """One try of a run."""

    number: int
    started_at: str
    ended_at: str = ""
    exit_status: int | None = None
    error: str = ""


class OutputFile(Part, frozen=True, kw_only=True):
    """A file that a run brought and that was verified."""

    name: str
    sha256: str
    bytes: int
    tensor_sha256: str = ""
    step: int | None = None


class RunError(Part, frozen=True, kw_only=True):
    """Why a run failed."""

    code: str
    message: str
    hint: str = ""


class Cost(Part, frozen=True, kw_only=True):
    """Money in a currency; an estimate of 0 for runs on our own machines.

    ``actual`` None is not known (yet). Both are said to be what they are: ``estimate_basis``
    and ``actual_basis`` tell how the numbers were made, and of when the prices are.
    """

    estimate: float = 0.0
    actual: float | None = None
    currency: str = "USD"
    minutes: float | None = None
    estimate_basis: str = ""
    actual_basis: str = ""


class Expense(Record, frozen=True, kw_only=True):
    """What pictures at a service cost; kept also when the grid failed, or is gone.

    ``ended_at`` is empty while they are being drawn, and after a kill until somebody counted.
    """

    KIND: ClassVar[str] = "expense"

    id: str
    purpose: Literal["grid", "sweep", "scene"]
    lora_id: str
    release_id: str
    service: str
    created_at: str
    cost: Cost
    ended_at: str = ""
    pictures: int = 0
    evaluation_id: str = ""
    run_id: str = ""
    requested_by: str = ""


class Run(Record, frozen=True, kw_only=True):
    """One execution of a plan, with its outcome; kept also when it failed."""

    KIND: ClassVar[str] = "run"

    id: str
    lora_id: str
    release_id: str
    state: RunState
    trainer: str
    created_at: str
    updated_at: str
    plan_digest: str
    dataset_id: str
    manifest_hash: str
    checkpoint_id: str
    checkpoint_digest: str
    recipe: Recipe
    trainer_version: str = ""
    requested_by: str = ""
    started_at: str = ""
    ended_at: str = ""
    duration_seconds: float = 0.0
    steps_done: int = 0
    steps_planned: int = 0
    final_loss: float | None = None
    attempts: tuple[Attempt, ...] = ()
    outputs: tuple[OutputFile, ...] = ()
    cost: Cost = Cost()
    external_job_id: str = ""
    error: RunError | None = None
    warnings: tuple[str, ...] = ()


class Preset(Part, frozen=True, kw_only=True):
    """A named recipe: what it is for, why its numbers are what they are, and the numbers."""

    id: str
    summary: str
    reasons: dict[str, str] = {}
    architectures: tuple[str, ...] = ()
    asset_types: tuple[str, ...] = ()
    recipe: dict[str, Any] = {}
