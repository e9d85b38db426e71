"""The options of sd-scripts: which exist, which are ours, and what the user may add.

sd-scripts ignores a misspelt key of a run file without a word, so every key is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.training.trainers.kohya import conflicts as kohya_conflicts
from lora_pipeline.training.trainers.kohya import keys as kohya_keys
from lora_pipeline.training.trainers.kohya.toml import Value


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Keys that follow from the recipe, with the recipe's own name for them: two truths about one
# run would make its record a lie.
RECIPE_KEYS: Mapping[str, str] = {
    "network_dim": "rank", "network_alpha": "alpha", "dim_from_weights": "rank",
    "learning_rate": "learningRate", "unet_lr": "learningRate",
    "text_encoder_lr": "textEncoderLearningRate",
    "network_train_unet_only": "trainTextEncoder",
    "network_train_text_encoder_only": "trainTextEncoder",
    "max_train_steps": "steps", "max_train_epochs": "epochs",
    "train_batch_size": "batchSize", "gradient_accumulation_steps": "gradientAccumulation",
    "optimizer_type": "optimizer", "use_8bit_adam": "optimizer",
    "use_lion_optimizer": "optimizer", "lr_scheduler": "lrScheduler",
    "lr_scheduler_type": "lrScheduler", "lr_warmup_steps": "warmupSteps",
    "max_grad_norm": "maxGradNorm", "min_snr_gamma": "minSnrGamma",
    "noise_offset": "noiseOffset", "mixed_precision": "mixedPrecision",
    "full_fp16": "mixedPrecision", "full_bf16": "mixedPrecision",
    "gradient_checkpointing": "gradientCheckpointing", "cache_latents": "cacheLatents",
    "fp8_base": "quantize", "fp8_base_unet": "quantize", "fp8_scaled": "quantize",
    "caption_dropout_rate": "captionDropout", "flip_aug": "flip", "resolution": "resolution",
    "seed": "seed", "save_every_n_steps": "saveEvery", "save_every_n_epochs": "saveEvery",
    "save_n_epoch_ratio": "saveEvery", "sample_every_n_steps": "sampleEvery",
    "sample_every_n_epochs": "sampleEvery", "sample_prompts": "samplePrompts",
}  # fmt: skip
# Keys that the pipeline must set itself: where things are, what they are called, what is trained.
PIPELINE_KEYS = _words(
    """
    pretrained_model_name_or_path dataset_config train_data_dir reg_data_dir in_json
    dataset_class dataset_repeats conditioning_data_dir caption_extension caption_extention
    output_dir output_name save_model_as no_metadata network_module config_file output_config
    training_comment metadata_trigger_phrase metadata_thumbnail tokenizer_cache_dir resume
    network_weights base_weights model_type v2 clip_l clip_g t5xxl ae gemma2 text_encoder byt5
    qwen3 vae console_log_file cache_latents_to_disk cache_text_encoder_outputs_to_disk
    masked_loss alpha_mask initial_epoch initial_step skip_until_initial_step
    """
)
# Keys that would send a studio's work, or a secret, somewhere.
FORBIDDEN_KEYS = _words(
    """
    huggingface_repo_id huggingface_repo_type huggingface_path_in_repo huggingface_token
    huggingface_repo_visibility save_state_to_huggingface resume_from_huggingface async_upload
    wandb_api_key wandb_run_name
    """
)
# What else sd-scripts knows; here the user's own file has the word.
FREE_KEYS = (
    kohya_keys.EVERYWHERE.union(*kohya_keys.BESIDES.values())
    - PIPELINE_KEYS
    - FORBIDDEN_KEYS
    - frozenset(RECIPE_KEYS)
)
KNOWN_KEYS = PIPELINE_KEYS | FORBIDDEN_KEYS | FREE_KEYS | frozenset(RECIPE_KEYS)
# Lists of ``name=value``: the recipe's and the user's are joined.
LISTS = ("optimizer_args", "network_args")
# Trackers that keep what they see on this machine.
_LOCAL_TRACKERS = ("tensorboard",)


class Merged(msgspec.Struct, frozen=True):
    """A run file after the user's own file was put under it.

    Attributes:
        options: What is written.
        warnings: What of the user's file is not used, and why.
    """

    options: dict[str, Value]
    warnings: tuple[str, ...]


def merge_user_file(
    ours: Mapping[str, Value], document: Mapping[str, Any], name: str, script: str
) -> Merged:
    """Return our options with those of the user's run file that are the user's to set.

    Args:
        ours: What recipe and pipeline say.
        document: The user's file.
        name: What it is called.
        script: The script that will read the options; each knows some that others do not.

    Raises:
        RecipeInvalidError: When the file would send data or a secret somewhere, when a value
            is not of the option's kind, or when two options exclude each other.
    """
    options, warnings = dict(ours), []
    for key, value in _flattened(document).items():
        _forbid(key, value, name)
        if key in PIPELINE_KEYS:
            warnings.append(f"{name}: {key} is not used: the pipeline sets it")
        elif key in RECIPE_KEYS:
            if ours.get(key) != value:
                warnings.append(
                    f"{name}: {key} = {value!r} is not used: the recipe says {RECIPE_KEYS[key]}"
                    f"{_said(ours.get(key))}"
                )
        elif key in KNOWN_KEYS and not _knows(script, key):
            warnings.append(f"{name}: {key} is not used: {script} does not know it")
        elif key in LISTS:
            options[key], refused = _joined(ours.get(key), value)
            warnings += [
                f"{name}: {one} in {key} is not used: the recipe sets it" for one in refused
            ]
        else:
            if key not in KNOWN_KEYS:
                warnings.append(_unknown(key, name))
            _require_kind(key, value, name)
            options[key] = value
    warnings += kohya_conflicts.settle(options, name)
    return Merged(options, tuple(warnings))


def check_extra_arguments(arguments: Sequence[str]) -> None:
    """Check arguments that go to a training script as they are.

    Raises:
        RecipeInvalidError: When one sets what the recipe or the pipeline sets.
    """
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if not argument.startswith("--"):
            continue
        given, equals, value = argument[2:].partition("=")
        value = value if equals else following
        for key in [given] if given in KNOWN_KEYS else _abbreviated(given):
            _forbid(key, value, "extra arguments")
            if key in LISTS:
                raise RecipeInvalidError(
                    f"--{key} among the extra arguments would replace what the recipe sets",
                    hint=f"put {key} into a file for --trainer-config, where the two are joined",
                )
            if key in RECIPE_KEYS:
                raise RecipeInvalidError(
                    f"--{key} among the extra arguments would contradict the recorded recipe",
                    hint=f"set {RECIPE_KEYS[key]} in the recipe instead",
                )
            if key in PIPELINE_KEYS:
                raise RecipeInvalidError(
                    f"--{key} among the extra arguments is the pipeline's to set",
                    hint=f"leave --{key} out",
                )


def _knows(script: str, key: str) -> bool:
    return key in kohya_keys.EVERYWHERE or key in kohya_keys.BESIDES.get(script, frozenset())


def _require_kind(key: str, value: object, name: str) -> None:
    """Check a value; sd-scripts takes any from a file and fails hours later, or never."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    wanted = None
    if key in kohya_keys.FLAGS:
        wanted = None if isinstance(value, bool) else "true or false"
    elif key in kohya_keys.WHOLE:
        wanted = None if number and isinstance(value, int) else "a whole number"
    elif key in kohya_keys.NUMBERS:
        wanted = None if number else "a number"
    elif key in kohya_keys.LISTS | kohya_keys.NUMBER_LISTS:
        wanted = None if isinstance(value, list) else "a list"
    elif key in KNOWN_KEYS:
        wanted = None if isinstance(value, str) else "a text"
    allowed = kohya_keys.CHOICES.get(key)
    if wanted is None and allowed is not None and value not in allowed:
        wanted = f"one of {', '.join(map(str, sorted(allowed, key=str)))}"
    if wanted is not None:
        raise RecipeInvalidError(
            f"{name}: {key} = {value!r} must be {wanted}", hint=f"mend {key} in {name}"
        )


def _abbreviated(given: str) -> list[str]:
    # argparse takes any beginning of an option that is unambiguous.
    ours = [*RECIPE_KEYS, *sorted(PIPELINE_KEYS | FORBIDDEN_KEYS)]
    return [key for key in ours if given and key.startswith(given)]


def _forbid(key: str, value: object, name: str) -> None:
    sends = key in FORBIDDEN_KEYS or (key == "log_with" and value not in _LOCAL_TRACKERS)
    if sends:
        raise RecipeInvalidError(
            f"{name}: {key} would send data out of this machine, or holds a secret",
            hint=f"leave {key} out; lora release publish is the way out",
        )


def _joined(ours: Value | None, theirs: object) -> tuple[list[str], list[str]]:
    mine = [str(one) for one in ours] if isinstance(ours, list | tuple) else []
    given = [str(one) for one in theirs] if isinstance(theirs, list | tuple) else [str(theirs)]
    taken = {one.partition("=")[0] for one in mine}
    refused = [one for one in given if one.partition("=")[0] in taken and one not in mine]
    added = [one for one in given if one.partition("=")[0] not in taken]
    return mine + added, refused


def _flattened(document: Mapping[str, Any]) -> dict[str, Any]:
    # sd-scripts looks one level into sections and forgets their names.
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return flat


def _said(value: object) -> str:
    return "" if value is None else f" ({value!r})"


def _unknown(key: str, name: str) -> str:
    near = did_you_mean(key, FREE_KEYS)
    return f"{name}: sd-scripts may not know {key} and would ignore it" + (
        f"; did you mean {near}?" if near else ""
    )
