"""Records of evaluation: the suite, the grid that was rendered, and what people said of it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from lora_pipeline.evaluation.metric_records import Compared, CopyCheck, Encoded, LookAlike
from lora_pipeline.foundation.record import Part, Record

PromptKind = Literal[
    "in_domain", "novel_context", "other_style", "composition", "no_trigger", "class_only",
    "must", "must_never", "training_caption",
]  # fmt: skip
CellStatus = Literal["pending", "done", "failed"]
Verdict = Literal["approved", "rejected", "needs_work"]


class SuitePrompt(Part, frozen=True, kw_only=True):
    """One fixed prompt. ``{trigger}`` in the text stands for the LoRA's trigger word.

    A ``training_caption`` without text takes it from the manifest that was trained on. ``what``
    says what a ``must`` prompt must, and a ``must_never`` prompt must never, show.
    """

    id: str
    kind: PromptKind
    text: str = ""
    what: str = ""
    negative: str = ""
    seeds: tuple[int, ...] = ()


class RenderSettings(Part, frozen=True, kw_only=True):
    """How every cell of a suite is rendered; sizes in pixels."""

    width: int
    height: int
    steps: int
    guidance: float
    sampler: str = "default"


class Suite(Part, frozen=True, kw_only=True):
    """The fixed evaluation of an asset type. Strength 0 is always rendered: the base."""

    id: str
    summary: str
    asset_types: tuple[str, ...]
    prompts: tuple[SuitePrompt, ...]
    seeds: tuple[int, ...]
    strengths: tuple[float, ...]
    render: RenderSettings


class RendererIdentity(Part, frozen=True, kw_only=True):
    """Which program drew the images, on what; cells compare only within one fingerprint.

    ``unproven`` names what the renderer had to take on somebody's word.
    """

    name: str
    version: str
    fingerprint: str
    device: str = ""
    details: dict[str, Any] = {}
    unproven: tuple[str, ...] = ()


class Cell(Part, frozen=True, kw_only=True):
    """One image of a grid with all that made it.

    ``strength`` 0 is the base without the LoRA. ``status`` is ``pending`` until an image was
    verified; ``failed`` carries the reason in ``error``.
    """

    id: str
    prompt_id: str
    prompt: str
    seed: int
    strength: float
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    negative: str = ""
    status: CellStatus = "pending"
    image_sha256: str = ""
    effect: float | None = None
    error: str = ""


class EvaluationMetrics(Part, frozen=True, kw_only=True):
    """What was measured on the cells; absent values were not measured.

    An effect is the mean absolute difference between a LoRA cell and its base cell, in 0..1 of
    the value range.

    Attributes:
        effect_mean: Mean effect at the highest strength, over the prompts that call the LoRA.
        effect_min: Smallest effect of one cell among them.
        effect_without_trigger: Mean effect at the highest strength over the prompts that do
            not call the LoRA: how much it leaks.
        effect_by_strength: Mean effect of the calling prompts, by strength.
        monotone: Whether a higher strength changes more, or None with one strength.
        constant_cells: Cells that were refused because they show one colour only.
        duplicate_cells: Cells that show the same pixels as another cell with other settings.
        method: How pictures were measured without a model: our form, and the libraries.
        manifest_hash: Content hash of the manifest that cells were compared with.
        training_images: How many of its images that were.
        edge_width: Pixels that the sharpest edges of a cell take; less is sharper.
        seed_variety: How much the seeds of a prompt differ, in 0..1 of the value range; one
            difference for each prompt.
        palette_distance: Of a cell to all images of the manifest: how far hue and chroma would
            have to be moved, in hundreds of CIELAB units.
        tone_distance: Likewise of lightness.
        palette_from_base: Mean distance of a cell's palette to that of its base cell.
        tone_from_base: Likewise of lightness.
        look_alike: The cell that is most like an image of the manifest by a perceptual hash.
        clip_text: Cosine of picture and prompt, the trigger word left out (CLIP-T).
        clip_image: Mean cosine of a cell and the images of the manifest (CLIP-I).
        dino: The same by DINOv2, which sees more of a subject's details.
        lpips_variety: LPIPS between the seeds of a prompt; one difference for each prompt.
        copies: The cell that is most like an image of the manifest by a copy descriptor.
        copy_similarity_max: Its similarity, as gate policies ask for it.
        not_proven: Why a value is absent, by its name.
    """

    effect_mean: float | None = None
    effect_min: float | None = None
    effect_without_trigger: float | None = None
    effect_by_strength: dict[str, float] = {}
    monotone: bool | None = None
    constant_cells: int = 0
    duplicate_cells: int = 0
    method: str = ""
    manifest_hash: str = ""
    training_images: int = 0
    edge_width: Compared | None = None
    seed_variety: Compared | None = None
    palette_distance: Compared | None = None
    tone_distance: Compared | None = None
    palette_from_base: float | None = None
    tone_from_base: float | None = None
    look_alike: LookAlike | None = None
    clip_text: Encoded | None = None
    clip_image: Encoded | None = None
    dino: Encoded | None = None
    lpips_variety: Encoded | None = None
    copies: CopyCheck | None = None
    copy_similarity_max: float | None = None
    not_proven: dict[str, str] = {}


class Evaluation(Record, frozen=True, kw_only=True):
    """A suite rendered for one release.

    ``result_digest`` covers suite, weights, checkpoint, renderer, metrics and every cell with
    its image; it is there when the grid is complete, and a verdict binds it. ``prompts`` and
    ``outputs`` say the same in the words of the base format.
    """

    KIND: ClassVar[str] = "evaluation"
    ONE_LINE_EACH: ClassVar[tuple[str, ...]] = ("cells",)

    id: str
    lora_id: str
    release_id: str
    created_at: str
    status: Literal["pending", "running", "complete"]
    prompts: tuple[str, ...] = ()
    outputs: tuple[dict[str, Any], ...] = ()
    updated_at: str = ""
    notes: str = ""
    auto_cleanup: bool = False
    suite_id: str = ""
    suite_digest: str = ""
    suite: Suite | None = None
    weights_sha256: str = ""
    checkpoint_id: str = ""
    checkpoint_digest: str = ""
    renderer: RendererIdentity | None = None
    cells: tuple[Cell, ...] = ()
    metrics: EvaluationMetrics | None = None
    sheet_sha256: str = ""
    result_digest: str = ""


class ReviewBinding(Part, frozen=True, kw_only=True):
    """The digests that a verdict is about; any other byte is another thing."""

    weights_sha256: str
    tensor_sha256: str
    manifest_hash: str
    suite_digest: str
    result_digest: str


class Review(Record, frozen=True, kw_only=True):
    """One person's verdict on an evaluation; written once and never again.

    ``digest`` covers all the other fields, so that an edit shows. ``signs`` are the signs of
    over-training that the reviewer saw, ``broken`` the prompts whose rule the cells break.
    """

    KIND: ClassVar[str] = "review"

    id: str
    evaluation_id: str
    lora_id: str
    release_id: str
    reviewer: str
    verdict: Verdict
    created_at: str
    binding: ReviewBinding
    cells_seen: int
    cells_total: int
    comment: str = ""
    signs: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    digest: str = ""
