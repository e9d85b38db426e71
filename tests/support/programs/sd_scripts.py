"""A stand-in for the training scripts of sd-scripts 0.10; copied into a checkout and run there.

Only the standard library. It reads its configuration as strictly as the original does and
ignores what the original ignores, prints the original's lines, and writes LoRA files of the
original's format with real (small) tensors. ``fail-with`` beside it holds one word that makes it
fail as the original was seen to fail.
"""

# ruff: noqa: RUF001, T201

from __future__ import annotations

import argparse
import json
import math
import os
import random
import struct
import sys
import time
import tomllib
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
SCRIPTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "train_network.py": ("networks.lora", (), "sd_v1"),
    "sdxl_train_network.py": ("networks.lora", (), "sdxl_base_v1-0"),
    "sd3_train_network.py": ("networks.lora_sd3", (), "sd3"),
    "flux_train_network.py": ("networks.lora_flux", ("t5xxl", "ae"), "flux1"),
    "lumina_train_network.py": ("networks.lora_lumina", ("gemma2", "ae"), "lumina2"),
    "hunyuan_image_train_network.py": (
        "networks.lora_hunyuan_image", ("text_encoder", "byt5", "vae"), "hunyuan-image-2.1",
    ),
    "anima_train_network.py": ("networks.lora_anima", ("qwen3", "vae"), "anima"),
}  # fmt: skip
TOKENIZERS = {
    "train_network.py": ("openai_clip-vit-large-patch14",),
    "sdxl_train_network.py": (
        "openai_clip-vit-large-patch14", "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k",
    ),
}  # fmt: skip
WIDE: dict[str, Any] = {
    "num_repeats": int, "shuffle_caption": bool, "keep_tokens": int, "flip_aug": bool,
    "color_aug": bool, "random_crop": bool, "caption_prefix": str, "caption_suffix": str,
    "caption_dropout_rate": (int, float), "caption_extension": str, "class_tokens": str,
    "cache_info": bool, "enable_wildcard": bool,
}  # fmt: skip
DATASET: dict[str, Any] = {
    "batch_size": int, "bucket_no_upscale": bool, "bucket_reso_steps": int,
    "enable_bucket": bool, "max_bucket_reso": int, "min_bucket_reso": int,
    "resolution": (int, list), "validation_seed": int, "validation_split": float,
}  # fmt: skip
UNET_MODULES = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": (320, 320),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0": (320, 320),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320),
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v": (768, 1280),
}
TEXT_MODULES = {"lora_te_text_model_encoder_layers_0_self_attn_q_proj": (768, 768)}


def main() -> None:
    script = Path(__file__).name
    mode = _mode()
    arguments = _arguments()
    _check_options(script, arguments)
    config = _dataset_config(Path(arguments.dataset_config))
    images = _images(config)
    print(
        f"  num train images * repeats / 学習画像の数×繰り返し回数: {sum(r for _, _, r in images)}"
    )
    if not images:
        print(
            "No data found. Please verify arguments (train_data_dir must be the parent of "
            "folders with images) / 画像がありません。"
        )
        return
    _check_images(images)
    _tokenizers(script, arguments)
    _bar("", 3, 3, "")  # caching latents draws a bar without a label
    _fail_early(mode)
    _train(script, arguments, config, images, mode)


def _mode() -> str:
    path = HERE / "fail-with"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in (
        "config_file",
        "pretrained_model_name_or_path",
        "output_dir",
        "output_name",
        "network_module",
        "dataset_config",
        "tokenizer_cache_dir",
        "sample_prompts",
        "training_comment",
        "optimizer_type",
        "lr_scheduler",
        "save_model_as",
        "clip_l",
        "t5xxl",
        "ae",
        "gemma2",
        "text_encoder",
        "byt5",
        "vae",
        "qwen3",
    ):
        parser.add_argument(f"--{name}")  # fmt: skip
    for name in (
        "network_dim",
        "max_train_steps",
        "save_every_n_steps",
        "sample_every_n_steps",
        "train_batch_size",
        "gradient_accumulation_steps",
        "seed",
        "lr_warmup_steps",
    ):
        parser.add_argument(f"--{name}", type=int)  # fmt: skip
    parser.add_argument("--network_alpha", type=float)
    parser.add_argument("--clip_skip", type=int)
    parser.add_argument("--mixed_precision", default="no")
    parser.add_argument("--network_args", nargs="*")
    parser.add_argument("--optimizer_args", nargs="*")
    for name in ("network_train_unet_only", "cache_text_encoder_outputs", "cache_latents"):
        parser.add_argument(f"--{name}", action="store_true")
    first = parser.parse_args()
    path = Path(first.config_file)
    path = path if path.suffix == ".toml" else path.with_name(path.name + ".toml")
    if not path.is_file():
        print(f"{path} not found.")
        sys.exit(1)
    print(f"Loading settings from {path}...")
    flat: dict[str, Any] = {}
    for key, value in tomllib.loads(path.read_text(encoding="utf-8")).items():
        flat |= value if isinstance(value, dict) else {key: value}
    return parser.parse_args(namespace=argparse.Namespace(**flat))


def _check_options(script: str, options: argparse.Namespace) -> None:
    module, required, _ = SCRIPTS[script]
    assert options.network_module == module, f"{script} wants {module}"
    model = Path(options.pretrained_model_name_or_path)
    if not model.exists():
        raise OSError(f"Error no file named model_index.json found in directory {model}.")
    for name in required:
        value = getattr(options, name)
        assert value is not None, f"{name} is required"
        assert Path(value).is_file(), f"no file {value}"
    if options.lr_scheduler == "constant" and options.lr_warmup_steps:
        raise ValueError("constant does not require `num_warmup_steps`. Set None or 0.")
    if options.optimizer_type.lower().endswith("8bit"):
        raise ImportError("No bitsandbytes / bitsandbytesがインストールされていないようです")
    on_cpu = os.environ.get("ACCELERATE_USE_CPU") == "true"
    if options.mixed_precision == "fp16" and on_cpu:
        raise ValueError("fp16 mixed precision requires a GPU (not 'cpu').")
    assert options.network_alpha is not None, "alpha was left to the default of 1"
    assert os.environ.get("HF_HUB_OFFLINE") == "1", "the run may reach the network"


def _dataset_config(path: Path) -> dict[str, Any]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    _closed(document.get("general", {}), DATASET | WIDE, "data['general']")
    for number, dataset in enumerate(document["datasets"]):
        where = f"data['datasets'][{number}]"
        own = {key: value for key, value in dataset.items() if key != "subsets"}
        _closed(own, DATASET | WIDE, where)
        assert "resolution" in dataset, "resolution is required"
        for index, subset in enumerate(dataset["subsets"]):
            place = f"{where}['subsets'][{index}]"
            listed = "metadata_file" in subset
            extra = {"image_dir": str, **({"metadata_file": str} if listed else {"is_reg": bool})}
            _closed(subset, WIDE | extra, place)
            if "image_dir" not in subset:
                raise _InvalidConfigError(f"required key not provided @ {place}['image_dir']")
        _check_buckets(dataset)
    return document


class _InvalidConfigError(Exception):
    """Printed as voluptuous prints it."""


_InvalidConfigError.__name__ = _InvalidConfigError.__qualname__ = "MultipleInvalid"
_InvalidConfigError.__module__ = "voluptuous.error"


def _closed(given: dict[str, Any], known: dict[str, Any], where: str) -> None:
    for key, value in given.items():
        if key not in known:
            raise _InvalidConfigError(f"extra keys not allowed @ {where}['{key}']")
        wanted = known[key]
        right = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if not right:
            raise _InvalidConfigError(f"expected {wanted} @ {where}['{key}']")


def _check_buckets(dataset: dict[str, Any]) -> None:
    resolution = dataset["resolution"]
    sides = [resolution] * 2 if isinstance(resolution, int) else resolution
    if not dataset.get("enable_bucket"):
        return
    steps = dataset.get("bucket_reso_steps", 64)
    low, high = dataset.get("min_bucket_reso", 256), dataset.get("max_bucket_reso", 1024)
    assert min(sides) >= low, "min_bucket_reso must be equal or less than resolution"
    assert max(sides) <= high, "max_bucket_reso must be equal or greater than resolution"
    assert low % steps == 0, "min_bucket_reso must be divisible by bucket_reso_steps"
    assert high % steps == 0, "max_bucket_reso must be divisible by bucket_reso_steps"
    assert steps % 64 == 0, "bucket_reso_steps must be divisible by 64"


def _images(config: dict[str, Any]) -> list[tuple[Path, str, int]]:
    found: list[tuple[Path, str, int]] = []
    general = config.get("general", {})
    for dataset in config["datasets"]:
        for subset in dataset["subsets"]:
            merged = {**general, **dataset, **subset}
            repeats = merged.get("num_repeats", 1)
            if "metadata_file" in subset:
                listed = json.loads(Path(subset["metadata_file"]).read_text(encoding="utf-8"))
                for name, about in listed.items():
                    assert Path(name).is_file(), f"no image / 画像がありません: {name}"
                    found.append((Path(name), about["caption"], repeats))
            else:
                found += _beside(merged, repeats)
    return found


def _beside(subset: dict[str, Any], repeats: int) -> list[tuple[Path, str, int]]:
    folder = Path(subset["image_dir"])
    if not folder.is_dir():
        print(f"WARNING    not directory: {folder}")
        return []
    names = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".webp"})
    extension = subset.get("caption_extension", ".caption")
    found = []
    for path in names:
        beside = path.with_suffix(extension)
        caption = subset.get("class_tokens", "")
        if beside.is_file():
            lines = beside.read_text(encoding="utf-8").splitlines()
            assert lines, f"caption file is empty / キャプションファイルが空です: {beside}"
            caption = lines[0].strip()
        else:
            print(f"WARNING    No caption file found for {path.name}")
        found.append((path, caption, repeats))
    return found


def _check_images(images: list[tuple[Path, str, int]]) -> None:
    for path, _, _ in images:
        if path.read_bytes()[:8] != b"\x89PNG\r\n\x1a\n":
            print("  File library/train_util.py, in make_buckets")
            raise ZeroDivisionError("division by zero")


def _tokenizers(script: str, options: argparse.Namespace) -> None:
    for name in TOKENIZERS.get(script, ()):
        cache = options.tokenizer_cache_dir
        if cache is None or not (Path(cache) / name).is_dir():
            raise OSError(
                f"Can't load tokenizer for '{name.replace('_', '/', 1)}'. If you were trying to "
                "load it from 'https://huggingface.co/models', make sure you don't have a local "
                "directory with the same name."
            )


def _fail_early(mode: str) -> None:
    if mode == "out-of-memory":
        raise _OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if mode == "silent":
        sys.exit(0)


class _OutOfMemoryError(RuntimeError):
    """Printed as torch prints it."""


_OutOfMemoryError.__name__ = _OutOfMemoryError.__qualname__ = "OutOfMemoryError"
_OutOfMemoryError.__module__ = "torch"


def _train(
    script: str,
    options: argparse.Namespace,
    config: dict[str, Any],
    images: list[tuple[Path, str, int]],
    mode: str,
) -> None:
    total, batch = options.max_train_steps, config["datasets"][0].get("batch_size", 1)
    batches = math.ceil(sum(repeats for _, _, repeats in images) / batch)
    epochs = math.ceil(total / math.ceil(batches / options.gradient_accumulation_steps))
    print(f"  num batches per epoch / 1epochのバッチ数: {batches}")
    print(f"  num epochs / epoch数: {epochs}")
    print(f"  total optimization steps / 学習ステップ数: {total}", flush=True)
    output = Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    alive = _alive(output / "alive") if mode == "hang" else None
    _bar("steps:", 0, total, "")
    for step in range(1, total + 1):
        loss = "nan" if mode == "nan" else f"{1.2 - 0.9 * step / total:.3g}"
        _bar("steps:", step, total, f", avr_loss={1.2 - 0.9 * (step - 1) / total:.3g}")
        _bar("steps:", step, total, f", avr_loss={loss}")
        if options.sample_every_n_steps and step % options.sample_every_n_steps == 0:
            _sample(options, step)
        if options.save_every_n_steps and step % options.save_every_n_steps == 0:
            _save(script, options, f"{options.output_name}-step{step:08d}", step, images, mode)
        while alive and step == 2:
            time.sleep(0.05)
    _save(script, options, options.output_name, total, images, mode)
    print("model saved.")


def _alive(path: Path) -> IO[bytes]:
    """Hold a lock that the operating system lets go of when this process ends."""
    import fcntl

    stream = path.open("wb")
    fcntl.flock(stream, fcntl.LOCK_EX)
    return stream


def _sample(options: argparse.Namespace, step: int) -> None:
    print(f"generating sample images at step / サンプル画像生成 ステップ: {step}")
    for one in json.loads(Path(options.sample_prompts).read_text(encoding="utf-8")):
        _bar("", 20, 20, "")
        print(f"prompt: {one['prompt']}")


def _bar(label: str, step: int, total: int, tail: str) -> None:
    percent = 100 * step // total
    blocks = ("█" * (percent // 10)).ljust(10)
    text = f"{label} {percent:3d}%|{blocks}| {step}/{total} [00:01<00:02,  1.50it/s{tail}]"
    sys.stderr.write(f"\r{text.lstrip()}")
    sys.stderr.flush()


def _save(
    script: str,
    options: argparse.Namespace,
    name: str,
    step: int,
    images: list[tuple[Path, str, int]],
    mode: str,
) -> None:
    modules = dict(UNET_MODULES) | ({} if options.network_train_unet_only else TEXT_MODULES)
    chance, rank = random.Random(options.seed), options.network_dim
    tensors: dict[str, tuple[list[int], list[float]]] = {}
    for module, (wide, high) in modules.items():
        up = [0.0 if mode == "untrained" else chance.gauss(0, 0.01) for _ in range(rank * high)]
        down = [chance.gauss(0, 0.05) for _ in range(rank * wide)]
        tensors[f"{module}.alpha"] = ([], [options.network_alpha])
        tensors[f"{module}.lora_down.weight"] = ([rank, wide], down)
        tensors[f"{module}.lora_up.weight"] = ([high, rank], up)
    if mode == "nan":
        tensors[f"{next(iter(modules))}.lora_up.weight"][1][0] = math.nan
    counts: dict[str, int] = {}
    for _, caption, _ in images:
        counts[caption] = counts.get(caption, 0) + 1
    metadata = {
        "ss_output_name": options.output_name,
        "ss_base_model_version": SCRIPTS[script][2],
        "ss_network_module": options.network_module,
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(options.network_alpha),
        "ss_steps": str(step),
        "ss_max_train_steps": str(options.max_train_steps),
        "ss_seed": str(options.seed),
        "ss_tag_frequency": json.dumps({"img": counts}, ensure_ascii=False),
        "ss_training_comment": options.training_comment,
        "modelspec.architecture": "stable-diffusion-v1/lora",
    }
    path = Path(options.output_dir) / f"{name}.safetensors"
    print(f"\nsaving checkpoint: {path}")
    path.write_bytes(_safetensors(tensors, metadata))


def _safetensors(
    tensors: dict[str, tuple[list[int], list[float]]], metadata: dict[str, str]
) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata}
    body = b""
    for name, (shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}e", *values)
        header[name] = {
            "dtype": "F16", "shape": shape, "data_offsets": [len(body), len(body) + len(data)],
        }  # fmt: skip
        body += data
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


if __name__ == "__main__":
    main()
