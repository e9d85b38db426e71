"""Pods of RunPod: what is asked for, what its answers mean, and that no second one is made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import (
    ServiceError,
    ServiceRefusedError,
    ServiceUnreachableError,
    TrainerUnavailableError,
)
from lora_pipeline.training.hosted.interface import JobView
from lora_pipeline.training.hosted.rented import Renting, estimate_rented, spent_on
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.runpod.pod import RunPodService
from lora_pipeline.training.trainers.runpod.trainer import RUNPOD, pod_token
from lora_pipeline.workspace.settings import Settings
from tests.support.fake_ai_toolkit_server import FakeToolkit, running_toolkit
from tests.support.fake_runpod import KEY, PRICE, FakeRunPod
from tests.support.fake_web_service import running
from tests.support.trainer_requests import make_request, settings_with

pytest.importorskip("httpx2")
MAKE = "POST /graphql"
NAME = "lora-01jz8b9q6v3w2k4m5n7p8r9s0t"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FakeRunPod, FakeToolkit]]:
    with running_toolkit() as toolkit, running(FakeRunPod()) as runpod:
        yield runpod, toolkit


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch, servers: tuple[FakeRunPod, FakeToolkit]) -> FakeRunPod:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    runpod, toolkit = servers
    runpod.forget()
    toolkit.faults.clear()
    toolkit.jobs.clear()
    toolkit.token = pod_token(KEY, NAME)
    return runpod


@pytest.fixture
def toolkit(servers: tuple[FakeRunPod, FakeToolkit], runpod: FakeRunPod) -> FakeToolkit:
    return servers[1]


def settings_for(
    tmp_path: Path, servers: tuple[FakeRunPod, FakeToolkit], **values: object
) -> Settings:
    given = {
        "apiUrl": servers[0].address, "proxyUrl": servers[1].address, "modelsRoot": "/models",
        **values,
    }  # fmt: skip
    return settings_with(
        tmp_path / "ws",
        trainers__pollSeconds=0.001,  # type: ignore[arg-type]
        **{f"trainers__runpod__{name}": value for name, value in given.items()},  # type: ignore[arg-type]
    )


@pytest.fixture
def settings(tmp_path: Path, servers: tuple[FakeRunPod, FakeToolkit]) -> Settings:
    return settings_for(tmp_path, servers)


@pytest.fixture
def service(settings: Settings, runpod: FakeRunPod) -> Iterator[RunPodService]:
    with RUNPOD.service(settings) as service:
        yield service


@pytest.fixture
def plan(tmp_path: Path, settings: Settings) -> Plan:
    return RUNPOD.prepare(make_request(tmp_path, "sdxl"), settings, "1")


def nothing() -> None:
    """Stand for the note that a job may exist."""


def look_until(service: RunPodService, pod: str, *states: str) -> JobView:
    for _ in range(50):
        view = service.look(pod)
        if view.state in states:
            return view
    raise AssertionError(f"it never came to be {states}")


# ---- settings


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("gpuType", 'x" }) { id } evil', "which RunPod cannot know"),
        ("image", "", "which RunPod cannot know"),
        ("cloud", "MOON", "SECURE or COMMUNITY"),
        ("apiUrl", "ftp://x", "no address"),
        ("proxyUrl", "pod.example", "no address"),
        ("maxHours", 0, "more than 0"),
        ("keyVariable", "not a name", "never the key"),
        ("keyVariable", "NOBODY_SET_THIS", "does not hold RunPod's key"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_said(
    setting: str, value: object, words: str, tmp_path: Path,
    servers: tuple[FakeRunPod, FakeToolkit], runpod: FakeRunPod,
) -> None:  # fmt: skip
    settings = settings_for(tmp_path, servers, **{setting: value})

    problem = RUNPOD.health(settings)

    assert problem is not None
    assert words in f"{problem.message} {problem.hint}"
    with pytest.raises(TrainerUnavailableError):
        RUNPOD.service(settings)


def test_without_a_price_nobody_can_say_what_it_costs(tmp_path: Path, settings: Settings) -> None:
    estimate = estimate_rented(settings, "trainers.runpod", 1000, currency="USD")

    assert estimate.cost is None
    assert "trainers.runpod.pricePerHour" in estimate.basis


def test_an_estimate_counts_the_start_and_every_image(
    tmp_path: Path, servers: tuple[FakeRunPod, FakeToolkit]
) -> None:
    settings = settings_for(tmp_path, servers, pricePerHour=0.6, secondsPerStep=3.0)

    estimate = estimate_rented(settings, "trainers.runpod", 1000, currency="USD")

    assert (estimate.minutes, estimate.cost) == (70.0, 0.7)
    assert "1000 steps of 3 s at 0.6 USD an hour" in estimate.basis


@pytest.mark.parametrize(
    ("price", "since", "until", "amount"),
    [
        (0.6, "2026-01-01T00:00:00Z", "2026-01-01T00:30:00+00:00", 0.3),
        (0.6, "2026-01-01T00:00:05Z", "2026-01-01T00:00:00Z", 0.0),
        (0.0, "2026-01-01T00:00:00Z", "2026-01-01T00:30:00Z", None),
        (0.6, "", "2026-01-01T00:30:00Z", None),
        (0.6, "2026-01-01T00:00:00", "2026-01-01T00:30:00Z", None),
    ],
)
def test_what_a_machine_cost_is_its_time_by_its_price(
    price: float, since: str, until: str, amount: float | None
) -> None:
    spent = spent_on(price, since, until)

    assert (spent.amount if spent else None) == amount


def test_the_token_of_a_pod_follows_from_key_and_name_and_tells_neither() -> None:
    assert pod_token(KEY, NAME) == pod_token(KEY, NAME)
    assert pod_token(KEY, NAME) != pod_token(KEY, "another")
    assert KEY not in pod_token(KEY, NAME)


# ---- making a pod


def test_a_pod_is_asked_for_with_its_name_its_end_and_a_token_of_its_own(
    service: RunPodService, plan: Plan, runpod: FakeRunPod
) -> None:
    before = datetime.now(UTC)

    service.send(plan, NAME, nothing)

    (made,) = runpod.made
    end = datetime.fromisoformat(made["terminateAfter"])
    assert isinstance(service, Renting)
    assert made["name"] == NAME
    assert made["env"][-1] == {"key": "AI_TOOLKIT_AUTH", "value": pod_token(KEY, NAME)}
    assert 7.9 < (end - before).total_seconds() / 3600 < 8.1


def test_a_volume_and_a_secret_of_runpods_are_named_and_their_content_never_seen(
    tmp_path: Path, servers: tuple[FakeRunPod, FakeToolkit], plan: Plan, runpod: FakeRunPod
) -> None:
    settings = settings_for(
        tmp_path, servers, networkVolumeId="vol1", dataCenterId="US-KS-2", hubSecret="hub"
    )

    with RUNPOD.service(settings) as service:
        service.send(plan, NAME, nothing)

    (made,) = runpod.made
    environment = {one["key"]: one["value"] for one in made["env"]}
    assert (made["networkVolumeId"], made["dataCenterId"]) == ("vol1", "US-KS-2")
    assert environment["HF_TOKEN"] == "{{ RUNPOD_SECRET_hub }}"
    assert environment["HF_HOME"] == "/workspace/huggingface"


def test_it_is_noted_that_there_may_be_a_pod_before_one_is_asked_for(
    service: RunPodService, plan: Plan, runpod: FakeRunPod
) -> None:
    seen: list[int] = []

    service.send(plan, NAME, lambda: seen.append(runpod.count(MAKE)))

    assert seen == [0]


@pytest.mark.parametrize("hidden", [0, 2])
def test_a_pod_whose_making_is_in_doubt_is_looked_for_and_not_made_twice(
    hidden: int, service: RunPodService, plan: Plan, runpod: FakeRunPod
) -> None:
    runpod.misbehave(MAKE, "lost")
    runpod.hidden = hidden

    assert service.send(plan, NAME, nothing) == "pod1"
    assert len(runpod.made) == 1


def test_of_two_pods_of_one_name_the_younger_is_deleted(
    service: RunPodService, plan: Plan, runpod: FakeRunPod
) -> None:
    runpod.misbehave(MAKE, "lost")
    runpod.twins = True

    assert service.send(plan, NAME, nothing) == "pod1"
    assert runpod.alive() == ["pod1"]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("401", ServiceRefusedError, "RUNPOD_API_KEY"),
        ("402", ServiceRefusedError, "credit"),
        ("404", ServiceRefusedError, "404"),
        ("409", ServiceRefusedError, "409"),
        ("422", ServiceRefusedError, "422"),
        ("500", ServiceUnreachableError, "500"),
        ("cut", ServiceUnreachableError, "connection"),
        ("html", ServiceRefusedError, "text/html instead of JSON"),
        ("list", ServiceRefusedError, "without one"),
    ],
)
def test_a_pod_that_is_not_made_is_told_in_runpods_own_words(
    fault: str, kind: type[ServiceError], words: str,
    service: RunPodService, plan: Plan, runpod: FakeRunPod,
) -> None:  # fmt: skip
    runpod.misbehave(MAKE, fault)

    with pytest.raises(kind) as caught:
        service.send(plan, NAME, nothing)

    assert words in f"{caught.value.message} {caught.value.hint}"
    assert KEY not in caught.value.message
    assert (runpod.made, runpod.count(MAKE)) == ([], 1)


def test_too_many_requests_are_made_again_after_the_time_that_was_asked_for(
    service: RunPodService, plan: Plan, runpod: FakeRunPod
) -> None:
    runpod.misbehave(MAKE, "429:0", "503")

    service.send(plan, NAME, nothing)

    assert (len(runpod.made), runpod.count(MAKE)) == (1, 3)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("There are no longer any instances available with the requested", "another trainers"),
        ("Your account balance is too low", "credit"),
        ("Something else went wrong", "see the settings"),
    ],
)
def test_what_graphql_refuses_is_told_with_what_to_do(
    message: str, advice: str, service: RunPodService, plan: Plan, runpod: FakeRunPod
) -> None:
    runpod.graphql_error = message

    with pytest.raises(ServiceRefusedError) as caught:
        service.send(plan, NAME, nothing)

    assert message in caught.value.message
    assert advice in (caught.value.hint or "")


def test_a_gpu_that_runpod_does_not_have_is_said(
    tmp_path: Path, servers: tuple[FakeRunPod, FakeToolkit], runpod: FakeRunPod
) -> None:
    settings = settings_for(tmp_path, servers, gpuType="NVIDIA Abacus")

    with RUNPOD.service(settings) as service, pytest.raises(ServiceRefusedError) as caught:
        service.check()

    assert "no GPU type 'NVIDIA Abacus'" in caught.value.message


@pytest.mark.parametrize(("cloud", "price"), [("SECURE", PRICE), ("COMMUNITY", 0.31)])
def test_runpod_is_asked_what_the_gpu_costs(
    cloud: str, price: float, tmp_path: Path,
    servers: tuple[FakeRunPod, FakeToolkit], runpod: FakeRunPod,
) -> None:  # fmt: skip
    with RUNPOD.service(settings_for(tmp_path, servers, cloud=cloud)) as service:
        assert service.price_per_hour() == price


# ---- following one


def test_images_go_into_the_pod_when_its_server_answers_and_not_before(
    service: RunPodService, plan: Plan, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    pod = service.send(plan, NAME, nothing)

    first = service.look(pod)
    assert (first.state, first.message) == ("waiting", "the pod is being made")
    assert not service.holds_job(pod)
    assert toolkit.jobs == {}
    look_until(service, pod, "running")
    assert service.holds_job(pod)
    assert [job["name"] for job in toolkit.jobs.values()] == [NAME]
    look_until(service, pod, "ended")
    assert len(service.outputs(pod)) == 2


def test_a_pod_into_which_nothing_was_sent_and_nothing_can_be_is_a_failure(
    settings: Settings, runpod: FakeRunPod
) -> None:
    pod = runpod.add(NAME)

    with RUNPOD.service(settings) as service:
        view = service.look(pod)

    assert (view.state, view.message) == (
        "failed", "it was broken off before the images were sent",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("EXITED", "was stopped"),
        ("ERROR", "is broken"),
        ("TERMINATED", "no pod pod1 any more"),
        ("", "no pod pod1 any more"),
    ],
)
def test_a_pod_that_is_of_no_use_any_more_is_a_failure(
    status: str, words: str, service: RunPodService, runpod: FakeRunPod
) -> None:
    if status:
        runpod.add(NAME, status)

    view = service.look("pod1")

    assert view.state == "failed"
    assert words in view.message


def test_once_the_job_was_seen_a_page_of_the_proxys_is_no_answer(
    service: RunPodService, plan: Plan, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    pod = service.send(plan, NAME, nothing)
    look_until(service, pod, "running")
    toolkit.misbehave("GET /api/jobs", "html")

    with pytest.raises(ServiceUnreachableError):
        service.look(pod)

    assert service.look(pod).state in {"running", "ended"}


def test_stopping_deletes_the_pod_and_tells_what_it_cost(
    service: RunPodService, plan: Plan, runpod: FakeRunPod
) -> None:
    pod = service.send(plan, NAME, nothing)
    service.look(pod)
    assert service.spent(pod) is None

    service.stop(pod)
    service.stop(pod)

    spent = service.spent(pod)
    assert runpod.alive() == []
    assert spent is not None
    assert f"at {PRICE} USD an hour" in spent.basis


def test_what_is_kept_for_runs_is_told_and_what_is_not_ours_is_not(
    service: RunPodService, runpod: FakeRunPod
) -> None:
    runpod.add("somebody's notebook")
    ours = runpod.add(NAME, age=90)
    runpod.add("lora-old", "TERMINATED")

    (kept,) = service.kept("lora-")

    assert (kept.id, kept.name, kept.cost_per_hour) == (ours, NAME, PRICE)


def test_letting_go_deletes_every_pod_of_the_name_and_no_other(
    service: RunPodService, runpod: FakeRunPod
) -> None:
    other = runpod.add("lora-other")
    runpod.add(NAME)
    runpod.add(NAME)

    service.let_go(NAME)

    assert runpod.alive() == [other]
