"""Starts ai-toolkit in a container that is not ours; stands alone there, with the library only.

    python start.py WORK OUTPUT TOOLKIT [MODELS]

WORK holds ``job.json`` and the data sets, and is only read: ai-toolkit keeps notes beside images,
so they are copied first. OUTPUT gets ``log.txt`` while it trains and, at the end, the weights, then
``files.json`` with their lengths and digests, and last ``ended.json`` with the exit status.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SAVED = re.compile(r"_(\d{9})\.safetensors$")
_LOG_EVERY_S = 15.0
_LOG_BYTES = 4 * 1024 * 1024


def main(arguments: list[str]) -> int:
    """Train and return ai-toolkit's exit status."""
    work, output, toolkit = (Path(one) for one in arguments[:3])
    models = arguments[3] if len(arguments) > 3 else ""
    started = time.time()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lora-") as folder:
        room = Path(folder)
        data, made = room / "data", room / "made"
        shutil.copytree(work, data, ignore=shutil.ignore_patterns("*.json", "*.py"))
        places = {
            "{TRAINING_FOLDER}": str(made),
            "{DATASETS_FOLDER}": str(data),
            "{MODELS_FOLDER}": models,
        }
        job = placed(json.loads((work / "job.json").read_text(encoding="utf-8")), places)
        path = room / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        status = _run([sys.executable, "run.py", str(path)], toolkit, output / "log.txt", room)
        files = _keep(made / str(job["config"]["name"]), output)
    _write(output / "files.json", {"files": files})
    _write(output / "ended.json", {"status": status, "seconds": time.time() - started})
    return status


def placed(value: Any, places: dict[str, str]) -> Any:
    """Return a document with the folders of this machine where the plan left them open."""
    if isinstance(value, dict):
        return {key: placed(one, places) for key, one in value.items()}
    if isinstance(value, list):
        return [placed(one, places) for one in value]
    if isinstance(value, str):
        for name, folder in places.items():
            if value == name or value.startswith(f"{name}/"):
                return folder + value[len(name) :]
    return value


def _run(command: list[str], toolkit: Path, log: Path, room: Path) -> int:
    kept = room / "log.txt"
    shown = time.monotonic()
    with kept.open("ab") as stream:
        process = subprocess.Popen(  # noqa: S603 - this is no part of our own process
            command, cwd=toolkit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None  # noqa: S101 - it was asked for
        while piece := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            stream.write(piece)
            if time.monotonic() - shown > _LOG_EVERY_S:
                stream.flush()
                _copy_log(kept, log)
                shown = time.monotonic()
        status = process.wait()
    _copy_log(kept, log)
    return status


def _copy_log(kept: Path, log: Path) -> None:
    """Write the beginning of the log, whole: mounted storage has files, not streams."""
    with kept.open("rb") as stream:
        log.write_bytes(stream.read(_LOG_BYTES))


def _keep(made: Path, output: Path) -> list[dict[str, Any]]:
    files = []
    for path in sorted(made.glob("*.safetensors")) if made.is_dir() else []:
        shutil.copyfile(path, output / path.name)
        saved = _SAVED.search(path.name)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        files.append(
            {
                "name": path.name,
                "bytes": path.stat().st_size,
                "sha256": digest,
                "step": int(saved.group(1)) if saved else None,
            }
        )
    return files


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
