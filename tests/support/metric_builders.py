"""Encoders of random weights with the classes and files of real ones, made in a second."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import item, manifest
from tests.support.evaluation_builders import LORA, PROJECT, SCOPE, png_of

SEED = 11
_SIDE = 32
_CHANNELS = (8, 12, 16, 12, 12)
_PLACES = ("net.slice1.0", "net.slice2.3", "net.slice3.6", "net.slice4.8", "net.slice5.10")
_KERNELS = (11, 5, 3, 3, 3)


def make_tiny_clip(folder: Path) -> Path:
    """Write a CLIP of two layers; return its folder."""
    import torch
    import transformers

    from tests.support.tiny_checkpoint import _tokenizer as tokenizer_at

    torch.manual_seed(SEED)
    tower = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.CLIPConfig(
        text_config={**tower, "hidden_size": 24, "vocab_size": 514, "max_position_embeddings": 77,
                     "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513},
        vision_config={**tower, "hidden_size": 24, "image_size": _SIDE, "patch_size": 8},
        projection_dim=16,
    )  # fmt: skip
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer_at(folder).save_pretrained(folder)
    return _with_preparation(folder)


def make_tiny_dino(folder: Path) -> Path:
    """Write a DINOv2 of two layers; return its folder."""
    import torch
    import transformers

    torch.manual_seed(SEED)
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=_SIDE, patch_size=8
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    return _with_preparation(folder)


def make_tiny_copy_model(path: Path) -> Path:
    """Write a descriptor as TorchScript: means of a coarse grid, without what all share."""
    import torch

    class Descriptor(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            cells = torch.nn.functional.adaptive_avg_pool2d(pixels, (8, 8)).flatten(1)
            centred = cells - cells.mean(dim=1, keepdim=True)
            return torch.nn.functional.normalize(centred, dim=1)

    torch.jit.trace(Descriptor(), torch.zeros(1, 3, 288, 288)).save(str(path))
    return path


def make_tiny_lpips(path: Path) -> Path:
    """Write LPIPS weights with few channels."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    weights, before = {}, 3
    for place, kernel, channels in zip(_PLACES, _KERNELS, _CHANNELS, strict=True):
        weights[f"{place}.weight"] = torch.randn(channels, before, kernel, kernel) * 0.1
        weights[f"{place}.bias"] = torch.zeros(channels)
        before = channels
    for number, channels in enumerate(_CHANNELS):
        weights[f"lin{number}.model.1.weight"] = torch.rand(1, channels, 1, 1)
    save_file(weights, path)
    return path


def _with_preparation(folder: Path) -> Path:
    stated = {
        "size": {"shortest_edge": _SIDE},
        "crop_size": {"height": _SIDE, "width": _SIDE},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    return folder


def add_training_images(workspace: Workspace, pictures: Mapping[str, np.ndarray]) -> Manifest:
    """Write images, their manifest, and into the release that it was trained on them."""
    items = []
    for asset_id, pixels in sorted(pictures.items()):
        data = png_of(pixels)
        path = f"projects/{PROJECT}/files/images/{asset_id}.png"
        target = workspace.data_root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        items.append(item(asset_id, path=path, sha256=hashlib.sha256(data).hexdigest()))
    record = replace(manifest(*items), project_id=PROJECT)
    lora = workspace.records.read(Lora, SCOPE, LORA)
    [release] = lora.record.releases
    training = {**release.training, "datasetId": record.id, "manifestHash": record.content_hash}
    changes = Changes(workspace)
    changes.create(record, SCOPE, record.id)
    changes.update(lora, replace(lora.record, releases=(replace(release, training=training),)))
    changes.apply()
    return record
