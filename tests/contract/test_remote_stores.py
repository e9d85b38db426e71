"""What every remote store promises: a folder always, the services where their servers are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import RemoteMissingError, RemoteStoreError
from lora_pipeline.workspace.remote.address import parse_address
from lora_pipeline.workspace.remote.bucket import open_bucket
from lora_pipeline.workspace.remote.folder import FolderRemote
from lora_pipeline.workspace.remote.store import RemoteStore
from lora_pipeline.workspace.remote.transfer import fetch_object, remote_sha256, send_object
from lora_pipeline.workspace.store import ObjectStore
from tests.support.remote_builders import BUCKET, credentials, noise, served
from tests.support.store_builders import put_bytes

MIB = 1024 * 1024
# What aiohttp says to the clients' authors.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


def skip_without_conditions(remote: RemoteStore) -> None:
    if remote.address.service == "gs":
        pytest.skip("its local server ignores ifGenerationMatch: see test_remote_faults")


@pytest.fixture(scope="module", params=["file", "s3", "az", "gs"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    if kind == "file":
        yield f"file://{folder.as_posix()}"
        return
    with served(kind, folder) as port, pytest.MonkeyPatch.context() as patch:
        for name, value in credentials(kind, port).items():
            patch.setenv(name, value)
        yield f"{kind}://{BUCKET}"


@pytest.fixture
def remote(service: str, tmp_path: Path) -> RemoteStore:
    """A store of its own for each test."""
    place = f"{service}/{tmp_path.name}"
    if service.startswith("file"):
        Path(place.removeprefix("file://")).mkdir()
    return opened(place)


def opened(place: str) -> RemoteStore:
    address = parse_address(place)
    return FolderRemote(address) if address.service == "file" else open_bucket(address)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "store")


def test_what_was_made_is_found_and_read(remote: RemoteStore, store: ObjectStore) -> None:
    data = noise(100_000)
    sha256 = put_bytes(store, data)

    assert remote.all() == {}
    assert remote.find(sha256) is None
    assert remote.create(sha256, store.path(sha256))

    found = remote.find(sha256)
    assert found is not None
    assert found.bytes == len(data)
    assert remote.all() == {sha256: found}
    assert remote.read(sha256, 10, 99_000) == data[10:99_000]
    assert remote.read(sha256, 0, 0) == b""
    assert remote_sha256(remote, sha256) == sha256


def test_what_stands_there_is_never_replaced(
    remote: RemoteStore, store: ObjectStore, tmp_path: Path
) -> None:
    skip_without_conditions(remote)
    sha256 = put_bytes(store, b"first")
    other = tmp_path / "other"
    other.write_bytes(b"second, longer than the first")

    assert remote.create(sha256, store.path(sha256))
    assert not remote.create(sha256, other)
    assert remote.read(sha256, 0, 5) == b"first"


@pytest.mark.slow
def test_what_is_sent_in_parts_is_never_replaced_either(
    remote: RemoteStore, store: ObjectStore, tmp_path: Path
) -> None:
    skip_without_conditions(remote)
    sha256 = put_bytes(store, noise(70 * MIB, 2))
    other = tmp_path / "other"
    other.write_bytes(noise(70 * MIB, 3))

    assert remote.create(sha256, store.path(sha256))
    assert not remote.create(sha256, other)
    assert remote_sha256(remote, sha256) == sha256


@pytest.mark.parametrize("size", [0, 1, 6 * MIB, pytest.param(40 * MIB, marks=pytest.mark.slow)])
def test_an_object_of_any_size_goes_there_and_comes_back(
    remote: RemoteStore, store: ObjectStore, tmp_path: Path, size: int
) -> None:
    sha256 = put_bytes(store, noise(size))
    elsewhere = ObjectStore(tmp_path / "elsewhere")

    assert send_object(remote, store, sha256) in ("checksum", "readBack")
    if remote.address.service != "gs":
        assert send_object(remote, store, sha256) == "wasThere"
    fetch_object(remote, elsewhere, sha256, lambda _: None)

    assert elsewhere.open_path(sha256).stat().st_size == size
    assert [path.name for path in elsewhere.root.rglob("*") if path.is_file()] == [sha256]


def test_s3_and_gcs_prove_by_their_own_checksum(remote: RemoteStore, store: ObjectStore) -> None:
    small, large = put_bytes(store, noise(1000)), put_bytes(store, noise(40 * MIB))
    how = "checksum" if remote.address.service in ("s3", "gs") else "readBack"

    assert send_object(remote, store, small) == how
    assert send_object(remote, store, large) == how


def test_other_bytes_under_a_name_are_told_and_left(
    remote: RemoteStore, store: ObjectStore, tmp_path: Path
) -> None:
    skip_without_conditions(remote)
    sha256 = put_bytes(store, b"what it should be")
    other = tmp_path / "other"
    other.write_bytes(b"what it shouldn't")
    remote.create(sha256, other)

    assert send_object(remote, store, sha256) == "differsThere"
    assert remote.read(sha256, 0, 17) == b"what it shouldn't"
    assert not remote.has_checksum_of(sha256, store.path(sha256))


def test_files_of_others_are_no_objects(
    remote: RemoteStore, store: ObjectStore, tmp_path: Path
) -> None:
    sha256 = put_bytes(store, b"ours")
    remote.create(sha256, store.path(sha256))
    if remote.address.service == "file":
        place = Path(remote.address.place) / sha256[:2]
        (place / "readme.txt").write_text("theirs")
        (place / ("f" * 64)).write_text("in the wrong folder")

    assert list(remote.all()) == [sha256]


def test_a_deleted_object_is_gone(remote: RemoteStore, store: ObjectStore) -> None:
    sha256 = put_bytes(store, b"to go")
    remote.create(sha256, store.path(sha256))

    remote.delete(sha256)

    assert remote.find(sha256) is None
    with pytest.raises(RemoteMissingError):
        remote.read(sha256, 0, 5)


def test_an_object_has_a_time(remote: RemoteStore, store: ObjectStore) -> None:
    import time

    before = time.time()
    sha256 = put_bytes(store, b"now")
    remote.create(sha256, store.path(sha256))

    found = remote.find(sha256)
    listed = remote.all()[sha256]
    for facts in (found, listed):
        assert facts is not None
        assert facts.changed is not None
        assert abs(facts.changed - before) < 600


def test_reading_past_the_end_is_an_error(remote: RemoteStore, store: ObjectStore) -> None:
    sha256 = put_bytes(store, b"short")
    remote.create(sha256, store.path(sha256))

    with pytest.raises(RemoteStoreError):
        remote.read(sha256, 0, 6)


def test_a_bucket_that_is_not_there_is_said_to_be(service: str, store: ObjectStore) -> None:
    kind, _, place = service.partition("://")
    absent = opened(f"{kind}://{place}-absent/loras")
    sha256 = put_bytes(store, b"for nobody")

    for ask in (
        absent.all,
        lambda: absent.find(sha256),
        lambda: absent.create(sha256, store.path(sha256)),
    ):
        with pytest.raises(RemoteMissingError) as caught:
            ask()
        assert "absent" in caught.value.message
        assert caught.value.hint


def test_the_digest_is_the_name(remote: RemoteStore, store: ObjectStore) -> None:
    data = b"layout"
    sha256 = put_bytes(store, data)
    remote.create(sha256, store.path(sha256))

    assert sha256 == hashlib.sha256(data).hexdigest()
    if remote.address.service == "file":
        assert (Path(remote.address.place) / sha256[:2] / sha256).read_bytes() == data
