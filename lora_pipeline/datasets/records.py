"""The dataset manifest: the hashed list of images and captions, and how it was made."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from lora_pipeline.catalog.records import Provenance, VersionStatus
from lora_pipeline.foundation.record import Part, Record

Split = Literal["train", "held_out"]
CaptionStrategy = Literal["tags", "tags+spec", "tags+spec+title"]
Alpha = Literal["background", "mask"]


class Selection(Part, frozen=True, kw_only=True, omit_defaults=False):
    """The rule that chose the images; building again repeats it.

    A shared manifest takes its images from ``projects``, or from every project when the list
    is empty. Fields from ``asset_ids`` to ``seed`` are written only where they are used, so that
    manifests that know nothing of them stay as they are. The last three fields are read from
    manifests that name no caption rule of their own; they are not written any more.
    """

    source: Literal["assets"] = "assets"
    status: VersionStatus = "approved"
    variant_policy: str = "primary|selected|highest-rated|first"
    asset_types: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tag_mode: Literal["all", "any"] = "all"
    not_tags: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    include_spec_tags: bool = True
    min_rating: int = 0
    asset_ids: tuple[str, ...] | UnsetType = UNSET
    created_since: str | UnsetType = UNSET
    licenses: tuple[str, ...] | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    limit_each: int | UnsetType = UNSET
    balance: str | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    projects: tuple[str, ...] | UnsetType = UNSET
    caption_strategy: CaptionStrategy | UnsetType = UNSET
    include_prompt_tokens: bool | UnsetType = UNSET
    note: str | UnsetType = UNSET


class CaptionRule(Part, frozen=True, kw_only=True, omit_defaults=False):
    """How captions are made from tags, spec and catalog tokens.

    ``template`` is the form of a caption; without one, words stand between commas.
    """

    strategy: CaptionStrategy = "tags"
    include_prompt_tokens: bool = False
    checkpoint_id: str = ""
    trigger_word: str = ""
    prefix: str = ""
    suffix: str = ""
    template: str | UnsetType = UNSET


class Normalization(Part, frozen=True, kw_only=True, omit_defaults=False):
    """How every image is brought to one form before any trainer sees it.

    ``alpha`` says what becomes of transparency: ``background`` lays it on ``background``, and
    ``mask`` keeps it beside the image too, so that trainers weigh the loss by it.
    """

    version: int = 1
    alpha: Alpha = "background"
    background: str = "#FFFFFF"
    color_space: Literal["srgb"] = "srgb"
    format: Literal["png"] = "png"


class SplitRule(Part, frozen=True, kw_only=True, omit_defaults=False):
    """Which share of the images is held out of training, chosen by content digest.

    ``near_duplicates`` names the measure by which near-duplicates are told, which then stand on
    one side; without it each image is chosen for itself, as in manifests that know nothing of it.
    """

    held_out: float = 0.0
    salt: str = "lora-pipeline/split/v1"
    near_duplicates: Literal["look/v1"] | UnsetType = UNSET


class LicenseCount(Part, frozen=True, kw_only=True):
    """How many images stand under a licence; an empty one means none was recorded."""

    license: str
    images: int


class ProvenanceSummary(Part, frozen=True, kw_only=True):
    """Who made the images and under which licences they stand."""

    authors: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    licenses: tuple[LicenseCount, ...] = ()


class Item(Part, frozen=True, kw_only=True, omit_defaults=False):
    """One image with its caption, as training sees it.

    ``tags`` are those that the selection looked at: of the variant, then of the spec.
    """

    asset_id: str
    asset_version_id: str
    variant_id: str
    path: str
    caption: str = ""
    tags: tuple[str, ...] = ()
    sha256: str = ""
    xxh3: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    license: str = ""
    split: Split = "train"
    repeats: int = 1


class UnconfirmedMerge(Part, frozen=True, kw_only=True):
    """What a merge of two branches leaves to be confirmed by the next build.

    ``ours`` and ``theirs`` are the content hashes that came together; ``undecided`` the assets
    whose item both sides had changed, each in its own way.
    """

    ours: str
    theirs: str
    undecided: tuple[str, ...] = ()


class Manifest(Record, frozen=True, kw_only=True):
    """The dataset manifest. ``content_hash`` covers what training sees and nothing else."""

    KIND: ClassVar[str] = "dataset"
    ONE_LINE_EACH: ClassVar[tuple[str, ...]] = ("items",)
    EXACT_LINES: ClassVar[bool] = True

    id: str
    scope: Literal["baseline", "project"]
    created_at: str
    updated_at: str
    items: tuple[Item, ...]
    project_id: str = ""
    provenance: Provenance = Provenance()
    provenance_summary: ProvenanceSummary = ProvenanceSummary()
    selection: Selection = Selection()
    caption_rule: CaptionRule = CaptionRule()
    normalization: Normalization = Normalization()
    split_rule: SplitRule = SplitRule()
    content_hash: str = ""
    unconfirmed_merge: UnconfirmedMerge | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form; the rules are written in full, defaults included."""
        return {
            **replace(self, items=()).in_short(),
            # Items hold text and numbers, written in full: the library needs no help with them.
            "items": list(msgspec.to_builtins(self.items)),
            "selection": self.selection.to_dict(),
            "captionRule": self.caption_rule.to_dict(),
            "normalization": self.normalization.to_dict(),
            "splitRule": self.split_rule.to_dict(),
        }

    def in_short(self) -> dict[str, Any]:
        """Return the JSON-ready form without what equals its default."""
        return super().to_dict()
