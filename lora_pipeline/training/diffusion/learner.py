"""What is trained with all that goes along with it: optimiser, running mean, and its state."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

import torch

from lora_pipeline.training.diffusion.optimizers import Optimizer
from lora_pipeline.training.diffusion.running_mean import RunningMean
from lora_pipeline.training.diffusion.state import State, same_shapes
from lora_pipeline.training.records import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

_AVERAGED_STEPS = 20


class Learner:
    """The parameters of a LoRA while they are trained.

    Args:
        recipe: Rates, decay, clipping, course and running mean.
        trained: Parameters by part.
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
        self._parameters = [one for part in trained.values() for one in part]
        self._optimizer = Optimizer(recipe, trained, total_steps, device)
        self._mean = RunningMean(self._parameters, recipe.ema_decay) if recipe.ema_decay else None
        self._losses: deque[float] = deque(maxlen=_AVERAGED_STEPS)

    @property
    def count(self) -> int:
        """How many numbers are trained."""
        return self._optimizer.count

    @property
    def average(self) -> float:
        """The mean loss of the last steps."""
        return sum(self._losses) / len(self._losses)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self._optimizer.backward(loss)

    def step(self, number: int, loss: float) -> None:
        """Change the parameters by the gradients that came together."""
        self._optimizer.step()
        if self._mean is not None:
            self._mean.follow(number)
        self._losses.append(loss)

    def as_kept(self) -> contextlib.AbstractContextManager[None]:
        """Let the parameters be what is kept of them: their running mean, where there is one."""
        return self._mean.in_place() if self._mean is not None else contextlib.nullcontext()

    def state(self, step: int) -> State:
        """Return all that a run needs to go on after a step."""
        scalars = {"losses": list(self._losses), "scaler": self._optimizer.scaler_state()}
        return State(step, self._tensors(), scalars)

    def restore(self, state: State) -> bool:
        """Take over a state; False when it is of other parameters, and nothing was changed."""
        memory = {
            name.removeprefix("memory."): one
            for name, one in state.tensors.items()
            if name.startswith("memory.")
        }
        others = {name: one for name, one in state.tensors.items() if name[:7] != "memory."}
        if not same_shapes(others, self._named()) or not self._optimizer.fits(memory):
            return False
        for name, tensor in self._named().items():
            tensor.copy_(others[name])
        self._optimizer.restore(memory, state.step, state.scalars["scaler"])
        self._losses.extend(state.scalars["losses"])
        return True

    def _tensors(self) -> dict[str, Tensor]:
        memory = self._optimizer.memory().items()
        return {**self._named(), **{f"memory.{name}": one for name, one in memory}}

    def _named(self) -> dict[str, Tensor]:
        means = self._mean.means if self._mean is not None else []
        return {
            **{f"trained.{at:05}": one.detach() for at, one in enumerate(self._parameters)},
            **{f"mean.{at:05}": one for at, one in enumerate(means)},
        }
