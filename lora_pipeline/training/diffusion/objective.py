"""What a model is asked to predict, and how much each timestep counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import torch

if TYPE_CHECKING:
    from torch import Tensor

# With this cap a model that predicts the image itself learns shapes and texture alike.
_SAMPLE_CAP = 5.0


class NoiseSchedule(msgspec.Struct, frozen=True):
    """How much of the image is left at each timestep.

    Attributes:
        kept: Cumulated product of the alphas, by timestep.
        prediction: ``epsilon``, ``v_prediction`` or ``sample``.
    """

    kept: Tensor
    prediction: str

    def draw_times(self, count: int, draws: torch.Generator) -> Tensor:
        """Return random timesteps.

        A model that predicts the image decides its shapes at middle noise, so half of the looks
        go there; the other models are trained evenly.
        """
        even = torch.rand(count, generator=draws)
        if self.prediction == "sample":
            middle = torch.sigmoid(torch.randn(count, generator=draws) + 0.3)
            first = int(torch.randint(2, (1,), generator=draws))
            even = torch.where((torch.arange(count) + first) % 2 == 0, even, middle)
        last = len(self.kept) - 1
        return (even * len(self.kept)).long().clamp(0, last)

    def noised(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return the image mixed with noise."""
        kept = self._at(times, clean)
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return what the model should say."""
        if self.prediction == "sample":
            return clean
        if self.prediction == "epsilon":
            return noise
        kept = self._at(times, clean)
        return kept.sqrt() * noise - (1 - kept).sqrt() * clean

    def weights(self, times: Tensor, gamma: float | None) -> Tensor:
        """Return how much each of these timesteps counts.

        With gamma these are the min-SNR weights of arXiv 2303.09556, section 3.4: min(SNR, gamma)
        for a model that predicts the image, divided by SNR for one that predicts the noise and
        by SNR + 1 for one that predicts the velocity.
        """
        kept = self.kept[times.cpu()]
        ratio = kept / (1 - kept).clamp_min(1e-8)
        if self.prediction == "sample":
            return (ratio + 1).clamp_max(_SAMPLE_CAP) if gamma is None else ratio.clamp_max(gamma)
        if gamma is None:
            return torch.ones_like(kept)
        if self.prediction == "epsilon":
            return (gamma / ratio.clamp_min(1e-8)).clamp_max(1.0)
        return ratio.clamp_max(gamma) / (ratio + 1)

    def _at(self, times: Tensor, like: Tensor) -> Tensor:
        kept = self.kept[times.cpu()].to(device=like.device, dtype=like.dtype)
        return kept.view(-1, *[1] * (like.dim() - 1))


def weighted_loss(
    predicted: Tensor, target: Tensor, weights: Tensor, masks: Tensor | None = None
) -> Tensor:
    """Return the mean squared error, each image by its weight and each place by its mask.

    The mean is over all places, as sd-scripts takes it: what a mask hides adds nothing, and
    what it shows counts as much as it does without a mask.
    """
    squares = (predicted.float() - target.float()).pow(2)
    if masks is not None:
        squares = squares * masks.to(squares)
    errors = squares.flatten(1).mean(dim=1)
    return (weights.to(errors.device) * errors).mean()


def draw_noise(like: Tensor, draws: torch.Generator, offset: float = 0.0) -> Tensor:
    """Return noise of the form of ``like``, the same numbers on every device."""
    noise = torch.randn(like.shape, generator=draws)
    if offset:
        shift = torch.randn((*like.shape[:2], *[1] * (like.dim() - 2)), generator=draws)
        noise = noise + offset * shift
    return noise.to(device=like.device, dtype=like.dtype)
