"""The remote store: the same objects where other machines find them.

An object stands at ``<two digits>/<sha256>`` below the address, as in the local store. It is
made only where nothing stands yet, and nothing here ever replaces one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from lora_pipeline.foundation.errors import SettingsError
from lora_pipeline.workspace.remote.address import RemoteAddress, parse_address
from lora_pipeline.workspace.root import Workspace

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASKED_ONE_BY_ONE = 32


class RemoteObject(msgspec.Struct, frozen=True):
    """What the service says of an object.

    Attributes:
        bytes: Its length.
        changed: When it was made, in seconds since 1970, or None when the service does not say.
    """

    bytes: int
    changed: float | None = None


class RemoteStore(Protocol):
    """A place of objects that several machines share."""

    @property
    def address(self) -> RemoteAddress:
        """Where it is."""
        ...

    def all(self) -> dict[str, RemoteObject]:
        """Return every object by its digest, sorted.

        Raises:
            RemoteStoreError: When the service does not answer or refuses.
        """
        ...

    def find(self, sha256: str) -> RemoteObject | None:
        """Return what the service says of one object, or None when it is not there.

        Raises:
            RemoteStoreError: When the service does not answer or refuses.
        """
        ...

    def read(self, sha256: str, start: int, end: int) -> bytes:
        """Return exactly the bytes from ``start`` up to ``end`` of an object.

        Raises:
            RemoteStoreError: When it is not there, the service does not answer, or it answers
                with another number of bytes.
        """
        ...

    def create(self, sha256: str, source: Path) -> bool:
        """Make an object from a file; False when one stood there, which is left as it is.

        Raises:
            RemoteStoreError: When the service does not answer or refuses.
        """
        ...

    def has_checksum_of(self, sha256: str, source: Path) -> bool:
        """Return whether a checksum that the service computed itself proves the same bytes.

        False means that it cannot tell: the bytes must be read to know.

        Raises:
            RemoteStoreError: When the service does not answer or refuses.
        """
        ...

    def delete(self, sha256: str) -> None:
        """Delete an object.

        Raises:
            RemoteStoreError: When the service does not answer or refuses.
        """
        ...


def remote_address(workspace: Workspace) -> RemoteAddress | None:
    """Return where the remote store is, or None when none is set.

    Raises:
        SettingsError: When the setting is no address, or carries a secret.
    """
    value = workspace.settings.values["store.remote"]
    return parse_address(value.value, f"store.remote ({value.source})") if value.value else None


def open_remote(workspace: Workspace) -> RemoteStore:
    """Return the remote store that the settings name; nothing is asked of it yet.

    Raises:
        SettingsError: When none is set, or its address is none.
        ExtraMissingError: When the client of the service is not installed.
        RemoteStoreError: When the service's client finds no credentials or no account.
    """
    address = remote_address(workspace)
    if address is None:
        raise SettingsError(
            "no remote store is set",
            hint="set store.remote in config/pipeline.yaml, such as s3://bucket/prefix",
        )
    if address.service == "file":
        from lora_pipeline.workspace.remote.folder import FolderRemote

        return FolderRemote(address)
    from lora_pipeline.workspace.remote.bucket import open_bucket

    return open_bucket(address)


def found_there(remote: RemoteStore, wanted: Sequence[str]) -> Mapping[str, RemoteObject]:
    """Return what the remote store holds of ``wanted``: one by one when they are few.

    Raises:
        RemoteStoreError: When the service does not answer or refuses.
    """
    if len(wanted) > _ASKED_ONE_BY_ONE:
        held = remote.all()
        return {sha256: held[sha256] for sha256 in wanted if sha256 in held}
    found = {sha256: remote.find(sha256) for sha256 in wanted}
    return {sha256: one for sha256, one in found.items() if one is not None}


def digest_in(path: str) -> str:
    """Return the digest that the path of an object ends with, or nothing when it is none."""
    folder, _, name = path.rstrip("/").rpartition("/")
    whole = _SHA256.fullmatch(name) is not None and folder.rpartition("/")[2] == name[:2]
    return name if whole else ""
