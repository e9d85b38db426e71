"""The training images as the loop takes them: encoded, and encoded once where that is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lora_pipeline.training.buckets import bucket_of, multiple_for
from lora_pipeline.training.diffusion.batches import Shown, Size
from lora_pipeline.training.diffusion.job import Job
from lora_pipeline.training.diffusion.models import Conditioning, Model
from lora_pipeline.training.diffusion.pictures import read_mask, read_picture

if TYPE_CHECKING:
    from torch import Tensor


def sizes_of(job: Job) -> list[Size]:
    """Return the size that each image is trained at."""
    resolution = job.recipe.resolution
    multiple = multiple_for(resolution, job.architecture)
    return [bucket_of(one.width, one.height, resolution, multiple) for one in job.images]


class Examples:
    """Latents and captions of the job's images.

    Args:
        job: Names the images.
        model: Encodes them; its parts are moved to ``device`` only while they are needed.
        device: Where the loop computes.
        dtype: Type in which the loop gets what captions say.
    """

    def __init__(self, job: Job, model: Model, device: torch.device, dtype: torch.dtype) -> None:
        self._job = job
        self._model = model
        self._device = device
        self._dtype = dtype
        self._latents: dict[tuple[int, bool], Tensor] = {}
        self._masks: dict[tuple[int, bool], Tensor] = {}
        self._captions: dict[str, Conditioning] = {}

    def prepare(self, sizes: list[Size]) -> None:
        """Encode everything that is the same in every step, then free what encoded it."""
        recipe, pipeline = self._job.recipe, self._model.pipeline
        if recipe.cache_latents or recipe.low_memory:
            pipeline.vae.to(self._device)
            mirrored = (False, True) if recipe.flip else (False,)
            for index, size in enumerate(sizes):
                for mirror in mirrored:
                    self._latents[index, mirror] = self._encode(index, size, mirror=mirror).cpu()
            pipeline.vae.to("cpu")
        if not recipe.train_text_encoder:
            self._prepare_captions()

    def batch(self, shown: list[Shown], draws: torch.Generator) -> tuple[Tensor, Conditioning]:
        """Return latents and captions of one batch on the device."""
        captions = ["" if one.silent else self._job.images[one.index].caption for one in shown]
        # Latents stay in full precision: noise and targets are made of them.
        latents = torch.stack([self._latent(one, draws) for one in shown])
        return latents.to(self._device), self._conditioning(captions)

    def masks(self, shown: list[Shown], latents: Tensor) -> Tensor | None:
        """Return how much each place of the latents of a batch counts; None when all do."""
        if not any(self._job.images[one.index].mask for one in shown):
            return None
        height, width = latents.shape[-2:]
        return torch.stack([self._mask(one, (height, width)) for one in shown]).to(self._device)

    def _mask(self, one: Shown, latents: tuple[int, int]) -> Tensor:
        key = one.index, one.mirrored
        if key not in self._masks:
            name = self._job.images[one.index].mask
            if name:
                mask = read_mask(Path(self._job.images_folder) / name, one.size, latents)
            else:
                mask = torch.ones(1, *latents)
            # Small beside the latents, and the same in every step.
            self._masks[key] = mask.flip(-1) if one.mirrored else mask
        return self._masks[key]

    def _prepare_captions(self) -> None:
        for encoder in self._model.text_encoders().values():
            encoder.to(self._device)
        spoken = {image.caption for image in self._job.images}
        silent = {""} if self._job.recipe.caption_dropout else set()
        with torch.no_grad():
            for caption in sorted(spoken | silent):
                encoded = self._model.encode_captions([caption])
                self._captions[caption] = {name: one.cpu() for name, one in encoded.items()}
        for encoder in self._model.text_encoders().values():
            encoder.to("cpu")

    def _conditioning(self, captions: list[str]) -> Conditioning:
        if not self._captions:
            return self._model.encode_captions(captions)
        rows = [self._captions[caption] for caption in captions]
        return {
            name: torch.cat([row[name] for row in rows]).to(self._device, self._dtype)
            for name in rows[0]
        }

    def _latent(self, one: Shown, draws: torch.Generator) -> Tensor:
        cached = self._latents.get((one.index, one.mirrored))
        if cached is not None:
            return cached
        return self._encode(one.index, one.size, mirror=one.mirrored, draws=draws)

    def _encode(
        self, index: int, size: Size, *, mirror: bool, draws: torch.Generator | None = None
    ) -> Tensor:
        picture = read_picture(Path(self._job.images_folder) / self._job.images[index].name, size)
        if mirror:
            picture = picture.flip(-1)
        numbers = draws or torch.Generator().manual_seed(self._job.recipe.seed + index)
        with torch.no_grad():
            return self._model.encode_pictures(picture.unsqueeze(0), numbers)[0].float()
