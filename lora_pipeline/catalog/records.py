"""Records of the catalog: projects, controlled words, checkpoints, specs and assets."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from lora_pipeline.foundation.record import Part, Record

VersionStatus = Literal["draft", "review", "approved", "rejected", "deprecated"]
VariantStatus = Literal["candidate", "selected", "rejected"]
TrainingRight = Literal["allowed", "denied", "unknown"]
OnWithdrawal = Literal["stop", "retrain", "keep"]
# What may be answered to a withdrawal, the strictest first.
ANSWERS: tuple[OnWithdrawal, ...] = ("stop", "retrain", "keep")


class ProjectDefaults(Part, frozen=True, kw_only=True):
    """Words that a new spec of the project starts with."""

    style: str
    scenario: str
    palette_ids: tuple[str, ...] = ()
    tag_ids: tuple[str, ...] = ()


class ProjectRights(Part, frozen=True, kw_only=True):
    """What an image must bring to be trained on, and what happens when it is taken back.

    ``allowed_licenses`` empty means any licence; ``unknown_training`` says what happens to
    art whose training right is not known. ``on_withdrawal`` is the mildest answer that a person
    may give for a release whose images were withdrawn: it stops, it stays in use until it was
    trained anew (at most ``retrain_within_days`` after the withdrawal), or it is kept.
    """

    allowed_licenses: tuple[str, ...] = ()
    provenance_required: bool = False
    consent_required: bool = False
    unknown_training: Literal["allow", "exclude"] = "allow"
    on_withdrawal: OnWithdrawal = "stop"
    retrain_within_days: int = 30


class ProjectSpending(Part, frozen=True, kw_only=True):
    """What hosted training may cost in this project; the lower of this and the settings holds.

    In the currency of the setting ``spending.currency``. None means as the settings say.
    """

    max_per_run: float | None = None
    max_per_project: float | None = None


class Project(Record, frozen=True, kw_only=True):
    """One game or brand."""

    KIND: ClassVar[str] = "project"

    id: str
    name: str
    created_at: str
    updated_at: str
    defaults: ProjectDefaults
    policies: dict[str, Any] = {}
    rights: ProjectRights = ProjectRights()
    spending: ProjectSpending = ProjectSpending()
    gate: dict[str, str] = {}
    notes: str = ""


class CatalogWord(Part, frozen=True, kw_only=True):
    """A style or a scenario."""

    id: str
    label: str
    description: str = ""
    prompt_tokens: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Styles(Record, frozen=True, kw_only=True):
    """The styles of a scope or of one checkpoint."""

    KIND: ClassVar[str] = "styles"

    id: str
    created_at: str
    updated_at: str
    styles: tuple[CatalogWord, ...]


class Scenarios(Record, frozen=True, kw_only=True):
    """The scenarios of a scope or of one checkpoint."""

    KIND: ClassVar[str] = "scenarios"

    id: str
    created_at: str
    updated_at: str
    scenarios: tuple[CatalogWord, ...]


class Palette(Part, frozen=True, kw_only=True):
    """A set of colours, each ``#RRGGBB`` or ``#RRGGBBAA``."""

    id: str
    label: str
    colors: tuple[str, ...]
    description: str = ""
    prompt_tokens: tuple[str, ...] = ()


class Palettes(Record, frozen=True, kw_only=True):
    """The palettes of a scope."""

    KIND: ClassVar[str] = "palettes"

    id: str
    created_at: str
    updated_at: str
    palettes: tuple[Palette, ...]


class Tag(Part, frozen=True, kw_only=True):
    """One tag of a group; its full id is ``group:value``."""

    id: str
    label: str
    prompt_token: str = ""
    aliases: tuple[str, ...] = ()
    review_tools: tuple[dict[str, Any], ...] = ()


class TagGroup(Part, frozen=True, kw_only=True):
    """Tags of one kind; of an exclusive group a variant may carry one only."""

    id: str
    label: str
    exclusive: bool
    tags: tuple[Tag, ...]


class Tags(Record, frozen=True, kw_only=True):
    """The tag groups of a scope or of one checkpoint."""

    KIND: ClassVar[str] = "tags"

    id: str
    created_at: str
    updated_at: str
    groups: tuple[TagGroup, ...]


class ImageCounts(Part, frozen=True, kw_only=True):
    """How many training images an asset type needs: fewer than ``minimum`` is warned about."""

    minimum: int
    recommended_from: int
    recommended_to: int


class AssetType(Part, frozen=True, kw_only=True):
    """What kind of thing an asset is: a UI icon, a logo, a product picture."""

    id: str
    label: str
    description: str = ""
    multi_frame: bool = False
    requires_alpha: bool = False
    tileable: bool = False
    default_tags: tuple[str, ...] = ()
    default_generation_params: dict[str, Any] = {}
    workflow_template_id: str = ""
    image_counts: ImageCounts | None = None
    suite_id: str = ""


class AssetTypes(Record, frozen=True, kw_only=True):
    """The asset types of a scope."""

    KIND: ClassVar[str] = "asset-types"

    id: str
    created_at: str
    updated_at: str
    asset_types: tuple[AssetType, ...]


class Weights(Part, frozen=True, kw_only=True):
    """A reference to a weights file that means the same on every machine.

    ``store`` is an object of the store, found by ``sha256``; ``config_relative`` is a path
    below the folder that ``base`` names in the machine's settings.
    """

    kind: Literal["store", "repo_relative", "config_relative", "absolute", "external"]
    base: Literal["modelsRoot", "checkpointsRoot", "lorasRoot", ""] = ""
    path: str = ""
    uri: str = ""
    sha256: str = ""
    tensor_sha256: str = ""
    bytes: int = 0


class CheckpointLicense(Part, frozen=True, kw_only=True):
    """The base model's licence, and whether LoRAs made from it may be used commercially."""

    id: str
    commercial_loras: Literal["yes", "no", "unknown"] = "unknown"
    url: str = ""


class TrainingAdapter(Part, frozen=True, kw_only=True):
    """A LoRA that must be loaded to train a distilled checkpoint."""

    required: bool
    weights: Weights


class Checkpoint(Record, frozen=True, kw_only=True):
    """A base model that LoRAs are trained on and used with.

    ``digest`` names the model's bytes: ``sha256:`` of the single file, or of the RFC 8785
    form of the sorted (path, sha256) pairs of the folder's files.
    """

    KIND: ClassVar[str] = "checkpoint"

    id: str
    name: str
    created_at: str
    updated_at: str
    supported_asset_types: tuple[str, ...]
    architecture: str = ""
    digest: str = ""
    native_resolution: int = 0
    license: CheckpointLicense | None = None
    training_adapter: TrainingAdapter | None = None
    weights: Weights | None = None
    vae_weights: Weights | None = None
    companions: dict[str, Weights] = {}
    local_path: str = ""
    prompt_templates: dict[str, Any] = {}
    default_generation_params: dict[str, Any] = {}
    notes: str = ""


class Prompt(Part, frozen=True, kw_only=True):
    """What a spec asks for and what it excludes."""

    positive: str
    negative: str = ""
    notes: str = ""


class Spec(Record, frozen=True, kw_only=True):
    """The intent of an asset."""

    KIND: ClassVar[str] = "spec"

    id: str
    project_id: str
    created_at: str
    updated_at: str
    title: str
    asset_type: str
    style: str
    scenario: str
    prompt: Prompt
    spec_list_id: str = ""
    checkpoint_id: str = ""
    checkpoint_profile_id: str = ""
    checkpoint_profile_version: int = 0
    lora_ids: tuple[str, ...] = ()
    baseline_profile_id: str = ""
    tags: tuple[str, ...] = ()
    generation_params: dict[str, Any] = {}
    status: Literal["draft", "ready", "deprecated"] = "draft"
    tier: int = 0
    lora_policy: dict[str, Any] = {}
    style_consistency: dict[str, Any] = {}
    quality_contract: dict[str, Any] = {}
    entity_link: dict[str, Any] = {}
    prompt_policy: dict[str, Any] = {}
    seed_policy: dict[str, Any] = {}
    output: dict[str, Any] = {}


class Provenance(Part, frozen=True, kw_only=True):
    """Where an image comes from."""

    source: str = ""
    author: str = ""
    license: str = ""
    url: str = ""
    notes: str = ""


class Rights(Part, frozen=True, kw_only=True):
    """Whether an asset may be trained on, and since when no longer.

    ``expires_on`` is the last day on which the licence or the consent holds.
    """

    training: TrainingRight = "unknown"
    license: str = ""
    consent: str = ""
    expires_on: str = ""
    withdrawn_at: str = ""
    withdrawn_by: str = ""
    reason: str = ""


class ImageIdentity(Part, frozen=True, kw_only=True):
    """What an image file is: its digests and its displayed size in pixels.

    ``pixel_sha256`` is the digest of what is seen, whatever bytes say it; empty where nobody
    decoded the image.
    """

    sha256: str
    xxh3: str
    bytes: int
    width: int
    height: int
    format: str
    has_alpha: bool = False
    pixel_sha256: str = ""


class Variant(Part, frozen=True, kw_only=True):
    """One image of a version: original, alpha, preview.

    Paths are POSIX, below the data root, or below ``assetsRoot`` when they start with
    ``assetsRoot:``.
    """

    id: str
    original_path: str
    alpha_path: str = ""
    preview_path: str = ""
    original: ImageIdentity | None = None
    alpha: ImageIdentity | None = None
    tags: tuple[str, ...] = ()
    rating: int = 0
    status: VariantStatus = "candidate"
    review_note: str = ""
    processing: dict[str, Any] = {}


class Version(Part, frozen=True, kw_only=True):
    """One result for a spec, with its approval."""

    id: str
    created_at: str
    status: VersionStatus
    variants: tuple[Variant, ...]
    generation: dict[str, Any] = {}
    primary_variant_id: str = ""
    reviewed_by: str = ""
    reviewed_at: str = ""
    review_note: str = ""


class Asset(Record, frozen=True, kw_only=True):
    """A result for a spec: versions, each with variants."""

    KIND: ClassVar[str] = "asset"

    id: str
    project_id: str
    spec_id: str
    created_at: str
    updated_at: str
    versions: tuple[Version, ...]
    provenance: Provenance = Provenance()
    rights: Rights = Rights()
