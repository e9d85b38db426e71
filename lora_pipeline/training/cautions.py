"""What a careful technical artist would want to know before training, each with a stable code.

Pure. Thresholds are those of practice with style LoRAs; they warn and never refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from lora_pipeline.catalog.records import CheckpointLicense
from lora_pipeline.training.plan import TrainingData
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.steps import looks_per_image, total_steps

FEW_IMAGES = 15
FEW_LOOKS = 20
MANY_LOOKS = 200
IMAGES_PER_RANK = 1.0
# What a training is usually asked for; outside of it somebody may have slipped a digit.
USUAL_STEPS = (100, 5000)
USUAL_LEARNING_RATE = (1e-6, 1e-2)
USUAL_CAPTION = (10, 500)
# A run this long is worth keeping something of before it ends.
LONG_RUN = 1000
# Shapes with a left and a right: mirrored they are another thing.
_DIRECTED = frozenset({"logo"})
_ALIKE = 4

# What a sentence of a trainer's own has for a code.
TRAINER_NOTE = "trainer_note"


class Caution(msgspec.Struct, frozen=True):
    """One thing to know before training.

    Attributes:
        code: Stable slug, such as ``captions_cut``.
        message: The fact, in one sentence.
    """

    code: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON-ready form."""
        return {"code": self.code, "message": self.message}


class Subject(msgspec.Struct, frozen=True):
    """What is looked at.

    Attributes:
        recipe: The settings in force.
        data: The images.
        trigger_word: The LoRA's trigger word, or empty.
        license: The base model's licence, when it is known.
        recommended: How many images the asset type usually has.
        native_resolution: Side in pixels that the base model was trained at; 0 when unknown.
        asset_types: What the LoRA is for.
        held_out: How many images of the manifest are kept from training.
    """

    recipe: Recipe
    data: TrainingData
    trigger_word: str
    license: CheckpointLicense | None
    recommended: tuple[int, int] | None = None
    native_resolution: int = 0
    asset_types: tuple[str, ...] = ()
    held_out: int | None = None


def cautions_about(subject: Subject) -> tuple[Caution, ...]:
    """Return what is unusual about a training, the images first."""
    return tuple(
        Caution(code, message)
        for found in (
            _about_images(subject),
            _about_length(subject),
            _about_rank(subject.recipe, len(subject.data.images)),
            _about_captions(subject.data),
            _about_trigger(subject),
            _about_sizes(subject),
            _about_license(subject.license),
        )
        for code, message in found
    )


def trainer_notes(sentences: Sequence[str]) -> tuple[Caution, ...]:
    """Return what a trainer says of its own plan."""
    return tuple(Caution(TRAINER_NOTE, sentence) for sentence in sentences)


_Found = Iterator[tuple[str, str]]


def _about_images(subject: Subject) -> _Found:
    count, usual = len(subject.data.images), subject.recommended
    if usual and count < usual[0]:
        yield "few_images", f"{count} images; {usual[0]} to {usual[1]} are usual for this type"
    if not usual and count < FEW_IMAGES:
        yield (
            "few_images",
            f"{count} images are few: the LoRA will draw them again instead of their style",
        )
    if subject.held_out == 0:
        yield (
            "nothing_held_out",
            (
                "no image is held out, so copying cannot be told from learning "
                "(lora dataset build --held-out 0.1)"
            ),
        )
    directed = sorted(_DIRECTED & set(subject.asset_types))
    if subject.recipe.flip and directed:
        yield "flip_mirrors", f"flip mirrors every {directed[0]}, letters and all"


def _times(looks: float) -> str:
    return "once" if round(looks) == 1 else f"{looks:.0f} times"


def _about_length(subject: Subject) -> _Found:
    recipe, per_epoch = subject.recipe, subject.data.images_per_epoch
    looks, steps = looks_per_image(recipe, per_epoch), total_steps(recipe, per_epoch)
    if looks > MANY_LOOKS:
        yield (
            "steps_per_image_high",
            f"each image is looked at {looks:.0f} times, which invites memorising",
        )
    if looks < FEW_LOOKS:
        yield (
            "steps_per_image_low",
            f"each image is looked at {_times(looks)}, which may be too few to learn",
        )
    low, high = USUAL_STEPS
    if not low <= steps <= high:
        yield "steps_unusual", f"{steps} steps; {low} to {high} are usual"
    slowest, fastest = USUAL_LEARNING_RATE
    rate = recipe.learning_rate
    if recipe.optimizer != "prodigy" and not slowest <= rate <= fastest:
        yield (
            "learning_rate_unusual",
            f"learningRate {rate:g}; {slowest:g} to {fastest:g} is usual",
        )
    if recipe.batch_size > len(subject.data.images):
        yield (
            "batch_larger_than_set",
            f"batchSize {recipe.batch_size} is more than the {len(subject.data.images)} images",
        )
    if steps >= LONG_RUN and recipe.save_every is None:
        yield (
            "no_checkpoints_kept",
            f"{steps} steps without saveEvery: nothing earlier than the end can be compared",
        )
    yield from _about_settings_without_effect(recipe)


def _about_settings_without_effect(recipe: Recipe) -> _Found:
    if recipe.steps is not None and recipe.epochs is not None:
        yield "epochs_unused", f"steps {recipe.steps} counts, epochs {recipe.epochs} is left aside"
    if recipe.warmup_steps and recipe.lr_scheduler == "constant":
        yield "warmup_unused", "warmupSteps does nothing with lrScheduler constant"


def _about_rank(recipe: Recipe, images: int) -> _Found:
    if recipe.rank >= 64 and recipe.rank > images * IMAGES_PER_RANK:
        yield (
            "rank_high_for_images",
            f"rank {recipe.rank} for {images} images can store them one by one",
        )
    alpha = recipe.alpha
    if alpha is not None and not recipe.rank / 8 <= alpha <= recipe.rank * 2:
        yield (
            "alpha_scale_unusual",
            f"alpha {alpha:g} with rank {recipe.rank} scales by {alpha / recipe.rank:g}",
        )


def _about_captions(data: TrainingData) -> _Found:
    captions = [image.caption.strip() for image in data.images]
    empty = sum(not caption for caption in captions)
    if empty:
        yield "captions_empty", f"{_of(empty, captions, 'captions')} are empty"
    shortest, longest = USUAL_CAPTION
    odd = sum(bool(one) and not shortest <= len(one) <= longest for one in captions)
    if odd:
        yield (
            "caption_length",
            (
                f"{_of(odd, captions, 'captions')} have fewer than {shortest} or more than "
                f"{longest} characters (lora caption lint)"
            ),
        )
    if len(captions) >= _ALIKE and len(set(captions)) == 1 and captions[0]:
        yield (
            "captions_alike",
            f"all {len(captions)} captions are the same: no word of a prompt will tell them apart",
        )


def _about_trigger(subject: Subject) -> _Found:
    word, images = subject.trigger_word, subject.data.images
    if not word:
        yield "no_trigger_word", "the LoRA has no trigger word: its style will show in every prompt"
        return
    spoken = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    without = sum(1 for image in images if not spoken.search(image.caption))
    if without:
        yield (
            "trigger_missing",
            f"{without} of {len(images)} captions lack the trigger word {word}",
        )
    prompts = subject.recipe.sample_prompts
    silent = sum(1 for prompt in prompts if not spoken.search(prompt))
    if silent:
        yield (
            "samples_without_trigger",
            f"{silent} of {len(prompts)} sample prompts lack the trigger word {word}",
        )


def _about_sizes(subject: Subject) -> _Found:
    side, images = subject.recipe.resolution, subject.data.images
    small = [one for one in images if one.width * one.height < 0.9 * side**2]
    if small:
        worst = min(small, key=lambda one: one.width * one.height)
        times = side / (worst.width * worst.height) ** 0.5
        yield (
            "images_enlarged",
            (
                f"{_counted(small)} smaller than {side} px and enlarged, {worst.name} "
                f"{times:.1f} times: what is soft is learnt as soft"
            ),
        )
    native = subject.native_resolution
    if native and not native * 0.74 <= side <= native * 1.26:
        yield (
            "resolution_unlike_checkpoint",
            f"resolution {side} px; the base model was trained at {native} px",
        )


def _about_license(license: CheckpointLicense | None) -> _Found:  # noqa: A002
    if license is None:
        yield "license_unrecorded", "the base model's licence is not recorded"
    elif license.commercial_loras == "no":
        yield (
            "license_noncommercial",
            f"LoRAs of this base model may not be used commercially ({license.id})",
        )
    elif license.commercial_loras == "unknown":
        yield (
            "license_unclear",
            f"whether its LoRAs may be used commercially is not recorded ({license.id})",
        )


def _of(part: int, every: Sequence[object], noun: str) -> str:
    return f"{part} of {len(every)} {noun}"


def _counted(images: Sequence[object]) -> str:
    return "1 image is" if len(images) == 1 else f"{len(images)} images are"
