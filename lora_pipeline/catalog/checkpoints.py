"""Base models on disk: their files, the digest that names their bytes, and where they stand."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from lora_pipeline.catalog.mlx_folder import MlxFolder, read_mlx_folder
from lora_pipeline.catalog.records import Weights
from lora_pipeline.engine.pool import map_ordered
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    JsonInvalidError,
    WeightsRefusedError,
)
from lora_pipeline.foundation.events import Event, EventSink
from lora_pipeline.workspace.root import Workspace

SINGLE_FILE = ".safetensors"
MODEL_INDEX = "model_index.json"
_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_BLOCK = 8 * 1024 * 1024
_EVERY = 64  # blocks between two reports
_ROOTS = {"checkpointsRoot": "paths.checkpointsRoot", "modelsRoot": "paths.modelsRoot"}


class CheckpointFiles(msgspec.Struct, frozen=True):
    """The files of a base model.

    Attributes:
        path: The single file, or the folder.
        names: POSIX paths below the folder, sorted; the file's name for a single file.
        ignored: Pickled weights that stand beside safetensors and are never read.
        mlx: What the folder is where mflux wrote it; None for every other.
    """

    path: Path
    names: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    mlx: MlxFolder | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, of diffusers or of mflux."""
        return self.path.is_dir()

    def file(self, name: str) -> Path:
        """Return one of the files."""
        return self.path / name if self.is_folder else self.path


class CheckpointDigest(msgspec.Struct, frozen=True):
    """What the bytes of a base model are.

    Attributes:
        digest: ``sha256:…`` of the file, or of the list of the folder's files.
        sha256: SHA-256 of a single file; empty for a folder.
        bytes: Length of all files.
    """

    digest: str
    sha256: str
    bytes: int


def list_files(path: Path) -> CheckpointFiles:
    """Return the files of a base model; hidden ones are no part of it.

    Raises:
        FileMissingError: When there is nothing at that path.
        WeightsRefusedError: When it is neither a safetensors file nor a folder of diffusers or
            mflux, or has weights in no format but pickles, which can run code when read.
    """
    if path.is_file():
        _require_safetensors(path)
        return CheckpointFiles(path, (path.name,))
    if not path.is_dir():
        raise FileMissingError(f"no model at {path}", hint="--path FILE.safetensors or FOLDER")
    names = sorted(_names_below(path))
    mlx = read_mlx_folder(path)
    if MODEL_INDEX not in names and mlx is None:
        raise WeightsRefusedError(
            f"{path} is no diffusers folder, it has no {MODEL_INDEX}, and mflux-save did not "
            "write it",
            hint="give the folder that holds model_index.json, or a .safetensors file",
        )
    return CheckpointFiles(path, tuple(names), tuple(_harmless_pickles(names)), mlx)


def digest_checkpoint(files: CheckpointFiles, events: EventSink) -> CheckpointDigest:
    """Return what the bytes of a base model are; every byte is read.

    Raises:
        FileMissingError: When a file cannot be read.
    """
    paths = [files.file(name) for name in files.names]
    total = sum(path.stat().st_size for path in paths)
    if not files.is_folder:
        sha256 = _sha256(paths[0], total, events)
        return CheckpointDigest(f"sha256:{sha256}", sha256, total)
    digests = map_ordered(
        lambda path: _sha256(path, 0, events), paths, events=events, topic="digest", unit="files"
    )
    named = (unicodedata.normalize("NFC", name) for name in files.names)  # macOS stores NFD
    pairs = sorted(zip(named, digests, strict=True))
    return CheckpointDigest(digest_of([list(pair) for pair in pairs]), "", total)


def read_config(files: CheckpointFiles, *names: str) -> dict[str, Any]:
    """Return the first of several JSON files of a folder that is there, or nothing.

    Raises:
        JsonInvalidError: When it is not a JSON object.
    """
    for name in names:
        if files.is_folder and name in files.names:
            document = strict_json.load(files.file(name))
            if not isinstance(document, dict):
                raise JsonInvalidError(f"{files.file(name)} must hold one JSON object")
            return document
    return {}


def reference_to(workspace: Workspace, path: Path, *, sha256: str, size: int) -> Weights:
    """Return the reference to a model that means the same on most machines.

    That is a path in the repository, else one below a folder of the machine's settings, else
    an absolute one, which means something on this machine only.
    """
    place = path.resolve()
    root = workspace.root.resolve()
    if place.is_relative_to(root) and not place.is_relative_to(workspace.runtime.resolve()):
        relative = place.relative_to(root).as_posix()
        return Weights(kind="repo_relative", path=relative, sha256=sha256, bytes=size)
    for base, key in _ROOTS.items():
        setting = workspace.settings.text(key)
        if setting is None:
            continue
        folder = (workspace.root / Path(setting).expanduser()).resolve()
        if place.is_relative_to(folder) and place != folder:
            return Weights(
                kind="config_relative",
                base=cast(Literal["checkpointsRoot", "modelsRoot"], base),
                path=place.relative_to(folder).as_posix(),
                sha256=sha256,
                bytes=size,
            )
    return Weights(kind="absolute", path=str(place), sha256=sha256, bytes=size)


def companion_of(text: str) -> tuple[str, str]:
    """Return the name and the path that ``NAME=PATH`` says.

    Raises:
        ArgumentInvalidError: When it is not of that form.
    """
    name, separator, path = text.partition("=")
    if not separator or not name.strip() or not path.strip():
        raise ArgumentInvalidError(
            f"a companion is NAME=PATH, got {text!r}", hint="--companion ae=models/ae.safetensors"
        )
    return name.strip(), path.strip()


def _names_below(folder: Path) -> list[str]:
    names = []
    for here, folders, found in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        relative = Path(here).relative_to(folder)
        names += [(relative / name).as_posix() for name in found if not name.startswith(".")]
    return names


def _require_safetensors(path: Path) -> None:
    extension = path.suffix.lower()
    if extension in _PICKLES:
        raise WeightsRefusedError(
            f"{path.name} is a pickled model, which can run code when it is read",
            hint="convert it to safetensors, or take the safetensors file of the same model",
        )
    if extension != SINGLE_FILE:
        raise WeightsRefusedError(
            f"{path.name} is no model that is read",
            hint="a .safetensors file or a diffusers folder",
        )


def _harmless_pickles(names: Sequence[str]) -> list[str]:
    safe = {name.rpartition("/")[0] for name in names if name.endswith(SINGLE_FILE)}
    pickles = [name for name in names if Path(name).suffix.lower() in _PICKLES]
    lonely = [name for name in pickles if name.rpartition("/")[0] not in safe]
    if lonely:
        raise WeightsRefusedError(
            f"{lonely[0]} is a pickle, which can run code when it is read, and no safetensors "
            "file stands beside it",
            hint="take the safetensors files of the same model",
        )
    return pickles


def _sha256(path: Path, total: int, events: EventSink) -> str:
    digest, done, blocks = hashlib.sha256(), 0, 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                done, blocks = done + len(block), blocks + 1
                if total and blocks % _EVERY == 0:
                    events(Event("progress", "digest", step=done, total=total, unit="bytes"))
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()
