"""What a service that draws for money has to say, for ``hosted_session`` to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from lora_pipeline.evaluation.renderers.interface import CellRequest, Strengths

State = Literal["waiting", "running", "ended", "failed"]


class JobView(msgspec.Struct, frozen=True):
    """One picture at a service, as the service tells it.

    Attributes:
        state: How it stands.
        message: Why it failed.
        pictures: Addresses of what it brought.
        seed: The seed that was used, where the service says.
        place: What changes while it waits, for people and for patience.
    """

    state: State
    message: str = ""
    pictures: tuple[str, ...] = ()
    seed: int | None = None
    place: str = ""


class DrawingService(Protocol):
    """One connection to a service.

    Methods may raise ``ServiceUnreachableError`` and ``ServiceRefusedError``.
    """

    @property
    def address(self) -> str:
        """Where it is."""

    @property
    def version(self) -> str:
        """Version of what draws, or ``unknown``."""

    @property
    def details(self) -> Mapping[str, Any]:
        """What is known of what draws."""

    def body(self, cell: CellRequest, loras: Sequence[str], strengths: Strengths) -> dict[str, Any]:
        """Return what asks for a cell.

        Args:
            cell: The cell.
            loras: Addresses of the weights, in order.
            strengths: What each is used at; none for the base.

        Raises:
            RendererError: When the service cannot draw it.
        """

    def submit(self, body: Mapping[str, Any]) -> str:
        """Ask for a picture and return the job's id; it costs money from now on."""

    def find(self, body: Mapping[str, Any]) -> str | None:
        """Return a recent job that asks for exactly that, or None where nobody can say."""

    def look(self, job_id: str) -> JobView:
        """Return how a job stands."""

    def stop(self, job_id: str) -> None:
        """Stop a job; does nothing for one that ended."""
