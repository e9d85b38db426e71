"""LPIPS, by its published formula, over weights that stand on this machine.

Zhang and others, The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018,
equation 1, version 0.1 with AlexNet: features after each of the five rectifiers, brought to
length 1 over the channels; their squared differences, weighed for each channel, averaged over
the picture, and summed. The package of that name would bring torchvision and fetch AlexNet over
the network; here the weights are one safetensors file with the names that its ``state_dict``
has.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional

# Place in the network, stride and padding of each convolution, and whether pooling comes first.
_LAYERS = (
    ("net.slice1.0", 4, 2, False),
    ("net.slice2.3", 1, 2, True),
    ("net.slice3.6", 1, 1, True),
    ("net.slice4.8", 1, 1, False),
    ("net.slice5.10", 1, 1, False),
)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_TINY = 1e-10


class Lpips:
    """The distance of two pictures.

    Args:
        path: The safetensors file.
        device: Where it runs.

    Raises:
        ValueError: When it lacks tensors of LPIPS with AlexNet.
    """

    def __init__(self, path: Path, device: str) -> None:
        weights = load_file(path, device="cpu")
        wanted = [f"{name}.{part}" for name, *_ in _LAYERS for part in ("weight", "bias")]
        wanted += [f"lin{number}.model.1.weight" for number in range(len(_LAYERS))]
        missing = [name for name in wanted if name not in weights]
        if missing:
            raise ValueError(f"{path.name} is no LPIPS with AlexNet: it has no {missing[0]}")
        self._weights = {name: weights[name].float().to(device) for name in wanted}
        self._shift = torch.tensor(_SHIFT, device=device).view(1, 3, 1, 1)
        self._scale = torch.tensor(_SCALE, device=device).view(1, 3, 1, 1)

    def features(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of a picture, 1 by 3 by height by width, from -1 to 1."""
        flow, found = (pixels - self._shift) / self._scale, []
        for name, stride, padding, pooled in _LAYERS:
            if pooled:
                flow = functional.max_pool2d(flow, kernel_size=3, stride=2)
            weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
            flow = functional.conv2d(flow, weight, bias, stride=stride, padding=padding)
            flow = functional.relu(flow)
            found.append(flow / (flow.square().sum(dim=1, keepdim=True).sqrt() + _TINY))
        return found

    def distance(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
        """Return how far two pictures are apart, from their features."""
        total = 0.0
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            weight = self._weights[f"lin{number}.model.1.weight"]
            weighed = functional.conv2d((one - other).square(), weight)
            total += float(weighed.mean())
        return total
