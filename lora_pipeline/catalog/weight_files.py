"""From a weights reference to the file on this machine; the only module that resolves them."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.catalog.records import Weights
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    RecordInvalidError,
    SettingsError,
)
from lora_pipeline.foundation.files import safe_join
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import LOCAL_FILE
from lora_pipeline.workspace.store import hint_to_fetch, open_store

_SETTING_OF_BASE = {
    "modelsRoot": "paths.modelsRoot",
    "checkpointsRoot": "paths.checkpointsRoot",
    "lorasRoot": "paths.lorasRoot",
}
# Repositories written before this version may hold the first 16 digits or more.
_SHORTEST_DIGEST = 16


def weights_path(
    workspace: Workspace, weights: Weights, *, name: str = "weights", check_digest: bool = True
) -> Path:
    """Return the file (or model folder) that a reference means here.

    A file whose digest is recorded is read once and compared. A folder has no digest of its
    own in the reference; whoever names it (a checkpoint) checks it.

    Args:
        workspace: Its settings say where the roots are.
        weights: The reference.
        name: What the weights are of, for messages.
        check_digest: False when the caller checks the bytes itself or needs the place only.

    Raises:
        RecordInvalidError: When the reference lacks what its kind needs.
        SettingsError: When the root that it stands below is not set on this machine.
        UnsafePathError: When its path leaves that root.
        FileMissingError: When there is nothing at that place.
        DigestMismatchError: When the file is not the one that was recorded.
    """
    path = place_of_weights(workspace, weights, name=name)
    if not path.exists():
        raise FileMissingError(
            f"{name}: nothing at {workspace.relative(path)}",
            hint=_hint_when_missing(workspace, weights),
        )
    if check_digest and weights.sha256 and path.is_file():
        _require_digest(path, weights.sha256, name)
    return path


def place_of_weights(workspace: Workspace, weights: Weights, *, name: str = "weights") -> Path:
    """Return where a reference points on this machine, whether anything is there or not.

    Raises:
        RecordInvalidError: When the reference lacks what its kind needs.
        SettingsError: When the root that it stands below is not set on this machine.
        UnsafePathError: When its path leaves that root.
        FileMissingError: When it points outside this machine.
    """
    if weights.kind == "store":
        return open_store(workspace).path(_required(weights.sha256, "sha256", weights, name))
    if weights.kind == "external":
        where = _required(weights.uri, "uri", weights, name)
        raise FileMissingError(
            f"{name}: kept outside this machine, at {where}",
            hint="download it, then lora release register with the file",
        )
    path = _required(weights.path, "path", weights, name)
    if weights.kind == "absolute":
        return _absolute(path, name)
    if weights.kind == "repo_relative":
        return safe_join(workspace.root, path)
    return safe_join(_root_of(workspace, weights, name), path)


def _required(value: str, field: str, weights: Weights, name: str) -> str:
    if not value:
        raise RecordInvalidError(f"{name}: weights of kind {weights.kind} need {field}")
    return value


def _absolute(path: str, name: str) -> Path:
    place = Path(path)
    if not place.is_absolute():
        raise RecordInvalidError(f"{name}: {path!r} is no absolute path, but its kind is absolute")
    return place


def _root_of(workspace: Workspace, weights: Weights, name: str) -> Path:
    base = _required(weights.base, "base", weights, name)
    key = _SETTING_OF_BASE[base]
    folder = workspace.settings.text(key)
    if folder is None:
        raise SettingsError(
            f"{name}: stands below {base}, and setting {key} is not set here",
            hint=f"set {key} in {LOCAL_FILE}, or the variable {_variable(key, workspace)}",
        )
    # A relative root is relative to the workspace, wherever the command was started.
    return workspace.root / folder


def _variable(key: str, workspace: Workspace) -> str:
    return workspace.settings.values[key].setting.variable or key


def _hint_when_missing(workspace: Workspace, weights: Weights) -> str:
    if weights.kind == "store":
        return hint_to_fetch(workspace, weights.sha256)
    return "put the file there, or lora config explain to see the folders in force"


def _require_digest(path: Path, expected: str, name: str) -> None:
    found, wanted = sha256_of_file(path), expected.lower()
    if len(wanted) < _SHORTEST_DIGEST or not found.startswith(wanted):
        raise DigestMismatchError(
            f"{name}: {path.name} is not the file that was recorded: "
            f"sha256 {found[:12]}…, recorded {wanted[:12]}…",
            hint="restore the recorded file; a changed file is a new release",
        )
