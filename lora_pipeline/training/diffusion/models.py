"""The models that are trained, behind one form: encode an image, encode a caption, take a loss.

``StableDiffusion`` is for UNets (SD 1.5, SDXL), ``Flux`` for flow-matching transformers. What a
checkpoint predicts, its sizes and its schedule are read from the checkpoint, never assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from lora_pipeline.training.diffusion.messages import TrainingStoppedError
from lora_pipeline.training.diffusion.objective import NoiseSchedule, draw_noise, weighted_loss
from lora_pipeline.training.records import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

Conditioning = dict[str, "Tensor"]


class Model(Protocol):
    """A pipeline seen as something that can be trained.

    Attributes:
        pipeline: The diffusers pipeline.
        denoiser_name: ``unet`` or ``transformer``: its name there, and before saved keys.
    """

    pipeline: Any
    denoiser_name: str

    @property
    def denoiser(self) -> nn.Module:
        """The part that is trained."""

    @property
    def prediction(self) -> str:
        """What it predicts, as metadata say it."""

    def text_encoders(self) -> dict[str, nn.Module]:
        """Return its text encoders by name."""

    def encode_pictures(self, pixels: Tensor, draws: torch.Generator) -> Tensor:
        """Return scaled latents of images."""

    def encode_captions(self, captions: Sequence[str]) -> Conditioning:
        """Return what captions tell the denoiser, one row each."""

    def loss(
        self,
        latents: Tensor,
        conditioning: Conditioning,
        draws: torch.Generator,
        recipe: Recipe,
        masks: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of one batch, each place of the latents by its mask."""


def open_model(pipeline: Any) -> Model:
    """Return a pipeline as a model.

    Raises:
        TrainingStoppedError: When it predicts something that is not known here.
    """
    if type(pipeline).__name__ == "FluxPipeline":
        return Flux(pipeline)
    return StableDiffusion(pipeline)


def _text_encoders(pipeline: Any) -> dict[str, nn.Module]:
    names = ("text_encoder", "text_encoder_2")
    return {name: part for name in names if (part := getattr(pipeline, name, None)) is not None}


def _encoded(pipeline: Any, pixels: Tensor, draws: torch.Generator) -> Tensor:
    vae = pipeline.vae
    pixels = pixels.to(device=vae.device, dtype=vae.dtype)
    config: Mapping[str, Any] = vae.config
    # Sampled with numbers of our own, so that they are the same on every device.
    distribution = vae.encode(pixels).latent_dist
    latents: Tensor = distribution.mean
    if hasattr(distribution, "std"):
        latents = latents + distribution.std * draw_noise(latents, draws)
    shift = config.get("shift_factor") or 0.0
    scaled: Tensor = (latents - shift) * config["scaling_factor"]
    return scaled


@dataclass
class StableDiffusion:
    """SD 1.5 and SDXL type checkpoints of any size."""

    pipeline: Any
    denoiser_name: str = "unet"

    def __post_init__(self) -> None:
        from diffusers import DDPMScheduler

        config = self.pipeline.scheduler.config
        scheduler = DDPMScheduler.from_config(config)
        prediction = scheduler.config.prediction_type
        if prediction not in {"epsilon", "v_prediction", "sample"}:
            raise TrainingStoppedError(
                "checkpoint_unsupported", f"the checkpoint predicts {prediction!r}"
            )
        self._schedule = NoiseSchedule(scheduler.alphas_cumprod.float(), prediction)
        self._is_xl = type(self.pipeline).__name__ == "StableDiffusionXLPipeline"

    @property
    def denoiser(self) -> nn.Module:
        """The UNet."""
        unet: nn.Module = self.pipeline.unet
        return unet

    @property
    def prediction(self) -> str:
        """What the UNet predicts."""
        return {"v_prediction": "v"}.get(self._schedule.prediction, self._schedule.prediction)

    def text_encoders(self) -> dict[str, nn.Module]:
        """Return its text encoders by name."""
        return _text_encoders(self.pipeline)

    def encode_pictures(self, pixels: Tensor, draws: torch.Generator) -> Tensor:
        """Return scaled latents of images."""
        return _encoded(self.pipeline, pixels, draws)

    def encode_captions(self, captions: Sequence[str]) -> Conditioning:
        """Return the hidden states of the captions, and for SDXL the pooled ones."""
        encoder = self.pipeline.text_encoder
        said = self.pipeline.encode_prompt(
            prompt=list(captions),
            device=encoder.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        if not self._is_xl:
            return {"hidden": said[0]}
        return {"hidden": said[0], "pooled": said[2]}

    def loss(
        self,
        latents: Tensor,
        conditioning: Conditioning,
        draws: torch.Generator,
        recipe: Recipe,
        masks: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of one batch, each place of the latents by its mask."""
        schedule = self._schedule
        times = schedule.draw_times(len(latents), draws)
        noise = draw_noise(latents, draws, recipe.noise_offset)
        hidden = conditioning["hidden"]
        noisy = schedule.noised(latents, noise, times).to(hidden.dtype)
        options: dict[str, Any] = {}
        if self._is_xl:
            options["added_cond_kwargs"] = {
                "text_embeds": conditioning["pooled"],
                "time_ids": self._time_ids(noisy),
            }
        predicted = self.denoiser(
            noisy,
            times.to(latents.device),
            encoder_hidden_states=hidden,
            **options,
        ).sample
        weights = schedule.weights(times, recipe.min_snr_gamma)
        return weighted_loss(predicted, schedule.target(latents, noise, times), weights, masks)

    def _time_ids(self, latents: Tensor) -> Tensor:
        # Original size, crop and target size; images are shown whole, as prompts ask for them.
        scale = self.pipeline.vae_scale_factor
        height, width = latents.shape[-2] * scale, latents.shape[-1] * scale
        sizes = [height, width, 0, 0, height, width]
        return torch.tensor([sizes] * len(latents), device=latents.device, dtype=latents.dtype)


@dataclass
class Flux:
    """FLUX.1 type checkpoints of any size."""

    pipeline: Any
    denoiser_name: str = "transformer"

    @property
    def denoiser(self) -> nn.Module:
        """The transformer."""
        transformer: nn.Module = self.pipeline.transformer
        return transformer

    @property
    def prediction(self) -> str:
        """Flow matching predicts the way from image to noise."""
        return "flow"

    def text_encoders(self) -> dict[str, nn.Module]:
        """Return its text encoders by name."""
        return _text_encoders(self.pipeline)

    def encode_pictures(self, pixels: Tensor, draws: torch.Generator) -> Tensor:
        """Return scaled latents of images."""
        return _encoded(self.pipeline, pixels, draws)

    def encode_captions(self, captions: Sequence[str]) -> Conditioning:
        """Return the T5 states and the pooled CLIP state of the captions."""
        hidden, pooled, _ = self.pipeline.encode_prompt(
            prompt=list(captions), prompt_2=None, device=self.pipeline.text_encoder.device
        )
        return {"hidden": hidden, "pooled": pooled}

    def loss(
        self,
        latents: Tensor,
        conditioning: Conditioning,
        draws: torch.Generator,
        recipe: Recipe,
        masks: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of one batch, each place of the latents by its mask."""
        count, channels, height, width = latents.shape
        pipeline = self.pipeline
        noise = draw_noise(latents, draws, recipe.noise_offset)
        sigmas = self._sigmas(count, (height // 2) * (width // 2), draws).to(latents)
        mixed = sigmas.view(-1, 1, 1, 1)
        hidden = conditioning["hidden"]
        noisy = ((1 - mixed) * latents + mixed * noise).to(hidden.dtype)

        def packed(values: Tensor) -> Tensor:
            rows: Tensor = pipeline._pack_latents(values, count, channels, height, width)  # noqa: SLF001
            return rows

        positions = pipeline._prepare_latent_image_ids(  # noqa: SLF001
            count, height // 2, width // 2, noisy.device, noisy.dtype
        )
        words = torch.zeros(hidden.shape[1], 3, device=noisy.device, dtype=noisy.dtype)
        guided = getattr(self.denoiser.config, "guidance_embeds", False)
        predicted = self.denoiser(
            hidden_states=packed(noisy),
            timestep=sigmas,
            guidance=torch.ones(count).to(noisy) if guided else None,
            pooled_projections=conditioning["pooled"],
            encoder_hidden_states=hidden,
            txt_ids=words,
            img_ids=positions,
            return_dict=False,
        )[0]
        # Packed as latents are: each row of a mask says what its row of numbers counts.
        rows = None if masks is None else packed(masks.expand_as(latents))
        return weighted_loss(predicted, packed(noise - latents), torch.ones(count), rows)

    def _sigmas(self, count: int, tokens: int, draws: torch.Generator) -> Tensor:
        drawn = torch.sigmoid(torch.randn(count, generator=draws))
        config = self.pipeline.scheduler.config
        if config.get("use_dynamic_shifting"):
            shift = math.exp(_shift_of(tokens, config))
        else:
            shift = float(config.get("shift") or 1.0)
        # The more tokens an image has, the more noise it takes to hide it.
        return shift * drawn / (1 + (shift - 1) * drawn)


def _shift_of(tokens: int, config: Mapping[str, Any]) -> float:
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(base + (most - base) * (tokens - low) / (high - low))
