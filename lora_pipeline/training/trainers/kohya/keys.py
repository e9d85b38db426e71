"""Which options the training scripts of sd-scripts 0.10 know, and what their values are. Data.

Taken from the scripts' own parsers; a test compares it with those of a checkout.
"""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EVERYWHERE = _words(
    """
    adaptive_noise_scale alpha_mask async_upload base_weights base_weights_multiplier
    bucket_no_upscale bucket_reso_steps cache_info cache_latents cache_latents_to_disk
    caption_dropout_every_n_epochs caption_dropout_rate caption_extension caption_extention
    caption_prefix caption_separator caption_suffix caption_tag_dropout_rate clip_skip
    color_aug conditioning_data_dir config_file console_log_file console_log_level
    console_log_simple cpu_offload_checkpointing dataset_class dataset_config
    dataset_repeats ddp_gradient_as_bucket_view ddp_static_graph ddp_timeout
    debiased_estimation_loss debug_dataset deepspeed dim_from_weights dynamo_backend
    enable_bucket enable_wildcard face_crop_aug_range flip_aug
    fp16_master_weights_and_gradients fp8_base fp8_base_unet full_bf16 full_fp16
    fused_backward_pass gradient_accumulation_steps gradient_checkpointing highvram huber_c
    huber_scale huber_schedule huggingface_path_in_repo huggingface_repo_id
    huggingface_repo_type huggingface_repo_visibility huggingface_token in_json
    initial_epoch initial_step ip_noise_gamma ip_noise_gamma_random_strength keep_tokens
    keep_tokens_separator learning_rate log_config log_prefix log_tracker_config
    log_tracker_name log_with logging_dir loss_type lowram lr_decay_steps lr_scheduler
    lr_scheduler_args lr_scheduler_min_lr_ratio lr_scheduler_num_cycles lr_scheduler_power
    lr_scheduler_timescale lr_scheduler_type lr_warmup_steps masked_loss max_bucket_reso
    max_data_loader_n_workers max_grad_norm max_timestep max_token_length max_train_epochs
    max_train_steps max_validation_steps mem_eff_attn metadata_author metadata_description
    metadata_is_negative_embedding metadata_license metadata_merged_from
    metadata_preprocessor metadata_tags metadata_thumbnail metadata_title
    metadata_trigger_phrase metadata_usage_hint min_bucket_reso min_snr_gamma min_timestep
    mixed_precision multires_noise_discount multires_noise_iterations network_alpha
    network_args network_dim network_dropout network_module network_train_text_encoder_only
    network_train_unet_only network_weights no_half_vae no_metadata noise_offset
    noise_offset_random_strength offload_optimizer_device offload_optimizer_nvme_path
    offload_param_device offload_param_nvme_path optimizer_args optimizer_type output_config
    output_dir output_name persistent_data_loader_workers pretrained_model_name_or_path
    prior_loss_weight random_crop reg_data_dir resize_interpolation resolution resume
    resume_from_huggingface sample_at_first sample_every_n_epochs sample_every_n_steps
    sample_prompts sample_sampler save_every_n_epochs save_every_n_steps save_last_n_epochs
    save_last_n_epochs_state save_last_n_steps save_last_n_steps_state save_model_as
    save_n_epoch_ratio save_precision save_state save_state_on_train_end
    save_state_to_huggingface scale_v_pred_loss_like_noise_pred scale_weight_norms sdpa
    secondary_separator seed shuffle_caption skip_cache_check skip_until_initial_step
    text_encoder_lr token_warmup_min token_warmup_step tokenizer_cache_dir torch_compile
    train_batch_size train_data_dir training_comment unet_lr use_8bit_adam
    use_lion_optimizer v2 v_parameterization v_pred_like_loss vae vae_batch_size
    validate_every_n_epochs validate_every_n_steps validation_seed validation_split
    wandb_api_key wandb_run_name weighted_captions xformers zero3_init_flag
    zero3_save_16bit_model zero_stage zero_terminal_snr
    """
)
"""Options of every script."""

BESIDES: Mapping[str, frozenset[str]] = {
    "train_network.py": frozenset(),
    "sdxl_train_network.py": _words(
        """
        cache_text_encoder_outputs cache_text_encoder_outputs_to_disk
        disable_mmap_load_safetensors
        """
    ),
    "flux_train_network.py": _words(
        """
        ae apply_t5_attn_mask blocks_to_swap cache_text_encoder_outputs
        cache_text_encoder_outputs_to_disk clip_l controlnet_model_name_or_path
        disable_mmap_load_safetensors discrete_flow_shift guidance_scale logit_mean
        logit_std mode_scale model_prediction_type model_type sigmoid_scale split_mode t5xxl
        t5xxl_max_token_length text_encoder_batch_size timestep_sampling weighting_scheme
        """
    ),
    "sd3_train_network.py": _words(
        """
        apply_lg_attn_mask apply_t5_attn_mask blocks_to_swap cache_text_encoder_outputs
        cache_text_encoder_outputs_to_disk clip_g clip_g_dropout_rate clip_l
        clip_l_dropout_rate disable_mmap_load_safetensors enable_scaled_pos_embed logit_mean
        logit_std mode_scale pos_emb_random_crop_rate save_clip save_t5xxl t5_dropout_rate
        t5xxl t5xxl_device t5xxl_dtype t5xxl_max_token_length text_encoder_batch_size
        training_shift weighting_scheme
        """
    ),
    "lumina_train_network.py": _words(
        """
        ae blocks_to_swap cache_text_encoder_outputs cache_text_encoder_outputs_to_disk
        disable_mmap_load_safetensors discrete_flow_shift gemma2 gemma2_max_token_length
        logit_mean logit_std mode_scale model_prediction_type sample_batch_size
        sigmoid_scale system_prompt text_encoder_batch_size timestep_sampling use_flash_attn
        use_sage_attn weighting_scheme
        """
    ),
    "hunyuan_image_train_network.py": _words(
        """
        attn_mode blocks_to_swap byt5 cache_text_encoder_outputs
        cache_text_encoder_outputs_to_disk disable_mmap_load_safetensors discrete_flow_shift
        fp8_scaled fp8_vl logit_mean logit_std mode_scale model_prediction_type
        sigmoid_scale split_attn text_encoder text_encoder_batch_size text_encoder_cpu
        timestep_sampling vae_chunk_size weighting_scheme
        """
    ),
    "anima_train_network.py": _words(
        """
        attn_mode blocks_to_swap cache_text_encoder_outputs
        cache_text_encoder_outputs_to_disk cross_attn_lr disable_mmap_load_safetensors
        discrete_flow_shift llm_adapter_lr llm_adapter_path logit_mean logit_std mlp_lr
        mod_lr mode_scale qwen3 qwen3_max_token_length self_attn_lr sigmoid_scale split_attn
        t5_max_token_length t5_tokenizer_path text_encoder_batch_size timestep_sampling
        unsloth_offload_checkpointing vae_chunk_size vae_disable_cache weighting_scheme
        """
    ),
}
"""Options that one script knows and not every other."""

FLAGS = _words(
    """
    alpha_mask apply_lg_attn_mask apply_t5_attn_mask async_upload bucket_no_upscale
    cache_info cache_latents cache_latents_to_disk cache_text_encoder_outputs
    cache_text_encoder_outputs_to_disk color_aug console_log_simple
    cpu_offload_checkpointing ddp_gradient_as_bucket_view ddp_static_graph
    debiased_estimation_loss debug_dataset deepspeed dim_from_weights
    disable_mmap_load_safetensors enable_bucket enable_scaled_pos_embed enable_wildcard
    flip_aug fp16_master_weights_and_gradients fp8_base fp8_base_unet fp8_scaled fp8_vl
    full_bf16 full_fp16 fused_backward_pass gradient_checkpointing highvram
    ip_noise_gamma_random_strength log_config lowram masked_loss mem_eff_attn
    network_train_text_encoder_only network_train_unet_only no_half_vae no_metadata
    noise_offset_random_strength output_config persistent_data_loader_workers random_crop
    resume_from_huggingface sample_at_first save_clip save_state save_state_on_train_end
    save_state_to_huggingface save_t5xxl scale_v_pred_loss_like_noise_pred sdpa
    shuffle_caption skip_cache_check skip_until_initial_step split_attn split_mode
    text_encoder_cpu torch_compile unsloth_offload_checkpointing use_8bit_adam
    use_flash_attn use_lion_optimizer use_sage_attn v2 v_parameterization vae_disable_cache
    weighted_captions xformers zero3_init_flag zero3_save_16bit_model zero_terminal_snr
    """
)
WHOLE = _words(
    """
    blocks_to_swap bucket_reso_steps caption_dropout_every_n_epochs clip_skip
    dataset_repeats ddp_timeout gemma2_max_token_length gradient_accumulation_steps
    initial_epoch initial_step keep_tokens lr_scheduler_num_cycles lr_scheduler_timescale
    max_bucket_reso max_data_loader_n_workers max_timestep max_token_length max_train_epochs
    max_train_steps max_validation_steps min_bucket_reso min_timestep
    multires_noise_iterations network_dim qwen3_max_token_length sample_batch_size
    sample_every_n_epochs sample_every_n_steps save_every_n_epochs save_every_n_steps
    save_last_n_epochs save_last_n_epochs_state save_last_n_steps save_last_n_steps_state
    save_n_epoch_ratio seed t5_max_token_length t5xxl_max_token_length
    text_encoder_batch_size token_warmup_min train_batch_size vae_batch_size vae_chunk_size
    validate_every_n_epochs validate_every_n_steps validation_seed zero_stage
    """
)
NUMBERS = _words(
    """
    adaptive_noise_scale caption_dropout_rate caption_tag_dropout_rate clip_g_dropout_rate
    clip_l_dropout_rate cross_attn_lr discrete_flow_shift guidance_scale huber_c huber_scale
    ip_noise_gamma learning_rate llm_adapter_lr logit_mean logit_std lr_decay_steps
    lr_scheduler_min_lr_ratio lr_scheduler_power lr_warmup_steps max_grad_norm min_snr_gamma
    mlp_lr mod_lr mode_scale multires_noise_discount network_alpha network_dropout
    noise_offset pos_emb_random_crop_rate prior_loss_weight scale_weight_norms self_attn_lr
    sigmoid_scale t5_dropout_rate token_warmup_step training_shift unet_lr v_pred_like_loss
    validation_split
    """
)
LISTS = _words(
    """
    base_weights lr_scheduler_args network_args optimizer_args
    """
)
NUMBER_LISTS = _words(
    """
    base_weights_multiplier text_encoder_lr
    """
)
"""Options by what they hold; all others hold a text."""

CHOICES: Mapping[str, frozenset[str | int]] = {
    "attn_mode": _words("torch xformers flash sageattn sdpa"),
    "dynamo_backend": _words(
        """
        aot_eager aot_ts_nvfuser cudagraphs eager fx2trt inductor ipex nvprims_nvfuser ofi
        onnxrt tensort tvm
        """
    ),
    "huber_schedule": _words("constant exponential snr"),
    "log_with": _words("tensorboard wandb all"),
    "loss_type": _words("l1 l2 huber smooth_l1"),
    "max_token_length": frozenset({150, 225}),
    "model_prediction_type": _words("raw additive sigma_scaled"),
    "offload_optimizer_device": _words("cpu nvme"),
    "offload_param_device": _words("cpu nvme"),
    "resize_interpolation": _words("lanczos nearest bilinear linear bicubic cubic area"),
    "sample_sampler": _words(
        """
        ddim dpm_2 dpm_2_a dpmsingle dpmsolver dpmsolver++ euler euler_a heun k_dpm_2
        k_dpm_2_a k_euler k_euler_a k_lms lms pndm
        """
    ),
    "save_precision": _words("float fp16 bf16"),
    "timestep_sampling": _words("sigma uniform sigmoid shift nextdit_shift flux_shift"),
    "weighting_scheme": _words("sigma_sqrt logit_normal mode cosmap none uniform"),
    "zero_stage": frozenset({0, 1, 2, 3}),
}
"""What options may say that take one of a few words."""
