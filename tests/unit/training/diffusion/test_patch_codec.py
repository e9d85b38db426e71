from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from lora_pipeline.training.diffusion.patch_codec import PatchAutoencoder  # noqa: E402

pytestmark = pytest.mark.train


def _images(count: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    small = torch.rand((count, 3, 8, 8), generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(small, size=(64, 64), mode="bilinear")


def _error(codec: PatchAutoencoder, images: Tensor) -> float:
    return float(((codec(images).sample - images) ** 2).mean())


def test_an_image_becomes_one_latent_pixel_for_each_patch() -> None:
    codec = PatchAutoencoder.fitted(_images(), latent_channels=12)
    assert codec.encode(torch.zeros(2, 3, 64, 32)).latent_dist.mode().shape == (2, 12, 8, 4)


def test_all_components_together_lose_nothing() -> None:
    images = _images(64)
    assert _error(PatchAutoencoder.fitted(images, latent_channels=192), images) < 1e-8


def test_more_components_lose_less() -> None:
    images = _images()
    few, many = (PatchAutoencoder.fitted(images, latent_channels=n) for n in (3, 24))
    assert _error(many, images) < _error(few, images)


def test_the_same_images_give_the_same_codec() -> None:
    first, second = (PatchAutoencoder.fitted(_images()).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_latents_of_a_channel_vary_by_the_square_root_of_their_component() -> None:
    images = _images(64)
    codec = PatchAutoencoder.fitted(images, latent_channels=4)
    spread = codec.encode(images).latent_dist.mode().std(dim=(0, 2, 3))
    assert torch.allclose(spread, codec.scale, rtol=0.01)


def test_the_scaling_factor_brings_latents_to_a_standard_deviation_of_one() -> None:
    images = _images(64)
    codec = PatchAutoencoder.fitted(images, latent_channels=16)
    latents = codec.encode(images).latent_dist.mode() * codec.config.scaling_factor
    assert float(latents.std()) == pytest.approx(1, abs=0.01)


def test_sampling_takes_a_generator_and_adds_no_noise() -> None:
    latents = PatchAutoencoder.fitted(_images()).encode(_images()).latent_dist
    assert torch.equal(latents.sample(torch.Generator().manual_seed(3)), latents.mode())


def test_outputs_are_tuples_when_asked() -> None:
    codec = PatchAutoencoder.fitted(_images())
    (latents,) = codec.encode(_images(1), return_dict=False)
    (image,) = codec.decode(latents.mode(), return_dict=False, generator=None)
    assert image.shape == (1, 3, 64, 64)


def test_a_smaller_patch_brings_its_own_number_of_blocks() -> None:
    codec = PatchAutoencoder.fitted(_images(), patch_size=4, latent_channels=5)
    assert len(codec.config.block_out_channels) == 3


def test_blocks_that_contradict_the_patch_size_are_refused() -> None:
    with pytest.raises(ValueError, match="4 blocks do not make patches of 16 pixels"):
        PatchAutoencoder(patch_size=16)


def test_a_saved_codec_comes_back_the_same(tmp_path: Path) -> None:
    codec = PatchAutoencoder.fitted(_images(), latent_channels=6)
    codec.save_pretrained(tmp_path)
    loaded = PatchAutoencoder.from_pretrained(tmp_path, local_files_only=True)
    assert loaded.config.scaling_factor == codec.config.scaling_factor
    assert torch.equal(loaded(_images()).sample, codec(_images()).sample)


def test_a_fitted_codec_can_be_built_again_from_its_config() -> None:
    codec = PatchAutoencoder.fitted(_images(), latent_channels=6)
    again = PatchAutoencoder.from_config(codec.config)
    again.load_state_dict(codec.state_dict())
    assert again.config.scaling_factor == codec.config.scaling_factor != 1
    assert torch.equal(again(_images()).sample, codec(_images()).sample)


def test_nothing_in_the_codec_is_trained() -> None:
    assert not any(value.requires_grad for value in PatchAutoencoder().parameters())
