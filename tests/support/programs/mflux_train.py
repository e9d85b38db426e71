"""A stand-in for mflux-train 0.16 to 0.24, with only the standard library.

It checks its configuration as the original does (unknown keys of ``training_loop`` and
``optimizer`` are a TypeError, all others are ignored), draws bars without label or loss, and
leaves zips of the original's form. ``fail-with`` beside the program holds one word that makes it
fail as the original was seen to fail.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import random
import struct
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Alias: prefix of saved keys, blocks by the beginning of a path, modules that stand alone.
_Z = ("diffusion_model", {"layers": 30}, ("cap_embedder.1", "all_final_layer.2-1.linear"))
_SMALL = ("transformer", {"transformer_blocks": 5, "single_transformer_blocks": 20}, ())
_LARGE = ("transformer", {"transformer_blocks": 8, "single_transformer_blocks": 24}, ())
_E = ("transformer", {"layers": 36}, ("text_proj",))
_K = ("transformer", {"blocks": 28}, ())
MODELS: dict[str, tuple[str, dict[str, int], tuple[str, ...]]] = {
    "z-image": _Z, "z-image-turbo": _Z, "flux2-klein-base-4b": _SMALL,
    "flux2-klein-4b": _SMALL, "flux2-klein-base-9b": _LARGE, "flux2-klein-9b": _LARGE,
    "ernie-image": _E, "ernie-image-turbo": _E, "krea-2": _K, "krea-2-raw": _K,
}  # fmt: skip
LEAVES = frozenset(
    ["to_q", "to_k", "to_v", "to_out", "0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out",
     "linear_in", "linear_out", "to_qkv_mlp_proj", "w1", "w2", "w3", "gate_proj", "up_proj",
     "linear_fc2", "wq", "wk", "wv", "wo", "gate", "up", "down", "1", "linear", "text_proj"]
)  # fmt: skip
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass
class TrainingLoopSpec:
    num_epochs: int
    batch_size: int
    timestep_low: int = 0
    timestep_high: int | None = None
    timestep_type: str | None = None


@dataclass
class OptimizerSpec:
    name: str
    learning_rate: float
    lr_schedule: str | None = None
    lr_warmup_steps: int = 0
    lr_total_steps: int | None = None
    optimizer_params: dict[str, Any] = field(default_factory=dict)
    max_grad_norm: float | None = None
    gradient_accumulation_steps: int = 1


@dataclass
class OldOptimizerSpec:
    name: str
    learning_rate: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="mflux-train")
    parser.add_argument("--config")
    parser.add_argument("--resume")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    if given.config is None or not Path(given.config).is_file():
        parser.error(f"Config file not found: {given.config}")
    config = json.loads(Path(given.config).read_text(encoding="utf-8"))
    loop, items = _checked(config)
    total = math.ceil(len(items) / loop.batch_size) * loop.num_epochs
    if given.dry_run:
        print("Training config validated.")
        return
    output = _output(Path(config["checkpoint"]["output_path"]).expanduser())
    mode = _mode()
    if mode == "out-of-memory":
        raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")
    _require_model(config)
    _run(config, output, items, total, mode)


def _mode() -> str:
    path = Path(sys.argv[0]).resolve().parent / "fail-with"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _version() -> tuple[int, int]:
    major, minor, *_ = importlib.metadata.version("mflux").split(".")
    return int(major), int(minor)


def _checked(config: dict[str, Any]) -> tuple[TrainingLoopSpec, list[Path]]:
    for name in ("steps", "data", "seed", "model"):
        config[name]  # a KeyError, as in the original
    loop = TrainingLoopSpec(**config["training_loop"])
    spec = OptimizerSpec if _version() >= (0, 24) else OldOptimizerSpec
    optimizer = spec(**config["optimizer"])
    if optimizer.name not in {"Adam", "AdamW", "Adafactor", "Lion"}:
        raise ValueError(f"'{optimizer.name}' is not a valid optimizer")
    if getattr(optimizer, "lr_schedule", None) == "cosine":
        assert isinstance(optimizer, OptimizerSpec)
        assert optimizer.lr_total_steps, "cosine needs lr_total_steps"
    if int(config["checkpoint"]["save_frequency"]) <= 0:
        raise ValueError("Checkpoint save_frequency must be > 0")
    monitoring = config.get("monitoring")
    if monitoring is not None:
        for name in ("plot_frequency", "generate_image_frequency"):
            if int(monitoring[name]) <= 0:
                raise ValueError(f"Monitoring {name} must be > 0")
    if "targets" not in (config.get("lora_layers") or {}):
        raise ValueError("Config must include lora_layers.targets[]")
    return loop, _data(Path(config["data"]))


def _data(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"data path must be an existing directory: {folder}")
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not images:
        raise ValueError(f"No image files found in data directory: {folder}")
    for path in images:
        if not path.with_suffix(".txt").is_file():
            wanted = path.with_suffix(".txt").name
            raise ValueError(f"Missing prompt file for image '{path.name}'. Expected '{wanted}'")
    return images


def _output(path: Path) -> Path:
    if path.exists():
        path = path.with_name(f"{path.name}_{time.strftime('%Y%m%d_%H%M%S')}")
    path.mkdir(parents=True)
    return path


def _require_model(config: dict[str, Any]) -> None:
    if config["model"] not in MODELS:
        raise ValueError("Flux1 training is no longer supported.")
    if not Path(config["model_path"]).is_dir():
        raise FileNotFoundError(config["model_path"])
    assert os.environ.get("HF_HUB_OFFLINE") == "1", "the run may reach the network"
    _, blocks, single = MODELS[config["model"]]
    for target in config["lora_layers"]["targets"]:
        path = target["module_path"]
        if path.rpartition(".")[2] not in LEAVES:
            raise ValueError(f"No module at {path}")
        ends = target.get("blocks")
        if ends is None:
            if path not in single:
                raise ValueError(f"No module at {path}")
        elif ends["end"] > blocks[path.partition(".")[0]]:
            raise IndexError(f"list index out of range: {path}")


def _run(config: dict[str, Any], output: Path, items: list[Path], total: int, mode: str) -> None:
    losses: list[dict[str, Any]] = []
    if config.get("monitoring") is not None:
        _preview(config, output, 0, items)
        _save(config, output, 0, items, losses, mode)
    for step in range(1, total + 1):
        _bar(step, total)
        if config.get("monitoring") is not None:
            losses.append({"step": step, "loss": 1.1 - 0.5 * step / total, "time": "00:00"})
            if step % config["monitoring"]["generate_image_frequency"] == 0:
                _preview(config, output, step, items)
        if step % config["checkpoint"]["save_frequency"] == 0:
            _save(config, output, step, items, losses, mode)
        if mode == "stopped" and step == 2:
            print("Training stopped.")
            return
        while mode == "hang" and step == 2:
            time.sleep(0.05)
    _save(config, output, total, items, losses, mode)


def _preview(config: dict[str, Any], output: Path, step: int, items: list[Path]) -> None:
    for one in range(1, config["steps"] + 1):
        _bar(one, config["steps"])
    folder = output / "preview"
    folder.mkdir(exist_ok=True)
    (folder / f"{step:07d}_preview_image_{items[0].stem}.png").write_bytes(b"")


def _bar(step: int, total: int) -> None:
    percent = 100 * step // total
    blocks = ("█" * (percent // 10)).ljust(10)
    sys.stderr.write(f"\r{percent:3d}%|{blocks}| {step}/{total} [00:00<?, ?it/s]")
    sys.stderr.flush()


def _save(
    config: dict[str, Any],
    output: Path,
    step: int,
    items: list[Path],
    losses: list[dict[str, Any]],
    mode: str,
) -> None:
    folder = output / "checkpoints"
    folder.mkdir(exist_ok=True)
    files = {
        "config": f"{step:07d}_config.json",
        "optimizer": f"{step:07d}_optimizer.safetensors",
        "lora_adapter": f"{step:07d}_adapter.safetensors",
        "iterator": f"{step:07d}_iterator.json",
        "loss": f"{step:07d}_loss.json",
    }
    checkpoint = {"metadata": {"number_of_training_data": len(items)}, "files": files}
    path = folder / f"{step:07d}_checkpoint.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(files["optimizer"], b"")
        archive.writestr(files["lora_adapter"], _adapter(config, mode))
        archive.writestr(files["loss"], json.dumps({"step_loss": losses, "batch_loss": []}))
        archive.writestr(files["config"], json.dumps(config, indent=4))
        archive.writestr("checkpoint.json", json.dumps(checkpoint, indent=4))
        archive.writestr("run.json", json.dumps({"version": 1, "model": config["model"]}))
    if mode == "cut-off" and step:
        path.write_bytes(path.read_bytes()[:-200])


def _adapter(config: dict[str, Any], mode: str) -> bytes:
    chance = random.Random(config["seed"])
    prefix = MODELS[config["model"]][0]
    header: dict[str, Any] = {
        "__metadata__": {
            "mflux_version": importlib.metadata.version("mflux"),
            "model": config["model"],
        }
    }
    body = b""
    for target in config["lora_layers"]["targets"]:
        path, rank = target["module_path"].replace("{block}", "0"), target["rank"]
        for name, shape in (("lora_A", [rank, 8]), ("lora_B", [8, rank])):
            values = [chance.gauss(0, 0.01) for _ in range(shape[0] * shape[1])]
            if mode == "untrained" and name == "lora_B":
                values = [0.0] * len(values)
            data = struct.pack(f"<{len(values)}f", *values)
            header[f"{prefix}.{path}.{name}.weight"] = {
                "dtype": "F32", "shape": shape,
                "data_offsets": [len(body), len(body) + len(data)],
            }  # fmt: skip
            body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


if __name__ == "__main__":
    main()
