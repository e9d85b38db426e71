"""The HTTP client against a server that misbehaves: what is repeated, what is not, what is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import ServiceRefusedError, ServiceUnreachableError
from lora_pipeline.training.hosted.http_client import ServiceClient
from tests.support.fake_ai_toolkit_server import TOKEN, FakeToolkit, running_toolkit

pytest.importorskip("httpx2")
AUTH = "/api/auth"


@dataclass
class Naps:
    """Takes every wait and waits for none."""

    taken: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.fixture
def toolkit() -> Iterator[FakeToolkit]:
    with running_toolkit() as toolkit:
        yield toolkit


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def client(toolkit: FakeToolkit, naps: Naps) -> Iterator[ServiceClient]:
    client = ServiceClient(toolkit.address, token=TOKEN, variable="MY_TOKEN", sleep=naps)
    yield client
    client.close()


def test_reading_is_repeated_with_growing_waits(
    client: ServiceClient, toolkit: FakeToolkit, naps: Naps
) -> None:
    toolkit.misbehave(f"GET {AUTH}", "500", "502", "cut", "504")
    assert client.read(AUTH) == {"isAuthenticated": True}
    assert naps.taken == [1.0, 2.0, 4.0, 8.0]


def test_retry_after_is_honoured_and_bounded(
    client: ServiceClient, toolkit: FakeToolkit, naps: Naps
) -> None:
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    toolkit.misbehave(f"GET {AUTH}", "429:7", "429:99999", f"503:{past}", "429:soon")
    client.read(AUTH)
    assert naps.taken == [7.0, 300.0, 0.0, 8.0]


def test_after_five_tries_it_gives_up(
    client: ServiceClient, toolkit: FakeToolkit, naps: Naps
) -> None:
    toolkit.misbehave(f"GET {AUTH}", *["503"] * 9)
    with pytest.raises(ServiceUnreachableError, match="503"):
        client.read(AUTH)
    assert toolkit.count(f"GET {AUTH}") == 5
    assert len(naps.taken) == 4


@pytest.mark.parametrize("fault", ["500", "502", "504", "cut", "lost"])
def test_a_change_in_doubt_is_not_repeated(
    fault: str, client: ServiceClient, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("POST /api/jobs", fault)
    with pytest.raises(ServiceUnreachableError):
        client.act("POST", "/api/jobs", {"name": "a", "gpu_ids": "0", "job_config": {"a": 1}})
    assert toolkit.count("POST /api/jobs") == 1


@pytest.mark.parametrize("fault", ["429:0", "503"])
def test_a_change_that_surely_did_not_happen_is_repeated(
    fault: str, client: ServiceClient, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("POST /api/jobs", fault)
    client.act("POST", "/api/jobs", {"name": "a", "gpu_ids": "0", "job_config": {"a": 1}})
    assert (toolkit.count("POST /api/jobs"), len(toolkit.jobs)) == (2, 1)


@pytest.mark.parametrize(
    ("fault", "words", "hint"),
    [
        ("401", "401", "MY_TOKEN"),
        ("403", "403", "MY_TOKEN"),
        ("402", "402", "credit"),
        ("404", "404", ""),
        ("409", "409", ""),
        ("422", "422", ""),
        ("redirect", "302", "not followed"),
        ("html", "text/html instead of JSON", "login page"),
    ],
)
def test_a_no_is_said_at_once_without_the_token(
    fault: str, words: str, hint: str, client: ServiceClient, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave(f"GET {AUTH}", fault)
    with pytest.raises(ServiceRefusedError) as caught:
        client.read(AUTH)
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")
    assert TOKEN not in caught.value.message
    assert toolkit.count(f"GET {AUTH}") == 1


@pytest.mark.parametrize("fault", ["short", "long", "cut"])
def test_a_file_of_another_length_is_never_left_behind(
    fault: str, client: ServiceClient, toolkit: FakeToolkit, tmp_path: Path
) -> None:
    toolkit.misbehave("GET /api/files", *[fault] * 5)
    with pytest.raises(ServiceUnreachableError):
        client.download("/api/files/x", tmp_path / "x", bytes_expected=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_file_that_is_not_as_long_as_was_promised_is_refused(
    wrong: int, client: ServiceClient, toolkit: FakeToolkit, tmp_path: Path
) -> None:
    with pytest.raises(ServiceUnreachableError, match="bytes"):
        client.download("/api/files/x", tmp_path / "x", bytes_expected=len(toolkit.weights) + wrong)
    assert list(tmp_path.iterdir()) == []


def test_nobody_there_is_said_with_the_address(naps: Naps) -> None:
    client = ServiceClient("http://127.0.0.1:9", sleep=naps)
    with pytest.raises(ServiceUnreachableError, match=r"http://127\.0\.0\.1:9 does not answer"):
        client.read(AUTH)
    client.close()
