from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.engine.images import image_limits, map_images
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.images.client import ImageWorker
from lora_pipeline.workspace.root import Workspace, open_workspace
from tests.support.catalog_builders import draw_icons
from tests.support.workspace_builders import make_workspace


def sized(worker: ImageWorker, path: Path) -> tuple[str, int]:
    return path.name, worker.inspect(path).width


def opened(folder: Path, events: list[Event]) -> Workspace:
    make_workspace(folder, git=False)
    return open_workspace(folder, sink=events.append)


def test_results_come_in_the_order_of_the_items_with_progress(tmp_path: Path) -> None:
    events: list[Event] = []
    icons = draw_icons(tmp_path / "art", 9, size=16)

    found = list(map_images(opened(tmp_path / "w", events), sized, icons, topic="look"))

    assert found == [(path.name, 16) for path in icons]
    assert [(event.topic, event.step, event.total) for event in events] == [
        ("look", number, 9) for number in range(1, 10)
    ]


def test_nothing_is_started_for_no_images(tmp_path: Path) -> None:
    assert list(map_images(opened(tmp_path, []), sized, [], topic="look")) == []


def test_first_error_of_the_function_comes_out_and_children_are_stopped(tmp_path: Path) -> None:
    workers: list[ImageWorker] = []

    def failing(worker: ImageWorker, path: Path) -> int:
        workers.append(worker)
        worker.inspect(path)
        raise ValueError(path.name)

    with pytest.raises(ValueError, match=r"icon-000\.png"):
        list(
            map_images(
                opened(tmp_path / "w", []),
                failing,
                draw_icons(tmp_path / "art", 3, size=16),
                topic="look",
            )
        )

    assert workers
    assert all(worker._child is None for worker in workers)


def test_limits_are_the_settings(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)
    (tmp_path / "config/pipeline.yaml").write_text(
        "images:\n  maxPixels: 100\n  maxBytes: 2000\n  timeoutSeconds: 2.5\n"
    )

    limits = image_limits(open_workspace(tmp_path).settings)

    assert (limits.max_pixels, limits.max_bytes, limits.timeout_s) == (100, 2000, 2.5)
