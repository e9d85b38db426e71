"""The training loop: batches in, a LoRA out, told step by step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lora_pipeline.training.diffusion.adapters import add_adapters
from lora_pipeline.training.diffusion.batches import batches
from lora_pipeline.training.diffusion.devices import (
    choose_device,
    choose_type,
    make_repeatable,
    set_threads,
)
from lora_pipeline.training.diffusion.examples import Examples, sizes_of
from lora_pipeline.training.diffusion.job import Job
from lora_pipeline.training.diffusion.learner import Learner
from lora_pipeline.training.diffusion.messages import TrainingStoppedError, tell
from lora_pipeline.training.diffusion.models import Model, open_model
from lora_pipeline.training.diffusion.samples import draw_samples
from lora_pipeline.training.diffusion.saving import lora_tensors, save_lora
from lora_pipeline.training.diffusion.state import read_state, save_state

if TYPE_CHECKING:
    from torch import nn


def train(job: Job) -> Path:
    """Train the LoRA of a job and return the file of its weights.

    Raises:
        TrainingStoppedError: When it cannot go on.
    """
    recipe = job.recipe
    device = choose_device(job.device)
    dtype = choose_type(recipe.mixed_precision, device)
    tell("stage", message=f"opening {Path(job.checkpoint).name} on {device.type}")
    model = _open(job, dtype)
    count = sum(parameter.numel() for parameter in model.denoiser.parameters())
    set_threads(job.threads, count, device)
    make_repeatable(recipe.seed)
    trained = add_adapters(model, recipe)
    _tell_long_captions(job, model)
    examples = Examples(job, model, device, dtype)
    tell("stage", message=f"encoding {len(job.images)} images")
    sizes = sizes_of(job)
    examples.prepare(sizes)
    loop = _Loop(job, model, examples, trained, device, dtype)
    return loop.run(sizes)


class _Loop:
    def __init__(
        self,
        job: Job,
        model: Model,
        examples: Examples,
        trained: dict[str, list[nn.Parameter]],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._job, self._model, self._examples = job, model, examples
        self._device, self._dtype = device, dtype
        encoders = model.text_encoders()
        self._parts = {
            name: model.denoiser if name == model.denoiser_name else encoders[name]
            for name in trained
        }
        self._place()
        self._learner = Learner(job.recipe, trained, job.total_steps, device)

    def run(self, sizes: list[tuple[int, int]]) -> Path:
        """Take every step, keep what is to be kept, and return the final file."""
        job, recipe = self._job, self._job.recipe
        shown = batches(
            sizes,
            [image.repeats for image in job.images],
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            flip=recipe.flip,
            caption_dropout=recipe.caption_dropout,
        )
        tell("stage", message=f"training {self._learner.count} parameters")
        done = self._resumed()
        for _ in range(done * recipe.gradient_accumulation):
            next(shown)
        for step in range(done + 1, job.total_steps + 1):
            # The numbers of a step depend on the seed and the step alone.
            draws = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
            loss = 0.0
            for _ in range(recipe.gradient_accumulation):
                loss += self._look(next(shown), draws, step)
            self._learner.step(step, loss)
            average = _short(self._learner.average)
            tell("step", step=step, total=job.total_steps, loss=_short(loss), average=average)
            self._keep(step)
        return self._save(f"{job.output_name}.safetensors", job.total_steps)

    def _keep(self, step: int) -> None:
        """Keep of a step what the recipe asks for, and what an interrupted run goes on from."""
        job, recipe = self._job, self._job.recipe
        unfinished = step < job.total_steps
        if recipe.save_every and step % recipe.save_every == 0 and unfinished:
            self._save(f"{job.output_name}-step{step:06}.safetensors", step)
        if recipe.sample_every and step % recipe.sample_every == 0:
            self._sample(step)
        # Last, so that all that came before is there when the state says that it was done.
        if job.state_every and step % job.state_every == 0 and unfinished:
            save_state(Path(job.state_file), job, self._learner.state(step))

    def _resumed(self) -> int:
        """Take over what an interrupted run kept, and return the step that it was kept after."""
        path = Path(self._job.state_file)
        if not self._job.state_file or not path.is_file():
            return 0
        state = read_state(path, self._job)
        if state is None or not self._learner.restore(state):
            tell("warning", message=f"{path.name} is not of this run: training begins anew")
            return 0
        tell("stage", message=f"going on after step {state.step}")
        return state.step

    def _look(self, shown: list[Any], draws: torch.Generator, step: int) -> float:
        """Take one forward and backward pass and return its share of the loss."""
        accumulation = self._job.recipe.gradient_accumulation
        mixed = self._dtype != torch.float32
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=mixed):
            latents, conditioning = self._examples.batch(shown, draws)
            masks = self._examples.masks(shown, latents)
            loss = self._model.loss(latents, conditioning, draws, self._job.recipe, masks)
            loss = loss / accumulation
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingStoppedError(
                "diverged",
                f"the loss became {value} at step {step}: training diverged",
                "lower the learning rate"
                + (", or set mixedPrecision to bf16" if self._dtype == torch.float16 else ""),
            )
        self._learner.backward(loss)
        return value

    def _save(self, name: str, step: int) -> Path:
        recipe = self._job.recipe
        path = Path(self._job.output_folder) / name
        scale = (recipe.alpha or recipe.rank) / recipe.rank
        metadata = {
            **self._job.metadata,
            "format": "pt",
            "ss_steps": str(step),
            "modelspec.prediction_type": self._model.prediction,
        }
        with self._learner.as_kept():
            save_lora(path, lora_tensors(self._parts, scale), self._dtype, metadata)
        tell("saved", file=name, step=step)
        return path

    def _sample(self, step: int) -> None:
        folder = Path(self._job.output_folder).parent / "samples"
        with self._learner.as_kept():
            names = draw_samples(self._model, self._job.recipe, folder, step, self._dtype)
        tell("sampled", files=names, step=step)

    def _place(self) -> None:
        recipe = self._job.recipe
        for part in self._parts.values():
            part.to(self._device)
            part.train()
        if not recipe.cache_latents and not recipe.low_memory:
            self._model.pipeline.vae.to(self._device)
        if recipe.gradient_checkpointing or recipe.low_memory:
            self._model.denoiser.enable_gradient_checkpointing()


def _open(job: Job, dtype: torch.dtype) -> Model:
    from lora_pipeline.training.diffusion.checkpoint_folder import (
        CheckpointUnreadableError,
        open_pipeline,
    )

    config = Path(job.config) if job.config else None
    try:
        pipeline = open_pipeline(Path(job.checkpoint), dtype=dtype, device="cpu", config=config)
    except CheckpointUnreadableError as error:
        raise TrainingStoppedError(
            "checkpoint_unreadable", str(error), "lora checkpoint verify"
        ) from error
    # Half precision ruins what some autoencoders draw, and every image is encoded only once.
    pipeline.vae.to(torch.float32)
    return open_model(pipeline)


def _tell_long_captions(job: Job, model: Model) -> None:
    tokenizer = model.pipeline.tokenizer
    longest = tokenizer.model_max_length
    if model.denoiser_name == "transformer":
        return  # its second text encoder reads long captions whole
    cut = sum(
        1
        for image in job.images
        if len(tokenizer(image.caption, truncation=False).input_ids) > longest
    )
    if cut:
        tell("warning", message=f"{cut} captions are longer than {longest} tokens and are cut")


def _short(value: float) -> float:
    return float(f"{value:.6g}")
