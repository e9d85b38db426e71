"""Remote stores for tests: a folder, and the real local servers of three services.

The servers are programs of others, named by variables or found on the path:

    LORA_TEST_MOTO     moto_server           (pip install 'moto[server]')
    LORA_TEST_AZURITE  azurite-blob          (npm install azurite)
    LORA_TEST_GCS      gcp-storage-emulator  (pip install gcp-storage-emulator)

Each in an environment of its own; tests that need an absent one are skipped.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore

BUCKET = "art"
_AZURE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
    # Azurite's account and key are the same everywhere, and printed in its manual.
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
)
_FOUND = {  # read before the tests clear the environment
    "s3": os.environ.get("LORA_TEST_MOTO") or shutil.which("moto_server"),
    "az": os.environ.get("LORA_TEST_AZURITE") or shutil.which("azurite-blob"),
    "gs": os.environ.get("LORA_TEST_GCS") or shutil.which("gcp-storage-emulator"),
}
_CLIENTS = {"s3": "s3fs", "az": "adlfs", "gs": "gcsfs"}


@contextlib.contextmanager
def served(service: str, folder: Path) -> Iterator[int]:
    """Give the port of a running server with the bucket ``art``; skip when there is none."""
    program = _FOUND[service]
    if not program or importlib.util.find_spec(_CLIENTS[service]) is None:
        pytest.skip(f"no local server or no client for {service}")
    port = _free_port()
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [program, *_arguments(service, port, folder)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(port, server)
            _make_bucket(service, port)
            yield port
        finally:
            server.terminate()
            server.wait(20)


def credentials(service: str, port: int) -> dict[str, str]:
    """Return the environment in which a client finds the server behind a port."""
    here = f"http://127.0.0.1:{port}"
    return {
        "s3": {
            "AWS_ENDPOINT_URL": here,
            "AWS_ACCESS_KEY_ID": "studio",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-studio",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        "az": {"AZURE_STORAGE_CONNECTION_STRING": f"{_AZURE}BlobEndpoint={here}/devstoreaccount1;"},
        "gs": {"STORAGE_EMULATOR_HOST": here, "NO_GCE_CHECK": "true"},
    }[service]


def name_objects(workspace: Workspace, record_id: str, *digests: str) -> None:
    """Write a file that names objects as the records of LoRAs do."""
    weights = [{"weights": {"kind": "store", "sha256": digest}} for digest in digests]
    path = workspace.data_root / "projects" / "neon_city" / "loras" / f"{record_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"releases": weights}), encoding="utf-8")


def empty(store: ObjectStore) -> None:
    """Delete every object that is here."""
    for sha256 in store.all():
        store.path(sha256).unlink()


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that repeat nowhere; the same ones for the same seed."""
    import random

    return random.Random(seed).randbytes(size)


def _arguments(service: str, port: int, folder: Path) -> list[str]:
    if service == "s3":
        return ["-H", "127.0.0.1", "-p", str(port)]
    if service == "az":
        place = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
        return [*place, "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    place = ["--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    return ["start", *place, "--default-bucket", BUCKET]


def _make_bucket(service: str, port: int) -> None:
    if service == "s3":
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(request, timeout=30):
            pass
    elif service == "az":
        from azure.storage.blob import BlobServiceClient

        text = credentials("az", port)["AZURE_STORAGE_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(text) as client:
            client.create_container(BUCKET)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)  # a server that starts can only be asked again
    pytest.fail(f"the server on port {port} did not start")
