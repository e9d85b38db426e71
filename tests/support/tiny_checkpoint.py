"""Checkpoints of random weights, a few hundred thousand parameters, made in a second.

They have the classes, names and folders of real ones and sizes of their own, so that whatever
trains or draws with a real checkpoint does it with these too, on any CPU.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SEED = 7
_START, _END = "<|startoftext|>", "<|endoftext|>"


def make_tiny_sd15(folder: Path) -> Path:
    """Write an SD 1.5 type checkpoint that predicts noise; returns its folder."""
    torch, diffusers, transformers = _libraries()
    del transformers
    torch.manual_seed(SEED)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=_autoencoder(diffusers, latent_channels=4),
        text_encoder=_text_encoder(size=32),
        tokenizer=_tokenizer(folder / "tokenizer"),
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(32, 64),
            layers_per_block=1,
            attention_head_dim=8,
            cross_attention_dim=32,
            norm_num_groups=8,
        ),
        scheduler=diffusers.DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _written(pipeline, folder)


def make_tiny_sdxl(folder: Path, *, second: int = 32) -> Path:
    """Write an SDXL type checkpoint whose second text encoder is ``second`` wide."""
    torch, diffusers, _ = _libraries()
    torch.manual_seed(SEED)
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=_autoencoder(diffusers, latent_channels=4),
        text_encoder=_text_encoder(size=32),
        text_encoder_2=_text_encoder(size=second, projected=True),
        tokenizer=_tokenizer(folder / "tokenizer"),
        tokenizer_2=_tokenizer(folder / "tokenizer_2"),
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(32, 64),
            layers_per_block=1,
            attention_head_dim=(4, 8),
            transformer_layers_per_block=(1, 2),
            cross_attention_dim=32 + second,
            norm_num_groups=8,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + second,
        ),
        scheduler=diffusers.DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
        ),
    )
    return _written(pipeline, folder)


def make_tiny_flux1(folder: Path, *, heads: int = 2, head_size: int = 16) -> Path:
    """Write a FLUX.1 type checkpoint; returns its folder."""
    torch, diffusers, transformers = _libraries()
    torch.manual_seed(SEED)
    t5 = transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=514, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4
        )
    )
    pipeline = diffusers.FluxPipeline(
        vae=_autoencoder(diffusers, latent_channels=4, shift=0.1),
        text_encoder=_text_encoder(size=32),
        text_encoder_2=t5,
        tokenizer=_tokenizer(folder / "tokenizer"),
        tokenizer_2=_tokenizer(folder / "tokenizer_2"),
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=head_size,
            num_attention_heads=heads,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=True,
            axes_dims_rope=(head_size // 4, head_size // 4, head_size // 2),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )
    return _written(pipeline, folder)


def _libraries() -> tuple[Any, Any, Any]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import diffusers
    import torch
    import transformers

    return torch, diffusers, transformers


def _autoencoder(diffusers: Any, *, latent_channels: int, shift: float | None = None) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.5,
        shift_factor=shift,
    )


def _text_encoder(*, size: int, projected: bool = False, layers: int = 2) -> Any:
    _, _, transformers = _libraries()
    config = transformers.CLIPTextConfig(
        vocab_size=514,
        hidden_size=size,
        intermediate_size=2 * size,
        projection_dim=size,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config)


def _tokenizer(folder: Path) -> Any:
    """Return a tokenizer that knows single bytes and nothing else: 514 tokens."""
    from tokenizers import pre_tokenizers

    _, _, transformers = _libraries()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = [*letters, *(f"{letter}</w>" for letter in letters), _START, _END]
    vocabulary = {token: number for number, token in enumerate(known)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _written(pipeline: Any, folder: Path) -> Path:
    torch, _, _ = _libraries()
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
