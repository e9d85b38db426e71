"""The child that reads files: one JSON line of paths in, one JSON line of facts out.

Python runs one thread of Python at a time, so hashing many small files on every core takes a
process for each. Started by ``engine/reading.py``; ends at the end of its standard input.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from lora_pipeline.foundation.file_facts import FileReader

_decode = msgspec.json.Decoder(list[str]).decode
_encode = msgspec.json.Encoder().encode


def main() -> int:
    """Answer requests until standard input ends."""
    reader = FileReader()
    answers = sys.stdout.buffer
    for line in sys.stdin.buffer:
        answers.write(_encode([_answer(reader, path) for path in _decode(line)]) + b"\n")
        answers.flush()
    return 0


def _answer(reader: FileReader, path: str) -> Any:
    try:
        return reader.facts(path)
    except OSError as error:
        return [error.errno or 0, error.strerror or str(error)]


if __name__ == "__main__":
    sys.exit(main())
