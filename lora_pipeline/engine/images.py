"""Many images at once: a few threads, each with a decoding child of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lora_pipeline.engine.pool import map_ordered
from lora_pipeline.foundation.images.client import ImageLimits, ImageWorker
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import Settings

T = TypeVar("T")
U = TypeVar("U")
WORKERS = 2  # each may take the memory of one image of the largest size


def image_limits(settings: Settings) -> ImageLimits:
    """Return how much one image may cost here."""
    return ImageLimits(
        max_pixels=settings.integer("images.maxPixels"),
        max_bytes=settings.integer("images.maxBytes"),
        timeout_s=settings.number("images.timeoutSeconds"),
    )


def map_images(
    workspace: Workspace,
    function: Callable[[ImageWorker, T], U],
    items: Sequence[T],
    *,
    topic: str,
    workers: int = WORKERS,
) -> Iterator[U]:
    """Yield ``function(worker, item)`` for each item in order, with progress.

    The children are stopped when the iterator is exhausted or closed.

    Raises:
        Exception: The first one that ``function`` raises, in the order of the items.
    """
    limits, local = image_limits(workspace.settings), threading.local()
    with contextlib.ExitStack() as children:

        def call(item: T) -> U:
            worker: ImageWorker | None = getattr(local, "worker", None)
            if worker is None:
                worker = local.worker = children.enter_context(ImageWorker(limits))
            return function(worker, item)

        yield from map_ordered(
            call,
            items,
            events=workspace.events,
            topic=topic,
            unit="images",
            workers=min(workers, len(items)) or 1,
        )
