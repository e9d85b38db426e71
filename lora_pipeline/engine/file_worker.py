"""The child that reads and places files: one JSON line in, one JSON line out.

Python runs one thread of Python at a time, so hashing many small files on every core takes a
process for each. Started by ``engine/many_files.py``; ends at the end of its standard input.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from lora_pipeline.foundation.file_facts import FileReader
from lora_pipeline.foundation.placing import Placement, place

_Path = bytes  # as the system spells it: a name need not be text
_Placed = tuple[_Path, _Path, _Path, str, _Path, _Path]
_Request = tuple[list[_Path], list[_Placed]]
_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


def main() -> int:
    """Answer requests until standard input ends."""
    reader = FileReader()
    answers = sys.stdout.buffer
    for line in sys.stdin.buffer:
        to_read, to_place = _decode(line)
        answer = [_tried(reader.facts, path) for path in to_read]
        answer += [_tried(place, _placement(*one)) for one in to_place]
        answers.write(_encode(answer) + b"\n")
        answers.flush()
    return 0


def _placement(
    source: _Path, target: _Path, file: _Path, caption: str, mask: _Path, mask_target: _Path
) -> Placement:
    text = os.fsdecode
    return Placement(text(source), text(target), text(file), caption, text(mask), text(mask_target))


def _tried(function: Any, argument: Any) -> Any:
    try:
        return function(argument)
    except OSError as error:
        return [error.errno or 0, error.strerror or str(error)]


if __name__ == "__main__":
    sys.exit(main())
