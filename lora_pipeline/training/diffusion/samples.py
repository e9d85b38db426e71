"""Sample images while training goes on: what the LoRA draws so far, for people to look at."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from lora_pipeline.foundation import files
from lora_pipeline.training.diffusion.models import Model
from lora_pipeline.training.records import Recipe

_STEPS = 20


def draw_samples(
    model: Model, recipe: Recipe, folder: Path, step: int, dtype: torch.dtype
) -> list[str]:
    """Draw every sample prompt with the seed of the recipe and return the names of the files."""
    pipeline = model.pipeline
    device = next(model.denoiser.parameters()).device
    helpers = [pipeline.vae, *model.text_encoders().values()]
    homes = [next(part.parameters()).device for part in helpers]
    for part in helpers:
        part.to(device)
    model.denoiser.eval()
    names = []
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        for number, prompt in enumerate(recipe.sample_prompts, start=1):
            image = pipeline(
                prompt,
                width=recipe.resolution,
                height=recipe.resolution,
                num_inference_steps=_STEPS,
                generator=torch.Generator().manual_seed(recipe.seed),
            ).images[0]
            buffer = io.BytesIO()
            image.save(buffer, format="PNG")
            name = f"step{step:06}-{number:02}.png"
            files.write_atomic(folder / name, buffer.getvalue())
            names.append(name)
    model.denoiser.train()
    for part, home in zip(helpers, homes, strict=True):
        part.to(home)
    return names
