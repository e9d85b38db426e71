"""A stand-in for mflux's programs that draw, with only the standard library.

It takes the arguments of the original, prints its words about a LoRA, and ends with 0 where the
original does. ``fail-with`` beside the program holds one word that makes it fail as the original
was read to fail.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import struct
import sys
import zlib
from pathlib import Path


def main() -> int:
    """Draw noise that follows from the arguments."""
    parser = argparse.ArgumentParser()
    for name in ("--model", "--base-model", "--prompt-file", "--output", "--negative-prompt"):
        parser.add_argument(name, default="")
    for name in ("--seed", "--steps", "--width", "--height", "--quantize"):
        parser.add_argument(name, type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--lora", nargs="+", action="append", default=None)
    args = parser.parse_args()
    mode = _mode()
    if not Path(args.model).is_dir() or os.environ.get("HF_HUB_OFFLINE") != "1":
        print("huggingface_hub.errors.LocalEntryNotFoundError: nothing here", file=sys.stderr)
        return 1
    applied = [_applied(Path(path), float(scale), mode) for path, scale in args.lora or ()]
    if mode == "only_one_lora":
        applied = applied[:1]
    if mode == "traceback":
        print("Traceback (most recent call last):\nRuntimeError: [metal::malloc]", file=sys.stderr)
        return 1
    width, height = args.width, args.height
    words = json.dumps([
        Path(args.prompt_file).read_text(encoding="utf-8"), args.negative_prompt, args.seed,
        args.steps, args.guidance, args.base_model, args.quantize,
    ])  # fmt: skip
    if args.lora and mode == "wrong_size":
        height //= 2
    size = width * height * 3
    mixed: list[float] = list(_noise(words.encode(), size))
    for weights, strength in applied:
        other = _noise(words.encode() + weights, size)
        mixed = [
            one * (1 - strength / 4) + two * strength / 4
            for one, two in zip(mixed, other, strict=True)
        ]
    pixels = bytes(map(int, mixed))
    if args.lora and mode == "black":
        pixels = bytes(size)
    if args.lora and mode == "disk_full":
        print("Error saving image: [Errno 28] No space left on device")
        return 0
    Path(args.output.format(seed=args.seed)).write_bytes(_png(width, height, pixels))
    return 0


def _applied(path: Path, scale: float, mode: str) -> tuple[bytes, float]:
    if not path.exists() or mode == "not_found":
        print(f"❌ LoRA file not found: {path}")
        return b"", 0.0
    print(f"🔧 Applying LoRA: {path.name} (scale={scale})")
    if mode == "unreadable":
        print("❌ Failed to load LoRA file: [load_safetensors] Invalid json header")
        print("✅ All LoRA weights applied successfully")
        return b"", 0.0
    total = 6
    matched = {"half_matched": 3, "none_matched": 0}.get(mode, total)
    print(f"   ✅ Applied to {matched // 2} layers ({matched}/{total} keys matched)")
    print("✅ All LoRA weights applied successfully")
    digest = hashlib.sha256(path.read_bytes()).digest()
    return digest, 0.0 if mode == "no_effect" else scale * matched / total


def _noise(words: bytes, size: int) -> bytes:
    return random.Random(hashlib.sha256(words).digest()).randbytes(size)


def _png(width: int, height: int, pixels: bytes) -> bytes:
    rows = b"".join(
        b"\0" + pixels[row * width * 3 : (row + 1) * width * 3] for row in range(height)
    )
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in parts:
        check = struct.pack(">I", zlib.crc32(kind + content))
        data += struct.pack(">I", len(content)) + kind + content + check
    return data


def _mode() -> str:
    path = Path(sys.argv[0]).with_name("fail-with")
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
