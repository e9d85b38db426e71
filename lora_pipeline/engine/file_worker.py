"""The child that reads and places files: one JSON line in, one JSON line out.

Python runs one thread of Python at a time, so hashing many small files on every core takes a
process for each. Started by ``engine/many_files.py``; ends at the end of its standard input.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from lora_pipeline.foundation.file_facts import FileReader
from lora_pipeline.foundation.placing import Placement, place

_Request = tuple[list[str], list[Placement]]
_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


def main() -> int:
    """Answer requests until standard input ends."""
    reader = FileReader()
    answers = sys.stdout.buffer
    for line in sys.stdin.buffer:
        to_read, to_place = _decode(line)
        answer = [_tried(reader.facts, path) for path in to_read]
        answer += [_tried(place, one) for one in to_place]
        answers.write(_encode(answer) + b"\n")
        answers.flush()
    return 0


def _tried(function: Any, argument: Any) -> Any:
    try:
        return function(argument)
    except OSError as error:
        return [error.errno or 0, error.strerror or str(error)]


if __name__ == "__main__":
    sys.exit(main())
