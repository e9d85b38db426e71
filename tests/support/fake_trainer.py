"""A trainer that is real but small: a program of its own that writes weights, or misbehaves.

``FakeTrainer`` is the adapter; run as a script this file is the program. The program uses the
standard library alone and starts in milliseconds.
"""

# ruff: noqa: ARG002 - an adapter takes what it is given

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lora_pipeline.foundation.process import OutputLine
    from lora_pipeline.training.plan import Plan, TrainingRequest
    from lora_pipeline.training.records import RunError
    from lora_pipeline.training.trainers.interface import (
        Collected,
        Problem,
        TrainingProgress,
    )
    from lora_pipeline.workspace.settings import Settings

MODULE = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
SIZE, RANK = 8, 2
TOKEN = "hf_" + "Secret0Secret1Secret2"
STEPS = 5


class FakeTrainer:
    """The adapter to the program below.

    Args:
        mode: How the program behaves; ``good`` or one of ``MISBEHAVIOURS``.
        problem: What ``health`` says.
    """

    name = "fake"
    summary = "a small program for tests"
    architectures: tuple[str, ...] = ()
    starts_program = True
    loads_adapters = False

    def __init__(self, mode: str = "good", problem: Problem | None = None) -> None:
        self.mode = mode
        self._problem = problem

    def health(self, settings: Settings) -> Problem | None:
        """Return what the test wants it to say."""
        return self._problem

    def version(self, settings: Settings) -> str:
        """Return a version."""
        return "1.0"

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return a plan that runs this very file."""
        from lora_pipeline.training.plan import Plan, PlannedFile

        output = f"out/{request.output_name}.safetensors"
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=(PlannedFile("config.json", json.dumps({"rank": request.recipe.rank})),),
            argv=(
                sys.executable, "-I", str(Path(__file__).resolve()), self.mode,
                str(request.run_folder / output),
            ),
            cwd=request.run_folder,
            environment={"FAKE": "1"},
            expected_output=output,
            total_steps=STEPS,
        )  # fmt: skip

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress of lines like ``step 1/5 loss 0.5``."""
        from lora_pipeline.training.trainers.interface import TrainingProgress

        words = line.text.split()
        if len(words) != 4 or words[0] != "step":
            return None
        step, _, total = words[1].partition("/")
        return TrainingProgress(int(step), int(total), float(words[3]))

    def collect(self, plan: Plan, run_folder: Path) -> Collected:
        """Return what the program left."""
        from lora_pipeline.training.trainers.interface import Collected, CollectedFile

        final = run_folder / plan.expected_output
        kept = [CollectedFile(path, 2) for path in sorted(final.parent.glob("kept-*.safetensors"))]
        return Collected(CollectedFile(final) if final.exists() else None, tuple(kept))

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return what the shared classifier says."""
        from lora_pipeline.training.failure import explain_failure

        return explain_failure(lines, status)


# mode -> the code that the run's record must hold
MISBEHAVIOURS = {
    "no_output": "no_output",
    "nan": "weights_refused",
    "zero": "weights_refused",
    "truncated": "weights_refused",
    "half_file": "weights_refused",
    "old_file": "no_output",
    "wrong_architecture": "weights_refused",
    "wrong_size": "weights_refused",
    "empty_file": "weights_refused",
    "pickle": "weights_refused",
    "link": "unsafe_path",
    "killed": "killed",
    "asks": "trainer_failed",
    "traceback": "trainer_failed",
    "out_of_memory": "out_of_memory",
    "good_but_fails": "trainer_failed",
}


# mode -> what the program says before it fails
LAST_WORDS = {
    "traceback": "ValueError: the optimizer has no parameters",
    "out_of_memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "connection_lost": "ConnectionResetError: [Errno 104] Connection reset by peer",
    "gpu_lost": "RuntimeError: CUDA error: unspecified launch failure",
    "disk_full": "OSError: [Errno 28] No space left on device",
}


def weights(mode: str) -> bytes:
    """Return a LoRA of one pair, sound or broken as ``mode`` says."""
    module = {"wrong_architecture": "transformer.single_transformer_blocks.0.proj_mlp"}.get(
        mode, MODULE
    )
    size = 2 * SIZE if mode == "wrong_size" else SIZE
    up = {"nan": float("nan"), "zero": 0.0}.get(mode, 0.25)
    down = struct.pack(f"<{RANK * size}f", *[0.5] * (RANK * size))
    ups = struct.pack(f"<{size * RANK}f", *[up] * (size * RANK))
    header = json.dumps(
        {
            f"{module}.lora_A.weight": {
                "dtype": "F32", "shape": [RANK, size], "data_offsets": [0, len(down)],
            },
            f"{module}.lora_B.weight": {
                "dtype": "F32", "shape": [size, RANK],
                "data_offsets": [len(down), len(down) + len(ups)],
            },
        }
    ).encode()  # fmt: skip
    return len(header).to_bytes(8, "little") + header + down + ups


def main(mode: str, target: str) -> int:
    """Behave as ``mode`` says."""
    output = Path(target)
    output.parent.mkdir(parents=True, exist_ok=True)
    _talk(mode)
    data = weights(mode)
    if mode in ("no_output", "asks"):
        return 0 if mode == "no_output" else _ask()
    if mode in LAST_WORDS:
        words = LAST_WORDS[mode]
        sys.stderr.write(f"Traceback (most recent call last):\n  File x, line 1\n{words}\n")
        return 1
    if mode == "waits":
        (output.parent / "pid.new").write_text(str(os.getpid()))
        (output.parent / "pid.new").rename(output.parent / "pid")
        while True:
            time.sleep(0.05)
    if mode == "silent":
        time.sleep(600)
    if mode == "link":
        elsewhere = output.parents[2] / "elsewhere.safetensors"
        elsewhere.write_bytes(data)
        output.symlink_to(elsewhere)
        return 0
    cut = {"truncated": len(data) - 7, "half_file": len(data) // 2, "empty_file": 0}
    output.write_bytes(b"\x80\x04x" if mode == "pickle" else data[: cut.get(mode, len(data))])
    if mode == "old_file":
        os.utime(output, (1_000_000_000, 1_000_000_000))
    if mode in ("killed", "half_file_killed"):
        os.kill(os.getpid(), 9)
    (output.parent / "kept-2.safetensors").write_bytes(weights("good"))
    return 4 if mode == "good_but_fails" else 0


def _talk(mode: str) -> None:
    if mode == "token":
        sys.stdout.write(f"logging in with {TOKEN}\n")
        sys.stderr.write(f"https://kim:{TOKEN}@host/repo\n")
    for step in range(1, STEPS + 1):
        sys.stdout.write(f"step {step}/{STEPS} loss {1 / step:.3f}\n")
        sys.stdout.flush()
    if mode == "flood":
        for number in range(80_000):
            sys.stdout.write(f"noise {number} {'x' * 60}\n")
    if mode == "not_text":
        sys.stdout.buffer.write(b"\xff\xfe\x00 \x1b[31mred\x1b[0m\r\n")
    if mode == "nan_loss":
        sys.stdout.write(f"step {STEPS}/{STEPS} loss nan\n")
    sys.stdout.flush()


def _ask() -> int:
    sys.stdout.write("Overwrite? [y/n] ")
    sys.stdout.flush()
    return 0 if sys.stdin.readline().strip() == "y" else 7


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
