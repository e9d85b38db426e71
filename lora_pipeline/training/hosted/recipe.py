"""What trainers that take few settings do with a recipe that has many. Pure.

A setting that would change what is learnt and cannot be sent is refused; one that the service
decides by itself is named in a warning. Nothing is left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.plan import TrainingRequest
from lora_pipeline.training.recipe import parse_config
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.user_file import reason_unused
from lora_pipeline.workspace.settings import Settings

_SECRET = ("token", "key", "secret", "password", "webhook", "hf_repo", "wandb")
# Said even where the recipe holds the default: they describe what a LoRA is.
_ALWAYS = ("rank", "resolution", "seed")


def require_plain(request: TrainingRequest, name: str) -> None:
    """Check that a recipe asks for nothing that no service of this kind does.

    Raises:
        RecipeInvalidError: When it does.
    """
    for message, hint in _beyond(request):
        raise RecipeInvalidError(f"{name} {message}", hint=hint)


def decided_there(recipe: Recipe, name: str, taken: Sequence[str]) -> Iterator[str]:
    """Yield which settings the service decides by itself.

    Args:
        recipe: The settings in force.
        name: The trainer.
        taken: Those that are sent, as a recipe on disk names them.
    """
    usual, ours = Recipe().to_dict(), recipe.to_dict()
    odd = [
        f"{key} {value}"
        for key, value in ours.items()
        if key not in taken and (key in _ALWAYS or value != usual[key]) and value not in (None, [])
    ]
    if odd:
        yield f"{name} decides by itself, and is not sent: {', '.join(odd)}"


def with_user_file(
    ours: dict[str, Any],
    request: TrainingRequest,
    *,
    free: Sequence[str],
    recipe: Mapping[str, str],
    reader: str,
) -> tuple[dict[str, Any], list[str]]:
    """Return what is sent with what of the user's own file is the user's to set, and warnings.

    Args:
        ours: What the recipe and the pipeline say.
        request: Names the file.
        free: What the user's file may say.
        recipe: By name of an input, what of the recipe decides it.
        reader: Who reads the inputs.

    Raises:
        RecipeInvalidError: When the file cannot be read, or holds a secret or an upload.
    """
    if request.config_file is None:
        return ours, []
    name = request.config_file.name
    merged, warnings = dict(ours), []
    for key, value in _read(request).items():
        if any(word in key.lower() for word in _SECRET):
            raise RecipeInvalidError(
                f"{name}: {key} would send a secret or the weights elsewhere",
                hint="leave it out; lora release publish is for what may leave",
            )
        if key in free:
            merged[key] = value
        elif merged.get(key) != value:
            pipeline = [one for one in ours if one not in recipe]
            why = reason_unused(
                key, free={"": free}, recipe=recipe, pipeline=pipeline, reader=reader
            )
            warnings.append(f"{name}: {key} is not used: {why}")
    return merged, warnings


def of_when(settings: Settings, key: str, priced: str) -> str:
    """Return of when a price is, where it is the built-in one."""
    return f" (price of {priced})" if settings.values[key].source == "default" else ""


def _read(request: TrainingRequest) -> dict[str, Any]:
    path = request.config_file
    assert path is not None  # noqa: S101 - the caller looked
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecipeInvalidError(
            f"cannot read {path}: {error.strerror}",
            hint="--trainer-config takes a YAML or JSON file of the service's inputs",
        ) from error
    return parse_config(data, path.name)


def _beyond(request: TrainingRequest) -> Iterator[tuple[str, str]]:
    yield from _of_the_images(request)
    yield from _of_the_recipe(request.recipe)


def _of_the_images(request: TrainingRequest) -> Iterator[tuple[str, str]]:
    data = request.data
    if data.masked:
        yield (
            f"takes no masks, and dataset {data.dataset_id} has them",
            f"lora dataset build {data.dataset_id} --alpha background",
        )
    if len({image.repeats for image in data.images}) > 1:
        yield (
            f"shows all images equally often, and dataset {data.dataset_id} has different repeats",
            "build the dataset with one repeat count",
        )
    if request.extra_arguments:
        yield "has no program to give arguments to", "leave --trainer-args out"


def _of_the_recipe(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.train_text_encoder:
        yield "trains no text encoder", "set trainTextEncoder to false"
    if recipe.target_convolutions:
        yield "adapts no convolutions", "set targetConvolutions to false"
    if recipe.min_snr_gamma is not None or recipe.noise_offset:
        yield "knows no SNR weights or noise offset", "leave minSnrGamma and noiseOffset out"
    if recipe.ema_decay is not None:
        yield "keeps no running mean of the weights", "leave emaDecay out"
    if recipe.flip:
        yield "does not mirror images", "set flip to false"
    if recipe.alpha not in (None, recipe.rank):
        yield "trains with alpha equal to rank", f"--alpha {recipe.rank}"
    if recipe.lr_scheduler != "constant":
        yield "keeps the learning rate constant", "set lrScheduler to constant"
    if recipe.gradient_accumulation != 1:
        yield "accumulates no gradients", "set gradientAccumulation to 1"
