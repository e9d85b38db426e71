"""The optimiser with its course of the learning rate, for each of the trained parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from lora_pipeline.training.records import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn


class Optimizer:
    """AdamW or Adafactor over the LoRA's parameters.

    Args:
        recipe: Rates, decay, clipping and course.
        trained: Parameters by part; text encoders may have a rate of their own.
        total_steps: Length of the course.
        device: Where the parameters are.
    """

    def __init__(
        self,
        recipe: Recipe,
        trained: dict[str, list[nn.Parameter]],
        total_steps: int,
        device: torch.device,
    ) -> None:
        self._recipe = recipe
        self._parameters = [one for part in trained.values() for one in part]
        groups = [
            {"params": part, "lr": _rate(name, recipe)} for name, part in trained.items() if part
        ]
        self._optimizer = _made(recipe, groups, device)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, _course(recipe, total_steps)
        )
        scales = recipe.mixed_precision == "fp16"
        self._scaler = torch.amp.GradScaler(device.type, enabled=scales)

    @property
    def count(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self._parameters)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self._scaler.scale(loss).backward()

    def step(self) -> None:
        """Change the parameters by the gradients that came together, and forget these."""
        self._scaler.unscale_(self._optimizer)
        if self._recipe.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.max_grad_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        self._optimizer.zero_grad(set_to_none=True)

    def memory(self) -> dict[str, Tensor]:
        """Return what the optimiser remembers of each parameter, by number and name."""
        return {
            f"{number:05}.{name}": value
            for number, parameter in enumerate(self._parameters)
            for name, value in self._optimizer.state[parameter].items()
        }

    def fits(self, memory: dict[str, Tensor]) -> bool:
        """Return whether a memory has something for every parameter, and for no other."""
        numbers = {name.partition(".")[0] for name in memory}
        return numbers == {f"{number:05}" for number in range(len(self._parameters))}

    def scaler_state(self) -> dict[str, Any]:
        """Return how gradients are scaled; empty without fp16."""
        state: dict[str, Any] = self._scaler.state_dict()
        return state

    def restore(self, memory: dict[str, Tensor], step: int, scaler: dict[str, Any]) -> None:
        """Go on after a step with what was remembered then."""
        for number, parameter in enumerate(self._parameters):
            mine = f"{number:05}."
            self._optimizer.state[parameter] = {
                name.removeprefix(mine): value.to(parameter.device)
                for name, value in memory.items()
                if name.startswith(mine)
            }
        if scaler:
            self._scaler.load_state_dict(scaler)
        self._schedule.last_epoch = step
        rates = [
            base * course(step)
            for base, course in zip(self._schedule.base_lrs, self._schedule.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _rate(part: str, recipe: Recipe) -> float:
    own = recipe.text_encoder_learning_rate
    return own if part.startswith("text_encoder") and own is not None else recipe.learning_rate


def _made(
    recipe: Recipe, groups: list[dict[str, Any]], device: torch.device
) -> torch.optim.Optimizer:
    if recipe.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, weight_decay=recipe.weight_decay)
    # A shorter memory than the usual 0.999: a LoRA is trained for hundreds of steps.
    # Fused, because a LoRA is hundreds of small tensors and their bookkeeping takes longer.
    return torch.optim.AdamW(
        groups,
        betas=(0.9, 0.99),
        weight_decay=recipe.weight_decay,
        fused=device.type in {"cpu", "cuda"},
    )


def _course(recipe: Recipe, total_steps: int) -> Callable[[int], float]:
    warmup = recipe.warmup_steps if recipe.lr_scheduler != "constant" else 0

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, total_steps - warmup)
        if recipe.lr_scheduler == "linear":
            return max(0.0, 1 - done)
        if recipe.lr_scheduler == "cosine":
            return max(0.0, (1 + math.cos(math.pi * done)) / 2)
        return 1.0

    return factor
