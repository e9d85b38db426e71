"""Run a program and stop its whole process group when our parent is gone.

Started as a script with ``python -I -S`` by ``process.py``; imports the standard library
only, so that it starts in a few milliseconds. Its standard input is a pipe that the parent
holds open: the end of that pipe means that the parent died, however it died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_S = 5.0


def main(argv: list[str]) -> int:
    """Run ``argv``, pass its exit status on, and never outlive the parent."""
    try:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        return 127
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the group got it too; wait for the child
    orphaned = threading.Event()
    threading.Thread(target=_watch_parent, args=(child, orphaned), daemon=True).start()
    status = child.wait()
    if orphaned.is_set():
        _kill_group()  # the child may have left children that do not listen to a polite signal
    if status < 0 and os.name != "nt":
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)  # so that our parent sees the same signal
    return status


def _watch_parent(child: subprocess.Popen[bytes], orphaned: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    orphaned.set()
    if os.name == "nt":
        child.terminate()
        os._exit(1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(_GRACE_S)
    _kill_group()


def _kill_group() -> None:
    if os.name != "nt":
        os.killpg(0, signal.SIGKILL)  # ends this process as well


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
