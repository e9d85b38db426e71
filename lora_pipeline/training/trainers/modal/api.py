"""Modal through its own client: a volume for files, a sandbox that trains; nothing decides here.

A sandbox is asked for by a name, which no two running ones of an app can have. When it has ended,
its name is free again, so what became of it is read in the volume.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import ServiceRefusedError, ServiceUnreachableError
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.redaction import redacted

EXTRA, MODULES = "modal", ("modal",)


class ModalPlace(msgspec.Struct, frozen=True):
    """Which part of an account.

    Attributes:
        app: Name of the app that sandboxes belong to; made when it is not there.
        volume: Name of the volume for images and weights; made when it is not there.
        models_volume: Name of the volume with base models, or empty.
        token_id_variable: Environment variable with the token's id.
        token_secret_variable: Environment variable with its secret.
    """

    app: str
    volume: str
    models_volume: str
    token_id_variable: str
    token_secret_variable: str


class ModalCommand(msgspec.Struct, frozen=True):
    """What a sandbox runs.

    Attributes:
        name: Its name.
        arguments: Program and arguments.
        image: Container image.
        gpu: GPU, as Modal names it.
        max_seconds: After so long Modal ends it.
    """

    name: str
    arguments: Sequence[str]
    image: str
    gpu: str
    max_seconds: int


class ModalAccount:
    """A connection to Modal.

    Args:
        place: Which part of the account.
    """

    def __init__(self, place: ModalPlace) -> None:
        require_extra(EXTRA, MODULES)
        self._place = place
        self._opened: tuple[Any, Any] | None = None

    def close(self) -> None:
        """Close nothing: the client keeps its connection for the process."""

    def check(self) -> None:
        """Check that Modal lets us in."""
        self._client_and_volume()

    def runs(self, name: str) -> bool:
        """Return whether a sandbox of a name runs now."""
        import modal

        client, _ = self._client_and_volume()
        with self._told(f"sandbox {name}"):
            try:
                found = modal.Sandbox.from_name(self._place.app, name, client=client)
                return found.poll() is None
            except modal.exception.NotFoundError:
                return False

    def create(self, wanted: ModalCommand) -> None:
        """Start a sandbox; does nothing when one of its name runs already."""
        import modal

        client, volume = self._client_and_volume()
        volumes = {"/work": volume}
        if self._place.models_volume:
            volumes["/models"] = modal.Volume.from_name(self._place.models_volume).read_only()
        with self._told(f"the making of sandbox {wanted.name}"), _quietly():
            app = modal.App.lookup(self._place.app, create_if_missing=True, client=client)
            with contextlib.suppress(modal.exception.AlreadyExistsError):
                modal.Sandbox.create(
                    *wanted.arguments,
                    app=app,
                    name=wanted.name,
                    image=modal.Image.from_registry(wanted.image),
                    gpu=wanted.gpu,
                    timeout=wanted.max_seconds,
                    volumes=volumes,
                    client=client,
                )

    def terminate(self, name: str) -> None:
        """End a sandbox; does nothing when none of its name runs."""
        import modal

        client, _ = self._client_and_volume()
        with (
            self._told(f"the end of sandbox {name}"),
            contextlib.suppress(modal.exception.NotFoundError),
        ):
            modal.Sandbox.from_name(self._place.app, name, client=client).terminate()

    def put(self, files: Sequence[tuple[Path | bytes, str]]) -> None:
        """Write files into the volume; Modal compares their digests."""
        import io

        _, volume = self._client_and_volume()
        with self._told(f"{len(files)} files"), volume.batch_upload(force=True) as batch:
            for source, name in files:
                batch.put_file(io.BytesIO(source) if isinstance(source, bytes) else source, name)

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        """Return a file of the volume from a byte on, in pieces; None when there is none."""
        _, volume = self._client_and_volume()
        with self._told(name):
            pieces = iter(volume.read_file(name))
            try:
                first = next(pieces, b"")
            except FileNotFoundError:
                return None
        return self._from(first, pieces, start, name)

    def _from(
        self, first: bytes, pieces: Iterator[bytes], start: int, name: str
    ) -> Iterator[bytes]:
        """Yield from a byte on: Modal gives files from their beginning."""
        with self._told(name):
            piece: bytes | None = first
            while piece is not None:
                if len(piece) > start:
                    yield piece[start:]
                start = max(0, start - len(piece))
                piece = next(pieces, None)

    def _client_and_volume(self) -> tuple[Any, Any]:
        if self._opened is None:
            place = self._place
            with _quietly():
                import modal
            token_id = os.environ.get(place.token_id_variable)
            secret = os.environ.get(place.token_secret_variable)
            with self._told("the account"), _quietly():
                client = (
                    modal.Client.from_credentials(token_id, secret)
                    if token_id and secret
                    else modal.Client.from_env()
                )
                volume = modal.Volume.from_name(place.volume, create_if_missing=True)
                volume.hydrate(client)
            self._opened = client, volume
        return self._opened

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what the client raises into our words: passing, or a no."""
        import aiohttp
        import grpclib.exceptions
        import modal.exception as raised

        try:
            yield
        except (raised.AuthError, raised.PermissionDeniedError) as error:
            raise ServiceRefusedError(
                f"Modal does not let us in for {what}: {self._words(error)}",
                hint="modal token new, or a token in the variables of trainers.modal",
            ) from error
        except (
            raised.ConnectionError, raised.ServiceError, raised.InternalError,
            raised.TimeoutError, raised.InternalFailure, raised.ResourceExhaustedError,
            raised.ClientClosed, aiohttp.ClientError, OSError,
            grpclib.exceptions.StreamTerminatedError,
        ) as error:  # fmt: skip
            raise ServiceUnreachableError(
                f"Modal does not answer for {what}: {self._words(error)}",
                hint="the same command again, once Modal can be reached",
            ) from error
        except (raised.Error, grpclib.exceptions.GRPCError) as error:
            raise ServiceRefusedError(
                f"Modal refused {what}: {self._words(error)}",
                hint="see the settings of trainers.modal, and the account's credit",
            ) from error

    def _words(self, error: Exception) -> str:
        names = (self._place.token_id_variable, self._place.token_secret_variable)
        secrets = tuple(os.environ[name] for name in names if os.environ.get(name))
        message = " ".join(str(error).split())[:200]
        return redacted(message, secrets) or type(error).__name__


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
