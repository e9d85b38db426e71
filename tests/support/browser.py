"""A real browser, driven over a pipe: Chromium's own protocol, no port and no driver."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("LORA_TEST_CHROMIUM") or shutil.which("chromium") or ""


_EXEC = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, out: int, into: int) -> None:
        self._out, self._into = out, into
        self._number, self._rest = 0, b""
        self._session = ""
        self._told: list[dict[str, Any]] = []

    def open(self, page: Path, downloads: Path) -> None:
        """Open a file in a new page that saves what it downloads in a folder."""
        self.call(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads),
            eventsEnabled=True,
        )  # fmt: skip
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")
        self.call("Page.navigate", url=page.as_uri())
        self.until("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """Return what an expression comes to; promises are waited for."""
        done = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key as a person does."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, target: Path) -> None:
        """Write what is on the screen as PNG."""
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        target.write_bytes(base64.b64decode(picture))

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def until(self, method: str) -> dict[str, Any]:
        """Return the next event of a kind."""
        while True:
            message = self._told.pop(0) if self._told else self._read()
            if message.get("method") == method:
                found: dict[str, Any] = message["params"]
                return found

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a command."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found
            self._told.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._out, 1 << 20)
            assert data, "the browser is gone"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile is in a folder, and end it."""
    to_read, to_write = os.pipe(), os.pipe()
    # Far from 3 and 4, where the browser looks for them.
    given = fcntl.fcntl(to_write[0], fcntl.F_DUPFD, 50)
    taken = fcntl.fcntl(to_read[1], fcntl.F_DUPFD, 50)
    command = [
        sys.executable, "-S", "-c", _EXEC, str(given), str(taken),
        CHROMIUM,
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe",
        f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        pass_fds=(given, taken),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    for one in (to_write[0], to_read[1], given, taken):
        os.close(one)
    try:
        yield Browser(to_read[0], to_write[1])
    finally:
        os.close(to_write[1])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        os.close(to_read[0])
