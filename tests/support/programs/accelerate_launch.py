"""A stand-in for ``accelerate.commands.launch``: strict about its flags, then runs the script."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", required=True)
    parser.add_argument("--num_processes", type=int, required=True)
    parser.add_argument("--num_machines", type=int, required=True)
    parser.add_argument("--mixed_precision", choices=["no", "fp16", "bf16"], required=True)
    parser.add_argument("--dynamo_backend", choices=["no"], required=True)
    parser.add_argument("--num_cpu_threads_per_process", type=int, required=True)
    parser.add_argument("--main_process_port", type=int)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("training_script")
    parser.add_argument("training_script_args", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    settings = Path(given.config_file).read_text(encoding="utf-8")
    assert 'distributed_type: "NO"' in settings, settings
    command = [sys.executable, given.training_script, *given.training_script_args]
    done = subprocess.run(
        command,
        check=False,
        env={
            **os.environ,
            "ACCELERATE_USE_CPU": str(given.cpu).lower(),
            "ACCELERATE_MIXED_PRECISION": given.mixed_precision,
            "OMP_NUM_THREADS": str(given.num_cpu_threads_per_process),
        },
    )
    if done.returncode != 0:
        raise subprocess.CalledProcessError(done.returncode, command)


if __name__ == "__main__":
    main()
