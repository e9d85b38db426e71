"""lora store push and pull before a service that fails: clear words, exit 3, nothing half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import RemoteRefusedError, RemoteStoreError
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store
from tests.support.faulty_proxy import Asked, Fault, FaultyProxy, faulty_proxy
from tests.support.remote_builders import (
    BUCKET,
    credentials,
    empty,
    name_objects,
    noise,
    served,
)
from tests.support.store_builders import put_bytes
from tests.support.workspace_builders import Answer, invoke, make_workspace

MIB = 1024 * 1024
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served("s3", tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "ws", project="neon_city")


@pytest.fixture
def store(workspace: Workspace) -> ObjectStore:
    return open_store(workspace)


@pytest.fixture
def proxy(s3: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3) as found:
        for name, value in credentials("s3", found.port).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LORA_STORE_REMOTE", f"s3://{BUCKET}/{tmp_path.name}")
        monkeypatch.setattr("lora_pipeline.workspace.remote.bucket._FIRST_WAIT_S", 0.01)
        yield found


@pytest.fixture
def pushed(workspace: Workspace, store: ObjectStore, proxy: FaultyProxy) -> str:
    """An object of 20 MiB that is there and no longer here; the proxy's count starts anew."""
    sha256 = put_bytes(store, noise(20 * MIB))
    name_objects(workspace, "icons", sha256)
    assert invoke(["store", "push"], workspace.root).exit_code == 0
    empty(store)
    proxy.asked.clear()
    return sha256


def refused(answer: Answer, code: str, *words: str) -> None:
    """Check a failure: its code, what it says and proposes, and what it must not say."""
    assert answer.exit_code == 3, answer.stdout + answer.stderr
    assert answer.error["code"] == code
    for word in words:
        assert word in answer.error["message"]
    assert answer.error["hint"]
    assert "secret-of-the-studio" not in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def once(fault: Fault, method: str, part: str = "") -> object:
    """Return a rule by which the first matching request fails."""
    left = [fault]

    def rule(asked: Asked) -> Fault | None:
        matches = asked.method == method and part in asked.path
        return left.pop() if left and matches else None

    return rule


def always(fault: Fault, method: str) -> object:
    return lambda asked: fault if asked.method == method else None


def s3_error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()


# --- pull --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_failure_is_asked_again(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy, pushed: str, status: int
) -> None:
    proxy.rule = once(Fault(status, s3_error("SlowDown")), "GET", pushed)  # type: ignore[assignment]

    answer = invoke(["store", "pull"], workspace.root)

    assert answer.exit_code == 0, answer.stderr
    assert store.open_path(pushed).is_file()


@pytest.mark.parametrize(
    ("status", "code", "expected", "word"),
    [
        (503, "ServiceUnavailable", "remote_failed", "HTTP 503"),
        (429, "TooManyRequests", "remote_failed", "HTTP 429"),
        (403, "AccessDenied", "remote_refused", "refuses"),
        (400, "ExpiredToken", "remote_refused", "ExpiredToken"),
        (401, "Unauthorized", "remote_refused", "HTTP 401"),
        (404, "NoSuchKey", "remote_missing", "HTTP 404"),
    ],
)
def test_a_lasting_failure_is_said_and_nothing_is_put_in_place(
    workspace: Workspace,
    store: ObjectStore,
    proxy: FaultyProxy,
    pushed: str,
    status: int,
    code: str,
    expected: str,
    word: str,
) -> None:
    proxy.rule = always(Fault(status, s3_error(code)), "GET")  # type: ignore[assignment]

    refused(invoke(["store", "pull", "icons", "--json"], workspace.root), expected, word)

    assert not store.has(pushed)
    tries = proxy.count("GET", pushed)
    assert tries == (5 if status in (429, 503) else 1)


def test_a_download_that_was_cut_off_goes_on_where_it_ended(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy, pushed: str
) -> None:
    def second_block_is_cut(asked: Asked) -> Fault | None:
        first = asked.headers.get("Range", "").startswith("bytes=0-")
        return Fault(cut_after=1000) if asked.method == "GET" and not first else None

    proxy.rule = second_block_is_cut
    refused(
        invoke(["store", "pull", "--json"], workspace.root),
        "remote_failed",
        f"{8 * MIB} of {20 * MIB} bytes are here",
    )
    assert not store.has(pushed)
    assert sum(one.headers.get("Range", "").startswith(f"bytes={8 * MIB}-") for one in proxy.asked
               ) == 5  # fmt: skip

    proxy.rule = lambda _: None
    proxy.asked.clear()
    assert invoke(["store", "pull"], workspace.root).exit_code == 0

    ranges = [one.headers["Range"] for one in proxy.asked if one.method == "GET"]
    assert [one.split("-")[0] for one in ranges] == [f"bytes={8 * MIB}", f"bytes={16 * MIB}"]
    assert store.open_path(pushed).read_bytes() == noise(20 * MIB)


def test_a_kept_part_that_is_damaged_is_fetched_again(
    workspace: Workspace, store: ObjectStore, pushed: str
) -> None:
    part = store.root / f".lora-tmp-pull-{pushed}"
    part.write_bytes(b"x" * MIB)

    assert invoke(["store", "pull"], workspace.root).exit_code == 0
    assert store.open_path(pushed).is_file()
    assert not part.exists()


def test_other_bytes_are_not_kept(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy, pushed: str
) -> None:
    proxy.rule = always(Fault(body_of=lambda data: data[:-1] + b"!"), "GET")  # type: ignore[assignment]

    refused(invoke(["store", "pull", "--json"], workspace.root), "digest_mismatch", "other bytes")

    assert list(store.root.glob("**/*.lora-tmp*")) == []
    assert not store.has(pushed)


@pytest.mark.parametrize("change", [lambda data: data[:-5], lambda data: data + b"more"])
def test_an_answer_of_another_length_is_refused(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy, pushed: str, change: object
) -> None:
    proxy.rule = always(Fault(body_of=change), "GET")  # type: ignore[arg-type,assignment]

    refused(invoke(["store", "pull", "--json"], workspace.root), "remote_failed", "bytes of object")
    assert not store.has(pushed)


def test_a_page_instead_of_the_bytes_is_no_object(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy, pushed: str
) -> None:
    proxy.rule = always(Fault(200, b"<html>sign in</html>"), "GET")  # type: ignore[assignment]

    refused(invoke(["store", "pull", "--json"], workspace.root), "remote_failed", "20 bytes")
    assert not store.has(pushed)


# --- push --------------------------------------------------------------------------------------


def test_an_upload_says_create_only_and_is_sent_again_after_a_cut(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy
) -> None:
    sha256 = put_bytes(store, noise(1000))
    name_objects(workspace, "icons", sha256)
    # The answer is lost: the object is there, and the second try finds it.
    proxy.rule = once(Fault(cut_after=0), "PUT", sha256)  # type: ignore[assignment]

    answer = invoke(["store", "push", "--json"], workspace.root)

    assert answer.exit_code == 0, answer.stderr
    puts = [one for one in proxy.asked if one.method == "PUT"]
    assert all(one.headers.get("If-None-Match") == "*" for one in puts)
    assert invoke(["store", "verify", "--remote"], workspace.root).exit_code == 0


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(403, "AccessDenied", "remote_refused"), (503, "SlowDown", "remote_failed"),
     (404, "NoSuchBucket", "remote_missing"), (500, "InternalError", "remote_failed")],
)  # fmt: skip
def test_an_upload_that_is_refused_is_said(
    workspace: Workspace,
    store: ObjectStore,
    proxy: FaultyProxy,
    status: int,
    code: str,
    expected: str,
) -> None:
    sha256 = put_bytes(store, noise(1000, seed=status))
    name_objects(workspace, "icons", sha256)
    proxy.rule = always(Fault(status, s3_error(code)), "PUT")  # type: ignore[assignment]

    refused(invoke(["store", "push", "--json"], workspace.root), expected, str(status))

    proxy.rule = lambda _: None
    assert invoke(["store", "push"], workspace.root).exit_code == 0


def test_a_part_that_fails_leaves_no_object_and_no_parts(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy
) -> None:
    sha256 = put_bytes(store, noise(33 * MIB))
    name_objects(workspace, "icons", sha256)
    proxy.rule = lambda asked: (
        Fault(403, s3_error("AccessDenied")) if "partNumber=2" in asked.path else None
    )

    refused(invoke(["store", "push", "--json"], workspace.root), "remote_refused")
    assert proxy.count("DELETE", "uploadId") == 1

    proxy.rule = lambda _: None
    status = invoke(["store", "status", "--json"], workspace.root).document
    assert status["data"]["remote"]["objects"] == 0


def test_an_upload_that_was_only_said_to_be_kept_is_told(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy
) -> None:
    sha256 = put_bytes(store, noise(1000, seed=7))
    name_objects(workspace, "icons", sha256)
    proxy.rule = always(Fault(200), "PUT")  # type: ignore[assignment]  # said yes, kept nothing

    refused(invoke(["store", "push", "--json"], workspace.root), "remote_missing")


def test_a_service_that_is_not_there_is_said(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_objects(workspace, "icons", put_bytes(store, b"x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    refused(invoke(["store", "push", "--json"], workspace.root), "remote_failed", "reached")


def test_without_credentials_the_hint_says_which(
    workspace: Workspace, store: ObjectStore, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_objects(workspace, "icons", put_bytes(store, b"x"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    answer = invoke(["store", "push", "--json"], workspace.root)

    refused(answer, "remote_refused")
    assert "AWS_PROFILE" in answer.error["hint"]


# --- the other services ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["az", "gs"])
def test_azure_and_gcs_say_what_they_refuse(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_pipeline.workspace.remote.address import parse_address
    from lora_pipeline.workspace.remote.bucket import open_bucket

    local = ObjectStore(tmp_path / "store")
    sha256, other = put_bytes(local, noise(1000)), put_bytes(local, noise(1000, 2))
    with served(kind, tmp_path) as port, faulty_proxy(port) as proxy:
        for name, value in credentials(kind, proxy.port).items():
            monkeypatch.setenv(name, value)
        remote = open_bucket(parse_address(f"{kind}://{BUCKET}/loras"))
        assert remote.create(sha256, local.path(sha256))
        for status in (401, 403):
            proxy.rule = lambda _, status=status: Fault(status)  # type: ignore[misc]
            asks: list[Callable[[], object]] = [
                remote.all,
                lambda: remote.read(sha256, 0, 9),
                lambda: remote.create(other, local.path(other)),
            ]
            for ask in asks:
                with pytest.raises(RemoteRefusedError) as caught:
                    ask()
                assert caught.value.hint
                assert "Eby8vdM0" not in str(caught.value)  # the key of the account
        proxy.rule = lambda _: Fault(body_of=lambda data: data[:-1])
        with pytest.raises(RemoteStoreError, match="999 bytes"):
            remote.read(sha256, 0, 1000)
        proxy.rule = lambda _: None
        assert list(remote.all()) == [sha256]


# --- Google Cloud Storage: its local server knows no conditions, so the proxy answers ----------


def test_gcs_is_told_to_create_only_and_believed_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_pipeline.workspace.remote.address import parse_address
    from lora_pipeline.workspace.remote.bucket import open_bucket

    local = ObjectStore(tmp_path / "store")
    small, large = put_bytes(local, noise(100)), put_bytes(local, noise(6 * MIB))
    with served("gs", tmp_path) as port, faulty_proxy(port) as proxy:
        for name, value in credentials("gs", proxy.port).items():
            monkeypatch.setenv(name, value)
        remote = open_bucket(parse_address(f"gs://{BUCKET}/loras"))
        proxy.rule = lambda asked: (
            Fault(412, b'{"error": {"code": 412, "message": "conditionNotMet"}}')
            if asked.method in ("POST", "PUT") and "ifGenerationMatch=0" in asked.path
            else None
        )
        assert not remote.create(small, local.path(small))
        assert not remote.create(large, local.path(large))
        assert remote.all() == {}
