"""The address of a remote store: a service, a place in it, and never a secret."""

from __future__ import annotations

import re
from typing import Literal, cast
from urllib.parse import unquote, urlsplit

import msgspec

from lora_pipeline.foundation.errors import SettingsError

Service = Literal["s3", "az", "gs", "file"]
_EXAMPLES = "s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder"
_SERVICES = ("s3", "az", "gs", "file")
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,221}")
_PART = re.compile(r"[A-Za-z0-9._ ()!'+=,-]+")


class RemoteAddress(msgspec.Struct, frozen=True):
    """Where the remote store is.

    Attributes:
        service: Which kind of place.
        place: ``bucket/prefix`` without a slash at the end, or an absolute folder.
    """

    service: Service
    place: str

    def __str__(self) -> str:
        """Return the address as the settings write it."""
        return f"{self.service}://{self.place}"

    @property
    def bucket(self) -> str:
        """Bucket or container."""
        return self.place.partition("/")[0]


def parse_address(text: str, source: str = "store.remote") -> RemoteAddress:
    """Return the address that a setting means.

    Raises:
        SettingsError: When it is none, or carries a secret; the text is not repeated then.
    """
    if not text.isprintable():  # urlsplit would drop what cannot be seen
        raise SettingsError(f"{source} holds characters that cannot be seen", hint="type it anew")
    parts = urlsplit(text.strip())
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            f"{source} must be an address alone, without a name, a key or a signature",
            hint="credentials come from the environment of the service: see docs/storage.md",
        )
    if parts.scheme not in _SERVICES:
        raise SettingsError(f"{source}: {text!r} is no address", hint=f"write {_EXAMPLES}")
    service = cast("Service", parts.scheme)
    return (
        _folder(parts.netloc, parts.path, source)
        if service == "file"
        else _bucket(service, parts.netloc, parts.path, source)
    )


def _folder(host: str, path: str, source: str) -> RemoteAddress:
    place = unquote(path).rstrip("/")
    if host not in ("", "localhost") or not place.startswith("/"):
        raise SettingsError(
            f"{source}: file: needs an absolute folder of this machine",
            hint="write file:///mnt/share/loras, with three strokes",
        )
    return RemoteAddress("file", place)


def _bucket(service: Service, bucket: str, path: str, source: str) -> RemoteAddress:
    prefix = path.strip("/")
    sound = all(_PART.fullmatch(part) and part not in (".", "..") for part in prefix.split("/"))
    if not _BUCKET.fullmatch(bucket) or (prefix and not sound):
        raise SettingsError(
            f"{source}: {service}://{bucket}{path} names no bucket and prefix",
            hint=f"write {_EXAMPLES}",
        )
    return RemoteAddress(service, f"{bucket}/{prefix}" if prefix else bucket)
