"""A training program that misbehaves: started in place of each trainer's own.

    python misbehaving_program.py MODE LAYOUT TARGET

``LAYOUT`` is how the trainer's own program leaves its weights: ``file`` at ``TARGET``, or ``zip``,
the archive of mflux at ``TARGET``. It uses the standard library alone and starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

MODULE = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
SIZE, RANK = 8, 2
SECRET = "hf_" + "Another0Secret1Of2Ours"

# What the file holds instead of sound weights -> rules of which one must be named.
BAD_BYTES: dict[str, tuple[str, ...]] = {
    "empty": ("empty",),
    "cut_off": ("truncated",),
    "half": ("truncated",),
    "nan": ("not_finite",),
    "infinite": ("not_finite",),
    "huge_values": ("too_large",),
    "untrained": ("all_zero",),
    "two_ranks": ("pair_broken",),
    "half_a_pair": ("pair_broken",),
    "alpha_nan": ("alpha_invalid",),
    "integers": ("pair_broken",),
    "other_model": ("modules_missing",),
    "other_size": ("modules_resized",),
    "whole_model": ("whole_model",),
    "embedding": ("textual_inversion",),
    "stowaway": ("foreign_tensors",),
    "pickle": ("pickle",),
    "torch_zip": ("pickle",),
    "web_page": ("web_page",),
    "lfs_pointer": ("git_lfs_pointer",),
    "error_json": ("error_message",),
    "picture": ("other_format",),
    "huge_header": ("header_too_large",),
    "endless_header": ("truncated",),
    "many_tensors": ("too_many_tensors",),
    "no_tensors": ("no_tensors",),
    "key_twice": ("header_invalid",),
    "not_json": ("header_invalid",),
    "deep_json": ("header_invalid",),
    "tabs_behind": ("header_padded",),
    "overlap": ("tensors_overlap",),
    "more_behind": ("trailing_bytes",),
    "evil_name": ("tensor_name",),
    "noise": ("truncated", "not_safetensors"),
}


def sound(**changes: object) -> bytes:
    """Return a LoRA of one pair; ``changes`` say what is wrong with it."""
    module = str(changes.get("module", MODULE))
    size = int(str(changes.get("size", SIZE)))
    ranks = (RANK, int(str(changes.get("up_rank", RANK))))
    up = float(str(changes.get("up", 0.25)))
    kind = str(changes.get("kind", "F32"))
    tensors = {f"{module}.lora_A.weight": ("F32", [ranks[0], size], [0.5] * (ranks[0] * size))}
    if not changes.get("alone"):
        tensors[f"{module}.lora_B.weight"] = (kind, [size, ranks[1]], [up] * (size * ranks[1]))
    extra = changes.get("extra")
    if isinstance(extra, tuple):
        tensors[extra[0]] = ("F32", [1], [extra[1]])
    return packed(tensors)


def packed(tensors: dict[str, tuple[str, list[int], list[float]]]) -> bytes:
    """Return a safetensors file."""
    header, data = {}, b""
    for name, (kind, shape, values) in tensors.items():
        block = struct.pack(f"<{len(values)}f", *values)
        header[name] = {
            "dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(block)],
        }  # fmt: skip
        data += block
    return headed(json.dumps(header).encode(), data)


def headed(header: bytes, data: bytes = b"") -> bytes:
    """Return a file of any header and data."""
    return len(header).to_bytes(8, "little") + header + data


def bad_bytes(mode: str) -> bytes:  # noqa: C901, PLR0911, PLR0912, PLR0915 - a list of cases
    """Return what a program writes in one of the ways of ``BAD_BYTES``."""
    good = sound()
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    match mode:
        case "empty":
            return b""
        case "cut_off":
            return good[:-7]
        case "half":
            return good[: len(good) // 2]
        case "nan":
            return sound(up=math.nan)
        case "infinite":
            return sound(up=-math.inf)
        case "huge_values":
            return sound(up=1e30)
        case "untrained":
            return sound(up=0.0)
        case "two_ranks":
            return sound(up_rank=RANK + 1)
        case "half_a_pair":
            return sound(alone=True)
        case "alpha_nan":
            return sound(extra=(f"{MODULE}.alpha", math.nan))
        case "integers":
            return sound(kind="I32")
        case "other_model":
            return sound(module="transformer.single_transformer_blocks.0.proj_mlp")
        case "other_size":
            return sound(size=2 * SIZE)
        case "whole_model":
            return packed({"model.diffusion_model.input_blocks.0.0.weight": ("F32", [1], [1.0])})
        case "embedding":
            return packed({"emb_params": ("F32", [1], [1.0])})
        case "stowaway":
            return sound(extra=("stowaway", 1.0))
        case "pickle":
            return b"\x80\x04\x95" + good
        case "torch_zip":
            return b"PK\x03\x04" + good
        case "web_page":
            return b"<!DOCTYPE html><html>Sign in</html>"
        case "lfs_pointer":
            return b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
        case "error_json":
            return b'{"error":"quota exceeded"}'
        case "picture":
            return b"\x89PNG\r\n\x1a\n" + bytes(32)
        case "huge_header":
            return headed(b"{" + b" " * (17 * 1024 * 1024) + b"}")
        case "endless_header":
            return (2**62).to_bytes(8, "little") + b"{}"
        case "many_tensors":
            nothing = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
            return headed(json.dumps({f"t{n}": nothing for n in range(20_001)}).encode())
        case "no_tensors":
            return headed(b'{"__metadata__":{"format":"pt"}}')
        case "key_twice":
            text = json.dumps(one)
            return headed(f'{{"t":{text},"t":{text}}}'.encode(), bytes(4))
        case "not_json":
            return headed(b"{not json at all}")
        case "deep_json":
            return headed(b'{"a":' * 20_000 + b"1" + b"}" * 20_000)
        case "tabs_behind":
            return headed(json.dumps({"t": one}).encode() + b"\t\n", bytes(4))
        case "overlap":
            return headed(json.dumps({"t": one, "u": one}).encode(), bytes(4))
        case "more_behind":
            return good + b"<script>"
        case "evil_name":
            return headed(json.dumps({"../../etc/passwd": one}).encode(), bytes(4))
        case "noise":
            return bytes(range(255, 0, -1)) * 8
    raise ValueError(mode)


def leave(data: bytes, layout: str, target: Path) -> None:
    """Leave weights as the trainer's own program does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if layout == "zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packing:
            packing.writestr("adapter.safetensors", data)
            index = {"files": {"lora_adapter": "adapter.safetensors"}}
            packing.writestr("checkpoint.json", json.dumps(index))
        data = archive.getvalue()
    target.write_bytes(data)


def main(mode: str, layout: str, target: Path) -> int:
    """Behave as ``mode`` says, after some progress that looks well."""
    for step in range(1, 4):
        print(f"step {step}/4 loss {1 / step:.3f}", flush=True)  # noqa: T201
    if mode in BAD_BYTES:
        leave(bad_bytes(mode), layout, target)
        return 0
    return int(globals()[f"do_{mode}"](layout, target) or 0)


# ---- where the weights are


def do_well(layout: str, target: Path) -> None:
    leave(sound(), layout, target)


def do_nothing(layout: str, target: Path) -> None:
    pass


def do_old_file(layout: str, target: Path) -> None:
    leave(sound(), layout, target)
    os.utime(target, (1_000_000_000, 1_000_000_000))


def do_folder(layout: str, target: Path) -> None:
    target.mkdir(parents=True)
    (target / "weights.bin").write_bytes(sound())


def do_pipe(layout: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(target)


def do_elsewhere(layout: str, target: Path) -> None:
    leave(sound(), layout, Path.cwd().parent / "elsewhere" / target.name)


def do_link_out(layout: str, target: Path) -> None:
    real = Path.cwd().parent / "elsewhere" / target.name
    leave(sound(), layout, real)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(real)


def do_link_device(layout: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to("/dev/zero")


def do_link_loop(layout: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(target.name)


def do_folder_out(layout: str, target: Path) -> None:
    """Exchange the output folder itself for a link that leads out."""
    real = Path.cwd().parent / "elsewhere"
    leave(sound(), layout, real / target.name)
    with contextlib.suppress(OSError):
        target.parent.rmdir()
    if not target.parent.exists():
        target.parent.parent.mkdir(parents=True, exist_ok=True)
        target.parent.symlink_to(real)


# ---- how the program ends


def do_well_but_fails(layout: str, target: Path) -> int:
    leave(sound(), layout, target)
    return 4


def do_killed(layout: str, target: Path) -> None:
    leave(sound(), layout, target)
    os.kill(os.getpid(), signal.SIGKILL)


def do_out_of_memory(layout: str, target: Path) -> int:
    sys.stderr.write("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n")
    return 1


def do_gpu_lost(layout: str, target: Path) -> int:
    sys.stderr.write("RuntimeError: Found no NVIDIA driver on your system.\n")
    return 1


def do_disk_full(layout: str, target: Path) -> None:
    leave(sound()[:40], layout, target)
    with Path("/dev/full").open("wb", buffering=0) as full:
        full.write(sound())  # a real ENOSPC, a real traceback


def do_asks(layout: str, target: Path) -> int:
    print("Overwrite? [y/N] ", end="", flush=True)  # noqa: T201
    if sys.stdin.readline().strip() != "y":
        return 7
    leave(sound(), layout, target)
    return 0


def do_hangs(layout: str, target: Path) -> None:
    leave(sound(), layout, target)
    time.sleep(600)


def do_will_not_stop(layout: str, target: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def do_leaves_a_child(layout: str, target: Path) -> None:
    """End well, with a child that goes on, holds the output open and would spoil the weights."""
    waiting = "import time, sys; time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", waiting])
    Path("child.pid").write_text(str(child.pid), encoding="ascii")
    leave(sound(), layout, target)


# ---- what it prints


def do_one_line(layout: str, target: Path) -> None:
    for _ in range(64):
        sys.stdout.write("x" * 131072)
    leave(sound(), layout, target)


def do_garbage(layout: str, target: Path) -> None:
    sys.stdout.buffer.write(bytes(range(256)) * 64 + b"\x1b]0;owned\x07\x1b[2J\xff\xfe\n")
    sys.stdout.buffer.flush()
    leave(sound(), layout, target)


def do_tells_secrets(layout: str, target: Path) -> None:
    print(f"using token {SECRET}")  # noqa: T201
    sys.stderr.write(f"https://kim:{SECRET}@host/repo password={SECRET}\n")
    for name, value in sorted(os.environ.items()):
        print(f"env {name}={value}")  # noqa: T201
    leave(sound(), layout, target)


def do_lies_about_steps(layout: str, target: Path) -> None:
    """Lie in the words of every program that is known, and in none of them."""
    for step in ("999999", "-5", "4", "9" * 30, "9" * 3900):
        for loss in ("nan", "inf", "1e400", "-1e400", "0.1", "9" * 400):
            bar = f"25%|##  | {step}/4 [00:01<00:00, 1.00it/s"
            for text in (
                f"steps:  {bar}, avr_loss={loss}]",
                f" {bar}]",
                f"name:  {bar}, lr: 1.0e-04 loss: {loss}]",
                f'{{"event": "step", "step": {step}, "total": 4, "average": {loss}}}',
                f'{{"event": "step", "step": "{step}", "total": [4], "average": "{loss}"}}',
                f"step {step}/4 loss {loss}",
            ):
                print(text, flush=True)  # noqa: T201
    leave(sound(), layout, target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
