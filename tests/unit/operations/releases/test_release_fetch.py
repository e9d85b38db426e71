"""Weights from an address: bounded, verified, nothing sent along, nothing left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    PipelineError,
    ServiceRefusedError,
    WeightsRefusedError,
)
from lora_pipeline.operations.registry import OPERATIONS
from lora_pipeline.operations.releases.release_fetch import register_release_from
from lora_pipeline.operations.releases.release_register import register_release
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import MODULE, SIZE
from tests.support.loopback import listening
from tests.support.remote_builders import BUCKET, credentials, served
from tests.support.training_builders import (
    LORA,
    lora_tensors,
    safetensors_bytes,
    training_studio,
)
from tests.support.workspace_builders import reopen, tree_digest

pytest.importorskip("httpx2")
SCOPE = Scope(PROJECT)
GOOD = safetensors_bytes(lora_tensors({MODULE: (SIZE, SIZE)}))
SHA256 = hashlib.sha256(GOOD).hexdigest()


@dataclass
class Page:
    """What a server answers, and what it was asked."""

    status: int = 200
    body: bytes = GOOD
    kind: str = "application/octet-stream"
    length: int | None = None
    location: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/models/icons.safetensors?X-Signature=abc123secret"


@pytest.fixture
def page() -> Iterator[Page]:
    shown = Page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.asked.append(dict(self.headers.items()))
            self.send_response(shown.status)
            self.send_header("Content-Type", shown.kind)
            length = len(shown.body) if shown.length is None else shown.length
            self.send_header("Content-Length", str(length))
            if shown.location:
                self.send_header("Location", shown.location)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(shown.body)

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as address:
        shown.port = int(address.rpartition(":")[2])
        yield shown


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return training_studio(tmp_path / "studio", git=False)


def only_release(workspace: Workspace) -> Release:
    (release,) = workspace.records.read(Lora, SCOPE, LORA).record.releases
    return release


def refused(workspace: Workspace, address: str, kind: type[PipelineError], **options: str) -> str:
    """Try to register, and check that nothing at all was left."""
    before = tree_digest(workspace.root)
    with pytest.raises(kind) as caught:
        register_release_from(workspace, LORA, address, **options)  # type: ignore[arg-type]
    assert tree_digest(workspace.root) == before
    assert not (workspace.runtime / "incoming").exists()
    assert "abc123secret" not in caught.value.message
    return f"{caught.value.message} / {caught.value.hint}"


def test_a_file_at_an_address_becomes_a_candidate(workspace: Workspace, page: Page) -> None:
    result = register_release_from(workspace, LORA, page.address, sha256=f"sha256:{SHA256}")

    release = only_release(workspace)
    assert release.weights is not None
    assert open_store(workspace).open_path(release.weights.sha256).read_bytes() == GOOD
    assert release.training["source"] == f"http://127.0.0.1:{page.port}/models/icons.safetensors"
    assert not (workspace.runtime / "incoming").exists()
    assert not any("nobody said" in warning for warning in result.warnings)
    assert b"abc123secret" not in b"".join(tree_digest(workspace.root).values())


def test_what_the_bytes_tell_is_kept_with_the_release(workspace: Workspace, page: Page) -> None:
    page.body = safetensors_bytes(
        lora_tensors({MODULE: (SIZE, SIZE)}),
        {"modelspec.trigger_phrase": "other", "ss_steps": "900",
         "ss_base_model_version": "flux1", "ss_tag_frequency": "{}"},
    )  # fmt: skip

    result = register_release_from(workspace, LORA, page.address)

    seen = only_release(workspace).training["inspection"]
    assert (seen["algorithms"], seen["ranks"], seen["family"]) == ({"lora": 1}, {"4": 1}, "peft")
    assert seen["claims"]["triggerWord"] == "other"
    assert seen["claims"]["steps"] == 900
    words = " ".join(result.warnings)
    assert "names the trigger other, the LoRA's is flt" in words
    assert "metadata says flux1, its tensors are for sd15" in words
    assert "nobody said which digest it must have" in words


def test_ext_12_another_digest_than_was_told_is_refused(workspace: Workspace, page: Page) -> None:
    assert SHA256 in refused(workspace, page.address, DigestMismatchError, sha256="0" * 64)


def test_ext_12_a_page_instead_of_a_file_is_refused(workspace: Workspace, page: Page) -> None:
    page.kind, page.body = "text/html", b"<html>Sign in</html>"

    assert "text/html" in refused(workspace, page.address, ServiceRefusedError)


def test_ext_12_a_page_that_says_it_is_a_file_is_refused(workspace: Workspace, page: Page) -> None:
    page.body = b"<html>Sign in</html>"

    assert "web page" in refused(workspace, page.address, WeightsRefusedError)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_ext_12_an_expired_address_is_refused(
    status: int, workspace: Workspace, page: Page
) -> None:
    page.status = status

    words = refused(workspace, page.address, ServiceRefusedError)

    assert f"({status}" in words
    assert "token" not in words


def test_ext_12_another_address_is_not_followed_and_told_nothing(
    workspace: Workspace, page: Page
) -> None:
    page.status, page.location = 302, f"http://127.0.0.1:{page.port}/elsewhere"

    refused(workspace, page.address, ServiceRefusedError)

    assert len(page.asked) == 1
    assert not any(name.lower() in ("authorization", "cookie") for name in page.asked[0])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://models.example/x.safetensors", "use https://"),
        ("https://kim:secret@models.example/x.safetensors", "name or a password"),
        ("ftp://models.example/x.safetensors", "no address to fetch from"),
        ("file:///etc/passwd", "no address to fetch from"),
        ("https://", "no address to fetch from"),
        ("https://models.example/a b", "cannot be seen"),
        ("https://models.example/a\u200bb", "cannot be seen"),
    ],
)
def test_what_is_no_address_to_fetch_from_is_refused(
    address: str, words: str, workspace: Workspace
) -> None:
    assert words in refused(workspace, address, ArgumentInvalidError)


def test_a_pickle_is_not_even_asked_for(workspace: Workspace, page: Page) -> None:
    address = page.address.replace(".safetensors", ".ckpt")

    assert "pickle by its name" in refused(workspace, address, WeightsRefusedError)
    assert page.asked == []


def test_a_digest_that_is_none_is_said_before_anything_is_fetched(
    workspace: Workspace, page: Page
) -> None:
    words = refused(workspace, page.address, ArgumentInvalidError, sha256="CED210C923")

    assert "no SHA-256" in words
    assert page.asked == []


def test_a_dry_run_looks_at_it_and_keeps_nothing(workspace: Workspace, page: Page) -> None:
    before = tree_digest(workspace.root)

    result = register_release_from(reopen(workspace.root, dry_run=True), LORA, page.address)

    assert result.data["releaseId"] == "r1"
    assert tree_digest(workspace.root) == before


def test_what_a_killed_fetch_left_is_cleared_a_day_later(workspace: Workspace, page: Page) -> None:
    incoming = workspace.runtime / "incoming"
    for name, age in (("old", 1_000_000_000), ("young", None)):
        (incoming / name).mkdir(parents=True)
        (incoming / name / "half.safetensors").write_bytes(b"half")
        if age:
            os.utime(incoming / name, (age, age))

    register_release_from(workspace, LORA, page.address)

    assert [one.name for one in incoming.iterdir()] == ["young"]


def test_programs_may_not_ask_for_an_address(workspace: Workspace) -> None:
    """A caption that talks an agent into it would make us the arm of whoever wrote it."""
    by_name = {one.name: one for one in OPERATIONS}

    assert not by_name["release.registerFrom"].agents
    with pytest.raises(ArgumentInvalidError, match="only when a person says so"):
        register_release(workspace, LORA, "https://169.254.169.254/latest/meta-data")


@pytest.mark.slow
@pytest.mark.parametrize("service", ["s3", "az", "gs"])
def test_an_object_of_a_bucket_becomes_a_candidate(
    service: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with served(service, folder) as port:
        for name, value in credentials(service, port).items():
            monkeypatch.setenv(name, value)
        import fsspec

        there = fsspec.filesystem(service, skip_instance_cache=True)
        there.pipe_file(f"{BUCKET}/loras/icons.safetensors", GOOD)
        address = f"{service}://{BUCKET}/loras/icons.safetensors"

        register_release_from(workspace, LORA, address, sha256=SHA256)
        with pytest.raises(PipelineError) as missing:
            register_release_from(workspace, LORA, address.replace("icons", "none"))

    assert only_release(workspace).training["source"] == address
    assert missing.value.code == "remote_missing"
