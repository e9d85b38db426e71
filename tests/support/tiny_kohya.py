"""A checkout of sd-scripts whose models are small, and checkpoints of random weights for it.

The code that runs is sd-scripts' own: each script here sets the sizes that stand as constants in
its modules, then runs the script of that name in the real checkout. Nothing of it is changed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.support import tiny_checkpoint

CLIP_L = "openai_clip-vit-large-patch14"
CLIP_G = "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k"
_SCRIPT = '''"""Set sizes, then run the script of the real checkout."""
import os
import runpy
import sys

REAL = {real!r}
sys.path.insert(0, REAL)
from library import original_unet, sdxl_original_unet

original_unet.BLOCK_OUT_CHANNELS = (32, 64, 64, 64)
original_unet.TIMESTEP_INPUT_DIM = 32
original_unet.TIME_EMBED_DIM = 128
sdxl_original_unet.MODEL_CHANNELS = 32
sdxl_original_unet.TIME_EMBED_DIM = 128
sdxl_original_unet.ADM_IN_CHANNELS = 6 * 256 + 1984
runpy.run_path(os.path.join(REAL, {name!r}), run_name="__main__")
'''
_SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def make_small_scripts(folder: Path, real: Path) -> Path:
    """Write a checkout that runs ``real`` with small models; returns its folder."""
    folder.mkdir(parents=True)
    for name in ("library", "networks"):
        (folder / name).symlink_to(real / name)
    for name in ("train_network.py", "sdxl_train_network.py"):
        text = _SCRIPT.format(real=str(real), name=name)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def make_tokenizers(folder: Path) -> Path:
    """Write what ``tokenizer_cache_dir`` holds: tokenizers that know single bytes."""
    letters = _byte_letters()
    known = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(known)}
    marks = {"bos_token": known[-2], "eos_token": known[-1], "unk_token": known[-1]}
    for name, padding in ((CLIP_L, known[-1]), (CLIP_G, "!")):
        place = folder / name
        place.mkdir(parents=True)
        texts = {
            "vocab.json": vocabulary,
            "special_tokens_map.json": {**marks, "pad_token": padding},
            "tokenizer_config.json": {
                **marks,
                "pad_token": padding,
                "model_max_length": 77,
                "tokenizer_class": "CLIPTokenizer",
            },
        }
        for file, document in texts.items():
            text = json.dumps(document, ensure_ascii=False)
            (place / file).write_text(text, encoding="utf-8")
        (place / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder


def make_sd15(folder: Path) -> Path:
    """Write an SD 1.5 type checkpoint of the small sizes; returns its folder."""
    torch, diffusers, _ = tiny_checkpoint._libraries()
    torch.manual_seed(tiny_checkpoint.SEED)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=tiny_checkpoint._autoencoder(diffusers, latent_channels=4),
        text_encoder=tiny_checkpoint._text_encoder(size=32),
        tokenizer=tiny_checkpoint._tokenizer(folder / "tokenizer"),
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64, 64, 64),
            cross_attention_dim=32,
            attention_head_dim=8,
        ),
        scheduler=diffusers.DDIMScheduler(**_SCHEDULE, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _for_older_readers(tiny_checkpoint._written(pipeline, folder))


def make_sdxl(folder: Path) -> Path:
    """Write an SDXL type checkpoint of the small sizes; returns its folder."""
    torch, diffusers, _ = tiny_checkpoint._libraries()
    torch.manual_seed(tiny_checkpoint.SEED)
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=tiny_checkpoint._autoencoder(diffusers, latent_channels=4),
        # Together 2048 wide, and the first 12 layers deep: sd-scripts knows no other.
        text_encoder=tiny_checkpoint._text_encoder(size=64, layers=12),
        text_encoder_2=tiny_checkpoint._text_encoder(size=1984, projected=True),
        tokenizer=tiny_checkpoint._tokenizer(folder / "tokenizer"),
        tokenizer_2=tiny_checkpoint._tokenizer(folder / "tokenizer_2"),
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64, 128),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(1, 1, 2),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=6 * 256 + 1984,
        ),
        scheduler=diffusers.DDIMScheduler(**_SCHEDULE, clip_sample=False),
    )
    return _for_older_readers(tiny_checkpoint._written(pipeline, folder))


def _for_older_readers(folder: Path) -> Path:
    """Name the text encoders' tensors as transformers 4 does, which sd-scripts pins."""
    from safetensors.torch import load_file, save_file

    for path in folder.glob("text_encoder*/model.safetensors"):
        tensors = load_file(path)
        named: dict[str, Any] = {
            name
            if name.startswith(("text_model.", "text_projection"))
            else f"text_model.{name}": one
            for name, one in tensors.items()
        }
        save_file(named, path, {"format": "pt"})
    return folder


def _byte_letters() -> list[str]:
    from tokenizers import pre_tokenizers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return sorted(pre_tokenizers.ByteLevel.alphabet())
