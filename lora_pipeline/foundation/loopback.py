"""Whether an address leads to this very machine, and whether anybody on the way can listen."""

from __future__ import annotations

from urllib.parse import urlsplit

_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


def is_loopback(address: str) -> bool:
    """Return whether the host of an address is this machine, by the names that always mean it."""
    try:
        return urlsplit(address).hostname in _HERE
    except ValueError:
        return False


def is_confidential(address: str) -> bool:
    """Return whether nobody on the way can read or exchange what goes: https, or http to here."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(address))
