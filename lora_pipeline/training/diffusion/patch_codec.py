"""The demo checkpoint's image codec: principal components of patches, not a trained autoencoder.

An image is cut into square patches, and each patch becomes a few numbers: its principal components,
each divided by the square root of its standard deviation, so that strong components stay stronger
without drowning the weak ones. Such a codec is fitted in a second instead of trained for hours, and
flat icons survive it well. It is called like diffusers' `AutoencoderKL`.
"""

from __future__ import annotations

import msgspec
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional


class PatchLatents:
    """Latents that stand for themselves: nothing is random in a codec that only projects."""

    def __init__(self, latents: Tensor) -> None:
        self.mean = latents

    def mode(self) -> Tensor:
        """Return the latents."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the latents; the generator is there for the interface's sake and left alone."""
        del generator
        return self.mean


class PatchEncoderOutput(msgspec.Struct, frozen=True):
    """What `PatchAutoencoder.encode` returns: the latents under the name that diffusers expects."""

    latent_dist: PatchLatents


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Encode square patches as scaled principal components, called like `AutoencoderKL`.

    Args:
        patch_size: Width and height of a patch in pixels, a power of two.
        latent_channels: Components kept for each patch.
        block_out_channels: Only its length matters: diffusers reads the scale between image and
            latents from it, 2 ** (length - 1).
        scaling_factor: What latents are multiplied by between codec and UNet.
        shift_factor: None; diffusers asks for it.
        force_upcast: False; diffusers asks for it.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 8,
        latent_channels: int = 48,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
        scaling_factor: float = 1.0,
        shift_factor: float | None = None,
        force_upcast: bool = False,  # noqa: FBT001, FBT002 (diffusers names the arguments)
    ) -> None:
        super().__init__()
        del scaling_factor, shift_factor, force_upcast  # read from the config by pipelines
        if 2 ** (len(block_out_channels) - 1) != patch_size:
            blocks = len(block_out_channels)
            raise ValueError(f"{blocks} blocks do not make patches of {patch_size} pixels")
        values = 3 * patch_size * patch_size
        self.center = nn.Parameter(torch.zeros(values), requires_grad=False)
        self.components = nn.Parameter(torch.zeros(latent_channels, values), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(latent_channels), requires_grad=False)

    @staticmethod
    def fitted(
        images: Tensor, *, patch_size: int = 8, latent_channels: int = 48
    ) -> PatchAutoencoder:
        """Return the codec whose components describe best the patches of these images.

        Its scaling factor brings the latents of these images to a standard deviation of one.

        Args:
            images: Float images of shape (count, 3, height, width) with values from -1 to 1.
            patch_size: Width and height of a patch in pixels, a power of two.
            latent_channels: Components kept for each patch.
        """
        patches = functional.pixel_unshuffle(images, patch_size).permute(0, 2, 3, 1)
        patches = patches.flatten(0, 2).double()
        center = patches.mean(dim=0)
        covariance = (patches - center).T @ (patches - center) / len(patches)
        variances, vectors = torch.linalg.eigh(covariance)
        components = vectors.T.flip(0)[:latent_channels]
        # An eigenvector's sign is free; fix it, so that the same images give the same codec.
        strongest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
        components = components * strongest.sign()
        scale = variances.flip(0)[:latent_channels].clamp_min(1e-6).sqrt().sqrt()
        latents = (patches - center) @ (components / scale[:, None]).T
        # Every value is named: diffusers forgets in `from_config` what was left to its default.
        codec: PatchAutoencoder = PatchAutoencoder(
            patch_size=patch_size,
            latent_channels=latent_channels,
            block_out_channels=(1,) * patch_size.bit_length(),
            scaling_factor=round(1 / float(latents.std()), 4),
        )
        codec.center.copy_(center)
        codec.components.copy_(components)
        codec.scale.copy_(scale)
        return codec

    def encode(
        self,
        x: Tensor,
        return_dict: bool = True,  # noqa: FBT001, FBT002 (diffusers passes it so)
    ) -> PatchEncoderOutput | tuple[PatchLatents]:
        """Encode images of shape (count, 3, height, width), with sides of whole patches."""
        latents = PatchLatents(self.project(x))
        return PatchEncoderOutput(latents) if return_dict else (latents,)

    def decode(
        self,
        z: Tensor,
        return_dict: bool = True,  # noqa: FBT001, FBT002 (diffusers passes it so)
        generator: torch.Generator | None = None,
    ) -> DecoderOutput | tuple[Tensor]:
        """Turn latents back into images with values of about -1 to 1."""
        del generator
        weights = (self.components * self.scale[:, None]).T[:, :, None, None]
        patches = functional.conv2d(z, weights) + self.center[:, None, None]
        image = functional.pixel_shuffle(patches, self.config.patch_size)
        return DecoderOutput(sample=image) if return_dict else (image,)

    def forward(
        self,
        sample: Tensor,
        return_dict: bool = True,  # noqa: FBT001, FBT002 (diffusers passes it so)
    ) -> DecoderOutput | tuple[Tensor]:
        """Encode and decode, which shows what the codec loses."""
        return self.decode(self.project(sample), return_dict=return_dict)

    def project(self, images: Tensor) -> Tensor:
        """Return the latents of these images."""
        patches = functional.pixel_unshuffle(images, self.config.patch_size)
        weights = (self.components / self.scale[:, None])[:, :, None, None]
        return functional.conv2d(patches - self.center[:, None, None], weights)
