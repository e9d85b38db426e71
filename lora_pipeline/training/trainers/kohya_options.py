"""The options of sd-scripts: which exist, which are ours, and what the user may add.

sd-scripts ignores a misspelt key of a run file without a word, so every key is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.training.trainers.kohya_toml import Value


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
    masked_loss alpha_mask
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
# What else sd-scripts 0.10 knows; here the user's own file has the word.
FREE_KEYS = _words(
    """
    v_parameterization clip_skip max_token_length weighted_captions optimizer_args
    lr_scheduler_args lr_decay_steps lr_scheduler_num_cycles lr_scheduler_power
    lr_scheduler_timescale lr_scheduler_min_lr_ratio fused_backward_pass network_dropout
    network_args scale_weight_norms base_weights_multiplier save_precision save_last_n_epochs
    save_last_n_epochs_state save_last_n_steps save_last_n_steps_state save_state
    save_state_on_train_end skip_until_initial_step initial_epoch initial_step mem_eff_attn
    torch_compile dynamo_backend xformers sdpa max_data_loader_n_workers
    persistent_data_loader_workers ddp_timeout ddp_gradient_as_bucket_view ddp_static_graph
    logging_dir log_with log_prefix log_tracker_name log_tracker_config log_config
    noise_offset_random_strength multires_noise_iterations multires_noise_discount
    ip_noise_gamma ip_noise_gamma_random_strength adaptive_noise_scale zero_terminal_snr
    min_timestep max_timestep loss_type huber_schedule huber_c huber_scale lowram highvram
    sample_at_first sample_sampler prior_loss_weight no_half_vae
    vae_batch_size skip_cache_check cache_info debug_dataset shuffle_caption caption_separator
    keep_tokens keep_tokens_separator secondary_separator enable_wildcard caption_prefix
    caption_suffix color_aug face_crop_aug_range random_crop enable_bucket min_bucket_reso
    max_bucket_reso bucket_reso_steps bucket_no_upscale resize_interpolation token_warmup_min
    token_warmup_step caption_dropout_every_n_epochs caption_tag_dropout_rate
    cache_text_encoder_outputs text_encoder_batch_size disable_mmap_load_safetensors
    weighting_scheme logit_mean logit_std mode_scale blocks_to_swap cpu_offload_checkpointing
    scale_v_pred_loss_like_noise_pred v_pred_like_loss debiased_estimation_loss
    validation_seed validation_split validate_every_n_steps validate_every_n_epochs
    max_validation_steps console_log_level console_log_simple metadata_title metadata_author
    metadata_description metadata_license metadata_tags metadata_usage_hint deepspeed
    zero_stage offload_optimizer_device offload_optimizer_nvme_path offload_param_device
    offload_param_nvme_path zero3_init_flag zero3_save_16bit_model
    fp16_master_weights_and_gradients controlnet t5xxl_max_token_length apply_t5_attn_mask
    apply_lg_attn_mask guidance_scale timestep_sampling sigmoid_scale model_prediction_type
    discrete_flow_shift clip_l_dropout_rate clip_g_dropout_rate t5_dropout_rate
    pos_emb_random_crop_rate enable_scaled_pos_embed training_shift t5xxl_device t5xxl_dtype
    gemma2_max_token_length use_flash_attn use_sage_attn system_prompt fp8_vl text_encoder_cpu
    vae_chunk_size vae_disable_cache attn_mode split_attn t5_tokenizer_path
    qwen3_max_token_length t5_max_token_length unsloth_offload_checkpointing llm_adapter_path
    """
)
KNOWN_KEYS = PIPELINE_KEYS | FORBIDDEN_KEYS | FREE_KEYS | frozenset(RECIPE_KEYS)
# Lists of ``name=value``: the recipe's and the user's are joined.
LISTS = ("optimizer_args", "network_args")
# Trackers that keep what they see on this machine.
_LOCAL_TRACKERS = ("tensorboard",)


@dataclass(frozen=True)
class Merged:
    """A run file after the user's own file was put under it.

    Attributes:
        options: What is written.
        warnings: What of the user's file is not used, and why.
    """

    options: dict[str, Value]
    warnings: tuple[str, ...]


def merge_user_file(ours: Mapping[str, Value], document: Mapping[str, Any], name: str) -> Merged:
    """Return our options with those of the user's run file that are the user's to set.

    Raises:
        RecipeInvalidError: When the file would send data or a secret somewhere.
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
        elif key in LISTS:
            options[key], refused = _joined(ours.get(key), value)
            warnings += [
                f"{name}: {one} in {key} is not used: the recipe sets it" for one in refused
            ]
        else:
            if key not in KNOWN_KEYS:
                warnings.append(_unknown(key, name))
            options[key] = value
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
