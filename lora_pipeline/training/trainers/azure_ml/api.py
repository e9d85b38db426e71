"""Azure ML and the storage of its workspace, through their own clients; nothing decides here.

``azure-ai-ml`` takes seconds to import, warns of classes that nobody asked for and may report its
use: it is imported when it is needed, silenced, and told not to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import ServiceRefusedError, ServiceUnreachableError
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.redaction import redacted

EXTRA, MODULES = "azure_ml", ("azure.ai.ml", "azure.identity", "azure.storage.blob")
_ENDPOINT_VARIABLE = "AZUREML_DEV_URL_MFE"  # where the client lets its address be set
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_TRIES = 4


class AzurePlace(msgspec.Struct, frozen=True):
    """Which workspace.

    Attributes:
        subscription: Id of the subscription.
        group: Resource group.
        workspace: Name of the workspace.
        datastore: Its datastore for images and weights.
        endpoint: Another address than Azure's own, or empty.
        storage_url: Another address of the datastore's account than it tells, or empty.
        token_variable: Environment variable with a token of Azure's; empty for azure-identity.
        storage_key_variable: Environment variable with the account's key; empty for azure-identity.
    """

    subscription: str
    group: str
    workspace: str
    datastore: str
    endpoint: str = ""
    storage_url: str = ""
    token_variable: str = ""
    storage_key_variable: str = ""


class AzureJob(msgspec.Struct, frozen=True):
    """A job as Azure ML tells it.

    Attributes:
        name: Its name, which is its id.
        status: ``Queued``, ``Running``, ``Completed``, …
    """

    name: str
    status: str


class AzureCommand(msgspec.Struct, frozen=True):
    """A command job.

    Attributes:
        name: Its name.
        command: Line for the shell in the container; made of constants alone.
        image: Container image.
        compute: Compute that runs it.
        inputs: Folders that are mounted, by name.
        output: Folder that is written.
        max_seconds: After so long Azure ML ends it.
    """

    name: str
    command: str
    image: str
    compute: str
    inputs: Mapping[str, str]
    output: str
    max_seconds: int


class AzureMl:
    """A connection to a workspace.

    Args:
        place: Which one.
        pause_s: How long the clients wait before a second try.
    """

    def __init__(self, place: AzurePlace, *, pause_s: float = 1.0) -> None:
        require_extra(EXTRA, MODULES)
        self._place, self._pause_s = place, pause_s
        with _quietly():
            from azure.ai.ml import MLClient

            with _endpoint(place.endpoint):
                self._client = MLClient(
                    _credential(place.token_variable), place.subscription, place.group,
                    place.workspace, enable_telemetry=False, show_progress=False,
                    logging_enable=False, **self._retries(),
                )  # fmt: skip
        self._blobs: Any = None

    def close(self) -> None:
        """Close what was opened."""
        if self._blobs is not None:
            self._blobs.close()

    def check(self) -> None:
        """Check that the workspace lets us in and has the datastore."""
        with self._told(f"datastore {self._place.datastore}"):
            self._container()

    def job(self, name: str) -> AzureJob | None:
        """Return a job, or None when there surely is none."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._told(f"job {name}"):
            try:
                found = self._client.jobs.get(name)
            except ResourceNotFoundError:
                return None
            return AzureJob(str(found.name), _status(found.status))

    def submit(self, wanted: AzureCommand) -> AzureJob:
        """Create a job, which starts when there is room for it."""
        from azure.ai.ml import Input, Output, command
        from azure.ai.ml.entities import CommandJobLimits, Environment

        with _quietly(), self._told(f"the making of job {wanted.name}"):
            job = command(
                name=wanted.name,
                display_name=wanted.name,
                experiment_name="lora-pipeline",
                command=wanted.command,
                environment=Environment(image=wanted.image),
                compute=wanted.compute,
                inputs={
                    name: Input(type="uri_folder", path=path, mode="ro_mount")
                    for name, path in wanted.inputs.items()
                },
                outputs={"out": Output(type="uri_folder", path=wanted.output, mode="rw_mount")},
            )
            job.limits = CommandJobLimits(timeout=wanted.max_seconds)
            made = self._client.jobs.create_or_update(job)
            return AzureJob(str(made.name), _status(made.status))

    def cancel(self, name: str) -> None:
        """Ask for a job to be cancelled; does not wait for it."""
        with self._told(f"the end of job {name}"):
            self._client.jobs.begin_cancel(name)

    def put(self, source: Path, name: str) -> None:
        """Write a file into the datastore; the service compares its check sum."""
        with self._told(name), source.open("rb") as stream:
            self._container().upload_blob(name, stream, overwrite=True, validate_content=True)

    def put_bytes(self, data: bytes, name: str) -> None:
        """Write a file into the datastore."""
        with self._told(name):
            self._container().upload_blob(name, data, overwrite=True, validate_content=True)

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        """Return a file of the datastore from a byte on, in pieces; None when there is none."""
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        with self._told(name):
            try:
                found = self._container().download_blob(name, offset=start or None)
            except ResourceNotFoundError:
                return None
            except HttpResponseError as error:
                if error.status_code == 416:  # nothing beyond what was read
                    return iter(())
                raise
        return self._pieces(found, name)

    def _pieces(self, found: Any, name: str) -> Iterator[bytes]:
        with self._told(name):
            yield from found.chunks()

    def _container(self) -> Any:
        if self._blobs is None:
            from azure.storage.blob import ContainerClient

            place = self._place
            store = self._client.datastores.get(place.datastore)
            url = place.storage_url or (
                f"{store.protocol}://{store.account_name}.blob.{store.endpoint}"
            )
            key = os.environ.get(place.storage_key_variable) if place.storage_key_variable else None
            self._blobs = ContainerClient(
                url, store.container_name,
                credential=key or _credential(place.token_variable),
                retry_total=_TRIES, initial_backoff=self._pause_s, increment_base=2,
                logging_enable=False,
            )  # fmt: skip
        return self._blobs

    def _retries(self) -> dict[str, Any]:
        return {"retry_total": _TRIES, "retry_backoff_factor": self._pause_s}

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what the clients raise into our words: passing, or a no."""
        from azure.ai.ml.exceptions import MlException
        from azure.core.exceptions import (
            AzureError,
            ClientAuthenticationError,
            DecodeError,
            HttpResponseError,
        )

        try:
            yield
        except ClientAuthenticationError as error:
            raise ServiceRefusedError(
                f"Azure does not let us in for {what}: {self._words(error)}",
                hint="az login, or the variables that azure-identity reads",
            ) from error
        except (DecodeError, ValueError, TypeError, AttributeError, KeyError) as error:
            # The clients take any answer for one of Azure's and stumble over what it lacks.
            raise ServiceRefusedError(
                f"Azure answers {what} with something else than its own documents",
                hint="see whether a proxy or a login page stands in the way",
            ) from error
        except HttpResponseError as error:
            if error.status_code is None or error.status_code in _PASSING:
                raise self._unreachable(what, error) from error
            raise ServiceRefusedError(
                f"Azure refused {what} ({error.status_code}): {self._words(error)}",
                hint=_hint(error.status_code),
            ) from error
        except MlException as error:
            raise ServiceRefusedError(
                f"Azure ML does not take {what}: {self._words(error)}",
                hint="see the settings of trainers.azure_ml",
            ) from error
        except AzureError as error:
            raise self._unreachable(what, error) from error

    def _unreachable(self, what: str, error: Exception) -> ServiceUnreachableError:
        return ServiceUnreachableError(
            f"Azure does not answer for {what}: {self._words(error)}",
            hint="the same command again, once Azure can be reached",
        )

    def _words(self, error: Exception) -> str:
        place = self._place
        names = (place.token_variable, place.storage_key_variable)
        secrets = tuple(os.environ[name] for name in names if os.environ.get(name))
        message = " ".join(str(getattr(error, "message", None) or error).split())[:200]
        return redacted(message, secrets) or type(error).__name__


def _credential(variable: str) -> Any:
    token = os.environ.get(variable) if variable else None
    if token:
        return _Given(token)
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(exclude_interactive_browser_credential=True)


class _Given:
    """A token that somebody else got."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *scopes: str, **options: Any) -> Any:  # noqa: ARG002
        """Return it; when it ends nobody says, so it is asked for anew each time."""
        import time

        from azure.core.credentials import AccessToken

        return AccessToken(self._token, int(time.time()) + 600)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    logger = logging.getLogger("azure")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _endpoint(address: str) -> Iterator[None]:
    """Let the client read another address than Azure's own while it is made."""
    if not address:
        yield
        return
    before = os.environ.get(_ENDPOINT_VARIABLE)
    os.environ[_ENDPOINT_VARIABLE] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ENDPOINT_VARIABLE]
        else:
            os.environ[_ENDPOINT_VARIABLE] = before


def _hint(status: int) -> str:
    if status == 402:
        return "see to the subscription's credit; nothing was started"
    if status == 403:
        return (
            "give this identity the roles AzureML Data Scientist and Storage Blob Data Contributor"
        )
    return "see the settings of trainers.azure_ml"


def _status(value: Any) -> str:
    """Return a status in one spelling: the client tells ``RUNNING``, ``Running`` and an enum."""
    return str(getattr(value, "value", value)).rpartition(".")[2].replace("_", "").lower()
