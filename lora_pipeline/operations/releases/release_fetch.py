"""Register weights from an address: fetched, bounded, and gone again unless they are registered.

Only a person may ask for it: a program that is talked into fetching an address would be the
arm of whoever wrote that address into a caption.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    ServiceRefusedError,
    StorageError,
    WeightsRefusedError,
)
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.loopback import is_loopback
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.releases.release_register import (
    Registration,
    register_file,
    require_name,
    wanted_digest,
)
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.training.hosted.http_client import Manner, ServiceClient
from lora_pipeline.workspace.remote.address import parse_address
from lora_pipeline.workspace.remote.bucket import open_bucket
from lora_pipeline.workspace.root import Workspace

MOST_BYTES = 16 * 1024 * 1024 * 1024
_BLOCK = 8 * 1024 * 1024
_SPARE = 64 * 1024 * 1024  # bytes that stay free on the disk
_OLD_S = 24 * 3600
_BUCKETS = ("s3", "gs", "az")
_KNOWN = "s3://, gs://, az://, https:// or a file"


def register_release_from(
    workspace: Workspace,
    lora: str,
    address: str,
    *,
    dataset: str = "",
    release: str = "",
    config: dict[str, Any] | None = None,
    notes: str = "",
    sha256: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Register weights that stand at an address as a new candidate release.

    They are fetched whole into a private folder, verified as a file of this machine is, and
    copied into the store. Credentials come from the service's own client and environment; to an
    https address none are sent, and it is not followed to another one. The address is recorded
    without what may be a signature.

    Args:
        workspace: Where the LoRA is.
        lora: Id of the LoRA.
        address: ``s3://bucket/key``, ``gs://bucket/key``, ``az://container/key``, ``https://…``.
        dataset: The manifest that it was trained on; without one the gate cannot pass.
        release: Id of the release; empty for the next one.
        config: The recipe that it was trained with, as far as it is known.
        notes: Anything worth keeping.
        sha256: The digest that the file must have, when its maker told it.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` for the shared LoRA.

    Raises:
        ArgumentInvalidError: When it is no such address.
        ExtraMissingError: When the client of the service is not installed.
        RemoteStoreError, ServiceError: When it cannot be fetched, or sends something else.
        StorageError: When the disk refuses or is too small.
        PipelineError: As ``register_release``.
    """
    name, told = _checked(address)
    # Everything that can be refused without the bytes is, before they are asked for.
    find_lora(workspace, lora, project=project, scope=scope)
    wanted_digest(sha256)
    workspace.require_actor()
    with _fetched(workspace, address, name) as path:
        wanted = Registration(lora, dataset, release, config, notes, sha256, told, project, scope)
        done = register_file(workspace, path, wanted)
    return done if sha256 else done.with_warnings(_unproven(done))


def _checked(address: str) -> tuple[str, str]:
    """Return the name of the file at an address, and the address as it may be recorded.

    Raises:
        ArgumentInvalidError: When nothing can be fetched from it.
    """
    if not address.isprintable() or " " in address:
        raise ArgumentInvalidError("the address holds characters that cannot be seen")
    parts = urlsplit(address)
    told = f"{parts.scheme}://{parts.netloc}{parts.path}"
    if "@" in parts.netloc:
        raise ArgumentInvalidError(
            "an address must not hold a name or a password", hint="see docs/storage.md"
        )
    if parts.scheme == "http" and not is_loopback(address):
        raise ArgumentInvalidError(
            f"{told}: anybody on the way could exchange what http:// brings", hint="use https://"
        )
    if parts.scheme not in (*_BUCKETS, "http", "https") or not parts.hostname:
        raise ArgumentInvalidError(f"{told} is no address to fetch from", hint=f"give {_KNOWN}")
    name = unquote(parts.path).rpartition("/")[2]
    require_name(Path(name))
    if not name.endswith(".safetensors") or files.unsafe_reason(name):
        name = "weights.safetensors"  # some services name files by number
    return name, told


@contextlib.contextmanager
def _fetched(workspace: Workspace, address: str, name: str) -> Iterator[Path]:
    """Give the file that stands at an address, in a folder that is removed again."""
    folder = workspace.runtime / "incoming" / new_ulid()
    _clear_left_over(folder.parent)
    try:
        with files.disk_refusals():
            folder.mkdir(parents=True)
        path = folder / name
        if urlsplit(address).scheme in _BUCKETS:
            _fetch_object(address, path)
        else:
            _fetch_page(address, path)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()  # another one may be under way


def _clear_left_over(incoming: Path) -> None:
    """Remove what a killed fetch left behind a day ago or earlier."""
    for left in incoming.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _OLD_S:
                shutil.rmtree(left)


def _fetch_object(address: str, target: Path) -> None:
    remote = open_bucket(parse_address(address, "the address"))
    size = remote.file_bytes()
    if size > MOST_BYTES:
        raise WeightsRefusedError(
            f"{address} has {size} bytes, at most {MOST_BYTES} are fetched", rule="file_too_large"
        )
    free = shutil.disk_usage(target.parent).free
    if free < 2 * size + _SPARE:  # once here, once in the store
        raise StorageError(
            f"{size} bytes are to come twice, and {target.parent} has {free} free",
            hint="free disk space, then run the command again",
        )
    with files.disk_refusals(), files.open_atomic(target) as stream:
        for start in range(0, size, _BLOCK):
            stream.write(remote.file_block(start, min(start + _BLOCK, size)))


def _fetch_page(address: str, target: Path) -> None:
    parts = urlsplit(address)
    hint = "download it with the service's own program, then register the file"
    client = ServiceClient(f"{parts.scheme}://{parts.netloc}", manner=Manner(hint=hint))
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        client.download(path, target, bytes_expected=None)
    except ServiceRefusedError as error:
        raise ServiceRefusedError(error.message, hint=_hint(error, hint)) from error
    finally:
        client.close()


def _hint(error: ServiceRefusedError, otherwise: str) -> str:
    # The client's hint on refused access speaks of a token, and none is sent here.
    return otherwise if not error.hint or "token" in error.hint else error.hint


def _unproven(done: Result) -> list[str]:
    sha256 = done.data["weights"]["sha256"]
    return [f"nobody said which digest it must have; it has sha256 {sha256}"]
