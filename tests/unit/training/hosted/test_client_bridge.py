"""A client of httpx that speaks through ours: what is sent on, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from lora_pipeline.foundation.errors import ServiceRefusedError, ServiceUnreachableError
from lora_pipeline.training.hosted.client_bridge import ClientBridge, mapping, understood
from lora_pipeline.training.hosted.http_client import ServiceClient
from tests.support.fake_web_service import Asked, FakeWebService, running

httpx = pytest.importorskip("httpx")
pytest.importorskip("httpx2")
TOKEN = "a-token-of-ours"
FIXED = "https://api.example"


@dataclass
class Echo(FakeWebService):
    """Answers with what it was asked."""

    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Return the request."""
        self.asked.append(asked)
        if asked.path == "/empty":
            return 204, None
        body = asked.body or None
        return 200, {"path": asked.path, "query": asked.query, "body": body}


@pytest.fixture
def service() -> Iterator[Echo]:
    with running(Echo(secret=TOKEN)) as service:
        yield service


@pytest.fixture
def bridge(service: Echo) -> Iterator[ClientBridge]:
    ours = ServiceClient(
        service.address, token=TOKEN, variable="TOKEN", first_wait_s=0, sleep=lambda _: None
    )
    with ClientBridge({FIXED: ours}, repeats=lambda method, _: method == "PUT") as bridge:
        yield bridge


@pytest.fixture
def client(bridge: ClientBridge) -> Any:
    return httpx.Client(
        transport=bridge, base_url=FIXED, headers={"Authorization": f"Bearer {TOKEN}"}
    )


def test_a_fixed_address_leads_to_the_one_that_is_set(client: Any, service: Echo) -> None:
    answer = client.post("/v1/jobs?a=1", json={"steps": 3}, headers={"X-Own": "yes"})

    assert answer.json() == {"path": "/v1/jobs", "query": {"a": "1"}, "body": {"steps": 3}}
    (asked,) = service.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["x-own"] == "yes"
    assert asked.headers["host"] in service.address


def test_an_answer_without_a_body_is_one(client: Any) -> None:
    assert client.get("/empty").status_code == 204


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_may_be_repeated_is(method: str, client: Any, service: Echo) -> None:
    service.misbehave(f"{method} /v1", "500", "lost", "502")

    assert client.request(method, "/v1").status_code == 200
    assert len(service.requests) == 4


@pytest.mark.parametrize("fault", ["500", "lost", "cut", "504"])
def test_what_may_not_be_repeated_is_sent_once_whatever_the_client_thinks(
    fault: str, client: Any, service: Echo
) -> None:
    service.misbehave("POST /v1", fault)

    with pytest.raises(ServiceUnreachableError):
        client.post("/v1", json={})

    assert len(service.requests) == 1


@pytest.mark.parametrize(("fault", "words"), [("html", "instead of JSON"), ("402", "402")])
def test_refusals_are_ours_and_hold_no_token(
    fault: str, words: str, client: Any, service: Echo
) -> None:
    service.misbehave("POST /v1", fault)

    with pytest.raises(ServiceRefusedError, match=words) as caught:
        client.post("/v1", json={})

    assert TOKEN not in caught.value.message


def test_another_origin_is_not_followed(client: Any, service: Echo) -> None:
    with pytest.raises(ServiceRefusedError, match=r"sends us to http://127\.0\.0\.1:9"):
        client.get("http://127.0.0.1:9/stolen")

    assert service.requests == []


def test_another_origin_that_is_allowed_gets_no_token(service: Echo) -> None:
    elsewhere = ServiceClient(service.address)
    with ClientBridge({}, repeats=lambda *_: False, elsewhere=lambda _: elsewhere) as bridge:
        client = httpx.Client(transport=bridge, headers={"Authorization": f"Bearer {TOKEN}"})
        client.put("https://storage.example/x", json={})

    assert service.tokens == [""]


def test_answers_are_mended_before_the_client_reads_them(service: Echo) -> None:
    ours = ServiceClient(service.address)
    with ClientBridge(
        {FIXED: ours}, repeats=lambda *_: False, mend=lambda one: {"was": one["path"]}
    ) as bridge:
        client = httpx.Client(transport=bridge, base_url=FIXED)

        assert client.get("/v1").json() == {"was": "/v1"}


@pytest.mark.parametrize("error", [KeyError("secret"), ValueError("secret"), TypeError("secret")])
def test_what_a_client_makes_of_an_odd_answer_is_a_refusal_without_its_text(
    error: Exception,
) -> None:
    with pytest.raises(ServiceRefusedError) as caught, understood("The service"):
        raise error

    assert type(error).__name__ in caught.value.message
    assert "secret" not in caught.value.message


def test_what_is_no_document_is_refused() -> None:
    assert mapping({"a": 1}, "it") == {"a": 1}
    with pytest.raises(ServiceRefusedError, match="it is no document"):
        mapping([1], "it")
