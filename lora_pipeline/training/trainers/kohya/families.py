"""What sd-scripts needs for each architecture: script, network module, model files, constants."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lora_pipeline.training.trainers.kohya.toml import Value


class Family(msgspec.Struct, frozen=True):
    """One architecture as sd-scripts trains it.

    Attributes:
        script: Script below the checkout.
        network_module: Module that makes the LoRA.
        required: Model files besides the checkpoint, as sd-scripts calls them.
        optional: Model files that are used when they are there.
        constants: Options that the architecture asks for.
        tokenizers: Folders that ``tokenizer_cache_dir`` must hold for a run without network.
        flow: Whether it is trained by flow matching, which knows no SNR and no noise offset.
        text_encoders: Whether sd-scripts can train its text encoder.
        caches_text: Whether the text encoder's output can be cached.
        fp8: Option that quantises the base to 8 bits, or empty.
        swaps_blocks: Whether blocks can be swapped out of the GPU.
    """

    script: str
    network_module: str = "networks.lora"
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    constants: Mapping[str, Value] = msgspec.field(default_factory=dict)
    tokenizers: tuple[str, ...] = ()
    flow: bool = False
    text_encoders: bool = False
    caches_text: bool = True
    fp8: str = "fp8_base"
    swaps_blocks: bool = False


_CLIP_L = "openai_clip-vit-large-patch14"
_CLIP_G = "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k"
_T5 = "google_t5-v1_1-xxl"
_FLUX: Mapping[str, Value] = {"model_prediction_type": "raw", "sdpa": True}

FAMILIES: Mapping[str, Family] = {
    "sd15": Family(
        "train_network.py",
        optional=("vae",),
        constants={"sdpa": True},
        tokenizers=(_CLIP_L,),
        text_encoders=True,
        caches_text=False,
    ),
    "sd21": Family(
        "train_network.py",
        optional=("vae",),
        constants={"v2": True, "sdpa": True},
        tokenizers=("stabilityai_stable-diffusion-2",),
        text_encoders=True,
        caches_text=False,
    ),
    "sdxl": Family(
        "sdxl_train_network.py",
        optional=("vae",),
        constants={"no_half_vae": True, "sdpa": True},
        tokenizers=(_CLIP_L, _CLIP_G),
        text_encoders=True,
    ),
    "sd3": Family(
        "sd3_train_network.py",
        "networks.lora_sd3",
        optional=("clip_l", "clip_g", "t5xxl", "vae"),
        constants={"sdpa": True},
        tokenizers=(_CLIP_L, _CLIP_G, _T5),
        flow=True,
        text_encoders=True,
        swaps_blocks=True,
    ),
    "flux1": Family(
        "flux_train_network.py",
        "networks.lora_flux",
        required=("clip_l", "t5xxl", "ae"),
        constants={**_FLUX, "guidance_scale": 1.0, "timestep_sampling": "flux_shift"},
        tokenizers=(_CLIP_L, _T5),
        flow=True,
        text_encoders=True,
        swaps_blocks=True,
    ),
    "chroma": Family(
        "flux_train_network.py",
        "networks.lora_flux",
        required=("t5xxl", "ae"),
        constants={
            **_FLUX,
            "model_type": "chroma",
            "apply_t5_attn_mask": True,
            "guidance_scale": 0.0,
            "timestep_sampling": "sigmoid",
        },
        tokenizers=(_T5,),
        flow=True,
        swaps_blocks=True,
    ),
    "lumina2": Family(
        "lumina_train_network.py",
        "networks.lora_lumina",
        required=("gemma2", "ae"),
        constants={
            **_FLUX,
            "timestep_sampling": "nextdit_shift",
            "discrete_flow_shift": 6.0,
        },
        tokenizers=("google_gemma-2-2b",),
        flow=True,
    ),
    "hunyuan_image": Family(
        "hunyuan_image_train_network.py",
        "networks.lora_hunyuan_image",
        required=("text_encoder", "byt5", "vae"),
        constants={
            "attn_mode": "torch",
            "split_attn": True,
            "model_prediction_type": "raw",
            "discrete_flow_shift": 5.0,
        },
        flow=True,
        fp8="fp8_scaled",
        swaps_blocks=True,
    ),
    "anima": Family(
        "anima_train_network.py",
        "networks.lora_anima",
        required=("qwen3", "vae"),
        constants={
            "vae_chunk_size": 64,
            "vae_disable_cache": True,
            "discrete_flow_shift": 1.0,
        },
        flow=True,
        fp8="",
        swaps_blocks=True,
    ),
}
# Other names that people use; one architecture has one name in records.
ALSO_CALLED: Mapping[str, str] = {
    "sd1": "sd15", "sd14": "sd15", "sd2": "sd21", "sd20": "sd21", "sd35": "sd3",
    "lumina": "lumina2", "flux": "flux1",
}  # fmt: skip
