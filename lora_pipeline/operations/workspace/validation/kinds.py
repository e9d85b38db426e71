"""The type of every kind of record."""

from __future__ import annotations

from lora_pipeline.catalog.profile_records import CheckpointProfile
from lora_pipeline.catalog.records import (
    Asset,
    AssetTypes,
    Checkpoint,
    Palettes,
    Project,
    Scenarios,
    Spec,
    Styles,
    Tags,
)
from lora_pipeline.datasets.checks.records import Acknowledgement
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.record import Record
from lora_pipeline.releases.records import Lora, Waiver, WithdrawalAnswer
from lora_pipeline.training.records import Expense, Run

KINDS: dict[str, type[Record]] = {
    kind.KIND: kind
    for kind in (
        Project, AssetTypes, Styles, Scenarios, Palettes, Tags, Checkpoint, CheckpointProfile,
        Spec, Asset, Manifest, Acknowledgement, Lora, Run, Evaluation, Review,
        WithdrawalAnswer, BlindPlan, BlindReview, Waiver, Expense,
    )
}  # fmt: skip
