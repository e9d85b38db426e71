"""Run a command and fail, or die, at its k-th system call that changes something.

``python -m tests.support.fault_points MODE ROOT ARGUMENT…`` runs the command in copies of ROOT,
once for each call, and prints one JSON line for each: what the command came to, what ``lora
validate`` says afterwards, and whether running it again completes it. ``fail`` raises "no space
left" at the call, ``die`` ends the process there as ``kill -9`` would.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.workspace_builders import invoke

WATCHED = ("open", "fsync", "replace", "chmod", "unlink", "mkdir", "link", "rename")
DIED = 9
MOST = 200


@contextlib.contextmanager
def fault_at(number: int, fault: Callable[[], None]) -> Iterator[list[str]]:
    """Call ``fault`` instead of the ``number``-th watched call; yields the calls so far."""
    calls: list[str] = []
    originals = {name: getattr(os, name) for name in WATCHED}

    def watched(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == number:
                fault()
            return originals[name](*args, **kwargs)

        return call

    for name in WATCHED:
        setattr(os, name, watched(name))
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def moments(last: int, *, every: int) -> range:
    """Return the calls, counted from 1, at which something is made to die.

    Every one of them with LORA_TEST_EXHAUSTIVE set; else as many as CI has time for.
    """
    return range(1, last + 1, 1 if os.environ.get("LORA_TEST_EXHAUSTIVE") else every)


def no_space() -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


def die() -> None:
    """End at once, without any cleaning up."""
    os._exit(DIED)


def run_at(mode: str, number: int, root: Path, arguments: list[str]) -> tuple[int, bool]:
    """Run the command in a child of ours and return its exit code, and whether it was hit."""
    child = os.fork()
    if child == 0:
        with fault_at(number, no_space if mode == "fail" else die) as calls:
            code = invoke(arguments, root).exit_code
        os._exit(100 + code if len(calls) < number else code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return (code - 100, False) if code >= 100 else (code, True)


def main(mode: str, root: Path, arguments: list[str]) -> None:
    """Go through every call."""
    for number in range(1, MOST):
        copy = root.parent / f"{root.name}-{mode}-{number}"
        shutil.copytree(root, copy, symlinks=True)
        code, hit = run_at(mode, number, copy, arguments)
        validated = invoke(["validate", "--json"], copy)
        again = invoke(arguments, copy)
        facts = {
            "number": number,
            "hit": hit,
            "code": code,
            "errors": validated.document["data"].get("errors"),
            "codes": [one["code"] for one in validated.document["data"].get("findings", [])],
            "again": again.exit_code,
            "after": invoke(["validate", "--json"], copy).document["data"].get("errors"),
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        shutil.rmtree(copy)
        if not hit:
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
