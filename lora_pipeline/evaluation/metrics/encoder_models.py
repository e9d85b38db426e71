"""The models that look at pictures. Imports torch, so only the child imports this.

They are read from this machine alone: weights from safetensors, but for the copy descriptor,
which its authors publish as TorchScript. That is a program of tensor operations, which torch
runs without Python and without unpickling objects of it.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from lora_pipeline.evaluation.metrics.lpips_distance import Lpips
from lora_pipeline.evaluation.pixels import read_pixels
from lora_pipeline.training.diffusion.devices import fastest_device

File = tuple[Path, int, int]
Vectors = npt.NDArray[np.float32]
_BATCH = 16
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_COPY_SIDE = 288  # what the authors of SSCD recommend for the shorter side
_LPIPS_SIDES = (64, 256)  # shorter sides that LPIPS is taken at
_REMEMBERED = 8  # pictures whose features are kept
# Of transformers, by the type that a folder states.
_SELF_TAUGHT = {
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "vit": "ViTModel",
}


class Model:
    """A model; what it cannot be asked, it refuses.

    Attributes:
        name: Its kind.
        size: Numbers of a vector; 0 when it gives none.
        device: Where it runs.
    """

    name: str
    size: int
    device: str

    def images(self, files: Sequence[File], *, mirrored: bool) -> Vectors:  # noqa: ARG002
        """Return one vector for each picture."""
        raise ValueError(f"{self.name} gives pictures no vectors")

    def texts(self, texts: Sequence[str]) -> Vectors:  # noqa: ARG002
        """Return one vector for each text."""
        raise ValueError(f"{self.name} reads no text")

    def distance(self, first: File, second: File) -> float:  # noqa: ARG002
        """Return how far two pictures are apart."""
        raise ValueError(f"{self.name} measures no distance")


def load(kind: str, path: Path, device: str, threads: int) -> Model:
    """Return a model of one kind.

    Raises:
        ValueError: When what stands there is none of that kind.
        OSError, RuntimeError: When it cannot be read.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    kinds: dict[str, Callable[[Path, str], Model]] = {
        "clip": Clip, "dino": SelfTaught, "lpips": Perceptual, "copies": CopyDescriptor,
    }  # fmt: skip
    return kinds[kind](path, fastest_device() if device == "auto" else device)


def versions(device: str) -> str:
    """Return the libraries that run them, and where."""
    named = ("torch", "transformers", "pillow")
    found = [f"{name} {importlib.metadata.version(name)}" for name in named if _is_there(name)]
    return " · ".join([*found, device])


class Clip(Model):
    """CLIP: pictures and texts in one space."""

    def __init__(self, path: Path, device: str) -> None:
        import transformers

        _require_type(path, {"clip"}, "CLIP")
        self._model = _read(transformers.CLIPModel, path, device)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False
        )
        self._prepare = _Preparation.of(path)
        self.name, self.device = "clip", device
        self.size = int(self._model.config.projection_dim)

    def images(self, files: Sequence[File], *, mirrored: bool) -> Vectors:
        """Return the projected vectors of pictures."""

        def encode(pixels: torch.Tensor) -> Any:
            seen = self._model.vision_model(pixel_values=pixels).pooler_output
            return self._model.visual_projection(seen)

        return _encoded(files, self._prepare, encode, self.device, mirrored=mirrored)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Return the projected vectors of texts; what is too long is cut off."""
        longest = int(self._model.config.text_config.max_position_embeddings)
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            read = self._model.text_model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
            return _array(self._model.text_projection(read))


class SelfTaught(Model):
    """DINO, DINOv2: what a picture shows, learnt without words. The class token is taken."""

    def __init__(self, path: Path, device: str) -> None:
        import transformers

        stated = _require_type(path, set(_SELF_TAUGHT), "DINOv2")
        self._model = _read(getattr(transformers, _SELF_TAUGHT[stated]), path, device)
        self._prepare = _Preparation.of(path)
        self.name, self.device = stated, device
        self.size = int(self._model.config.hidden_size)

    def images(self, files: Sequence[File], *, mirrored: bool) -> Vectors:
        """Return the class tokens of pictures."""

        def encode(pixels: torch.Tensor) -> Any:
            return self._model(pixel_values=pixels).last_hidden_state[:, 0]

        return _encoded(files, self._prepare, encode, self.device, mirrored=mirrored)


class CopyDescriptor(Model):
    """SSCD, or another descriptor of copies, as TorchScript."""

    def __init__(self, path: Path, device: str) -> None:
        if not path.is_file():
            raise ValueError(f"{path.name} is no TorchScript file")
        self._model = torch.jit.load(io.BytesIO(path.read_bytes()), map_location=device).eval()
        self._prepare = _Preparation(_COPY_SIDE, None, *_IMAGENET, Image.Resampling.BILINEAR)
        self.name, self.device = "copy descriptor", device
        with torch.inference_mode():
            tried = self._model(torch.zeros(1, 3, _COPY_SIDE, _COPY_SIDE, device=device))
        if not isinstance(tried, torch.Tensor) or tried.ndim != 2 or len(tried) != 1:
            raise ValueError(f"{path.name} gives no vector for a picture")
        self.size = int(tried.shape[1])

    def images(self, files: Sequence[File], *, mirrored: bool) -> Vectors:
        """Return the descriptors of pictures."""
        # Sides differ, so each picture is a batch of its own.
        prepare, device = self._prepare, self.device
        rows = [_encoded([file], prepare, self._model, device, mirrored=mirrored) for file in files]
        return _joined(rows)


class Perceptual(Model):
    """LPIPS with AlexNet."""

    def __init__(self, path: Path, device: str) -> None:
        if path.suffix != ".safetensors":
            raise ValueError(f"{path.name} is no safetensors file")
        self._lpips = Lpips(path, device)
        self.name, self.size, self.device = "lpips alex 0.1", 0, device
        self._features: OrderedDict[File, list[torch.Tensor]] = OrderedDict()

    def distance(self, first: File, second: File) -> float:
        """Return how far two pictures are apart."""
        with torch.inference_mode():
            return self._lpips.distance(self._seen(first), self._seen(second))

    def _seen(self, file: File) -> list[torch.Tensor]:
        if file not in self._features:
            image = _picture(file)
            smallest, largest = _LPIPS_SIDES
            side = min(max(min(image.size), smallest), largest)
            pixels = _pixels(_resized(image, side, Image.Resampling.BICUBIC)) * 2 - 1
            self._features[file] = self._lpips.features(pixels.to(self.device)[None])
            while len(self._features) > _REMEMBERED:
                self._features.popitem(last=False)
        self._features.move_to_end(file)
        return self._features[file]


class _Preparation:
    """How a picture is brought to the form that a model was taught with."""

    def __init__(
        self,
        side: int,
        crop: tuple[int, int] | None,
        mean: Sequence[float],
        deviation: Sequence[float],
        resample: Image.Resampling,
    ) -> None:
        self._side, self._crop, self._resample = side, crop, resample
        self._mean = torch.tensor(list(mean)).view(3, 1, 1)
        self._deviation = torch.tensor(list(deviation)).view(3, 1, 1)

    @classmethod
    def of(cls, folder: Path) -> _Preparation:
        stated = _stated_preparation(folder)
        side = stated["size"]
        crop = stated.get("crop_size", side)
        if isinstance(side, dict):
            side = side["shortest_edge"] if "shortest_edge" in side else side["height"]
        if isinstance(crop, dict):
            crop = (crop.get("height", side), crop.get("width", side))
        sides = (crop, crop) if isinstance(crop, int) else (int(crop[0]), int(crop[1]))
        return cls(
            int(side),
            sides if stated.get("do_center_crop", True) else None,
            stated["image_mean"],
            stated["image_std"],
            Image.Resampling(stated.get("resample", Image.Resampling.BICUBIC)),
        )

    def __call__(self, image: Image.Image) -> torch.Tensor:
        ready = _resized(image, self._side, self._resample)
        if self._crop is not None:
            height, width = self._crop
            left, top = (ready.width - width) // 2, (ready.height - height) // 2
            ready = ready.crop((left, top, left + width, top + height))
        return (_pixels(ready) - self._mean) / self._deviation


def _stated_preparation(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            stated = json.loads((folder / name).read_text(encoding="utf-8"))
            found: dict[str, Any] = stated.get("image_processor", stated)
            if {"size", "image_mean", "image_std"} <= set(found):
                return found
    raise ValueError(f"{folder.name} has no preprocessor_config.json that says how pictures go in")


def _require_type(folder: Path, types: set[str], name: str) -> str:
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"{folder.name} is no folder of a model: it has no config.json")
    stated = str(json.loads(config.read_text(encoding="utf-8")).get("model_type", ""))
    if stated not in types:
        raise ValueError(f"{folder.name} is no {name} model: it states the type {stated!r}")
    return stated


def _read(kind: Any, folder: Path, device: str) -> Any:
    model = kind.from_pretrained(
        str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    return model.to(device=device, dtype=torch.float32).eval()


def _encoded(
    files: Sequence[File],
    prepare: _Preparation,
    encode: Callable[[torch.Tensor], Any],
    device: str,
    *,
    mirrored: bool,
) -> Vectors:
    rows = []
    for batch in _batches(files):
        pictures = [_picture(file) for file in batch]
        if mirrored:
            pictures = [one.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for one in pictures]
        pixels = torch.stack([prepare(one) for one in pictures]).to(device)
        with torch.inference_mode():
            rows.append(_array(encode(pixels)))
    return _joined(rows)


def _joined(rows: Sequence[Vectors]) -> Vectors:
    return np.concatenate(rows).astype(np.float32)


def _batches(files: Sequence[File]) -> Iterator[Sequence[File]]:
    for start in range(0, len(files), _BATCH):
        yield files[start : start + _BATCH]


def _picture(file: File) -> Image.Image:
    path, width, height = file
    return Image.fromarray(read_pixels(path, width=width, height=height))


def _resized(image: Image.Image, side: int, resample: Image.Resampling) -> Image.Image:
    scale = side / min(image.size)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    return image if size == image.size else image.resize(size, resample)


def _pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 255


def _array(vectors: torch.Tensor) -> Vectors:
    found: Vectors = functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return found


def _is_there(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
