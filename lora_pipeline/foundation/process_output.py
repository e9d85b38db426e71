"""Reading what a program prints: line by line, in the order in which it came."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO

import msgspec

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CHUNK = 65536
_LONGEST_LINE = 65536  # of a longer one only the end is kept


class OutputLine(msgspec.Struct, frozen=True):
    """One line that a supervised program printed, without colour codes."""

    stream: str
    text: str


Put = Callable[[OutputLine | None], None]


def start_readers(streams: Mapping[str, IO[bytes]], put: Put) -> list[threading.Thread]:
    """Read streams in the background.

    Lines are split at CR as well as LF, because progress bars redraw with CR.

    Args:
        streams: What to read, by name; closed at their end.
        put: Gets every line, then None from each of the readers that are returned.
    """
    # One reader for all sees which of them spoke first. Windows cannot wait for several pipes.
    groups = [dict([one]) for one in streams.items()] if os.name == "nt" else [dict(streams)]
    readers = [threading.Thread(target=_read, args=(one, put), daemon=True) for one in groups]
    for reader in readers:
        reader.start()
    return readers


def _read(streams: dict[str, IO[bytes]], put: Put) -> None:
    rests = dict.fromkeys(streams, b"")
    try:
        with contextlib.ExitStack() as stack:
            for stream in streams.values():
                stack.enter_context(stream)
            for name, chunk in _chunks(streams):
                *whole, rest = re.split(rb"[\r\n]", rests[name] + chunk)
                if not chunk:  # the end: what is left is a line, too
                    whole, rest = [*whole, rest], b""
                for part in whole:
                    _emit(name, part, put)
                rests[name] = rest[-_LONGEST_LINE:]
    finally:
        put(None)  # without it whoever takes the lines would wait for ever


def _chunks(streams: Mapping[str, IO[bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield what each stream brings as it comes; an empty chunk is its end."""
    if len(streams) == 1:
        ((name, stream),) = streams.items()
        while chunk := os.read(stream.fileno(), _CHUNK):
            yield name, chunk
        yield name, b""
        return
    with selectors.DefaultSelector() as selector:
        for name, stream in streams.items():
            selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                yield key.data, chunk


def _emit(name: str, part: bytes, put: Put) -> None:
    text = _ANSI.sub("", part.decode("utf-8", "replace")).rstrip()
    if text:
        put(OutputLine(name, text))
