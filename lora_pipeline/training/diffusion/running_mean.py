"""The running mean of what is trained (EMA): steadier than the weights of any one step.

The decay begins small and comes up to what the recipe says, as diffusers' ``EMAModel`` does it:
otherwise a run of some hundred steps would keep a good part of the random weights it began with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class RunningMean:
    """The mean of parameters over the steps that were taken.

    Args:
        parameters: What is trained.
        decay: How much of the mean stays at each step, once there were many.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters = list(parameters)
        self._decay = decay
        self._means = [one.detach().clone() for one in self._parameters]

    @property
    def means(self) -> list[Tensor]:
        """The means, in the order of the parameters."""
        return self._means

    def follow(self, step: int) -> None:
        """Take in what the parameters are after a step, counted from 1."""
        decay = min(self._decay, step / (step + 9))
        with torch.no_grad():
            for mean, parameter in zip(self._means, self._parameters, strict=True):
                mean.lerp_(parameter, 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the parameters be their means for the time of the block."""
        held = [one.data for one in self._parameters]
        for parameter, mean in zip(self._parameters, self._means, strict=True):
            parameter.data = mean
        try:
            yield
        finally:
            for parameter, before in zip(self._parameters, held, strict=True):
                parameter.data = before
