"""People are told by a program, an address or the desktop; nothing of it can do harm."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lora_pipeline.engine import notify
from lora_pipeline.engine.webhook import post_webhook
from lora_pipeline.foundation.errors import ProgramNotFoundError, SettingsError

NOTICE = {"v": 1, "event": "run.failed", "run": "01X", "text": 'a "b" $(touch gone) ; é'}


class Listener(HTTPServer):
    """A server that keeps what it is sent and answers as it is told.

    Attributes:
        answers: Status for the next requests.
        taken: Path, authorization and body of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.taken: list[tuple[str, str | None, bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers.get("Authorization"), body))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_gets_the_notice_and_the_token(listener: Listener) -> None:
    post_webhook(listener.address, NOTICE, token="t0ken")

    ((path, authorization, body),) = listener.taken
    assert (path, authorization) == ("/hook", "Bearer t0ken")
    assert json.loads(body) == NOTICE


def test_a_redirection_is_an_answer_that_is_no(listener: Listener) -> None:
    listener.answers = [307]

    with pytest.raises(SettingsError, match="answered 307"):
        post_webhook(listener.address, NOTICE, token="t0ken")
    assert [path for path, _, _ in listener.taken] == ["/hook"]


def test_an_answer_that_is_no_is_told_and_not_asked_again(listener: Listener) -> None:
    listener.answers = [500]

    failure = notify.attempt("webhook", lambda: post_webhook(listener.address, NOTICE))

    assert failure == "webhook: the webhook answered 500"
    assert len(listener.taken) == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://studio.example/hook", "https://"),
        ("file:///etc/passwd", "https://"),
        ("ftp://studio.example", "https://"),
        ("https://kim:secret@studio.example/", "password"),
    ],
)
def test_an_address_that_is_none_gets_nothing(address: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        post_webhook(address, NOTICE)


def test_nobody_there_is_told_without_secrets() -> None:
    address = "http://127.0.0.1:9/services/T0/B0/very-secret"

    failure = notify.attempt("webhook", lambda: post_webhook(address, NOTICE), secrets=(address,))

    assert failure is not None
    assert "very-secret" not in failure


def test_a_program_gets_the_notice_and_no_shell(tmp_path: Path) -> None:
    target = tmp_path / "told.json"
    script = tmp_path / "tell me.py"
    script.write_text(
        "import json, os, sys\n"
        "facts = {'in': json.load(sys.stdin), 'event': os.environ['LORA_NOTICE_EVENT'],"
        " 'argv': sys.argv[2:]}\n"
        "open(sys.argv[1], 'w').write(json.dumps(facts))\n"
    )
    quoted = str(script).replace("\\", "/")

    notify.run_command(f'"{sys.executable}" "{quoted}" {target.as_posix()} "; rm -r x"', NOTICE)

    told = json.loads(target.read_text())
    assert told == {"in": NOTICE, "event": "run.failed", "argv": ["; rm -r x"]}
    assert not Path("gone").exists()


def test_a_program_that_is_not_there_or_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFoundError):
        notify.run_command(str(tmp_path / "nothing"), NOTICE)
    with pytest.raises(SettingsError, match="exit status 3"):
        notify.run_command(f'"{sys.executable}" -c "raise SystemExit(3)"', NOTICE)
    with pytest.raises(SettingsError, match="no command line"):
        notify.run_command('"unbalanced', NOTICE)


@pytest.mark.skipif(sys.platform != "linux", reason="notify-send")
def test_the_desktop_is_told_with_words_that_are_no_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "notify-send"
    program.write_text('#!/bin/sh\nprintf "%s|" "$@" > "$(dirname "$0")/said"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    notify.show_on_desktop("--help", "a $(b)")

    assert (tmp_path / "said").read_text() == "--app-name=lora|--|--help|a $(b)|"
