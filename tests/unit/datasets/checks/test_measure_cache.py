from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import numpy as np
import pytest

from lora_pipeline.datasets.checks.measure_cache import ROW, MeasureCache
from lora_pipeline.foundation.images.client import ImageMeasures

SEAL = b"1 pillow 13.0.0\n"


def measures(name: str) -> ImageMeasures:
    return ImageMeasures(
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        width=640,
        height=480,
        pixel_sha256=hashlib.sha256(b"pixels").hexdigest(),
        location=True,
        odd_colours=False,
        alpha_used=True,
        jpeg_quality=75,
        visible=0.5,
        darkest=(1, 2, 3),
        lightest=(250, 251, 252),
        grey=False,
        border=(0, 12, 0, 12),
        edge_width=1.5,
        blockiness=1.25,
        enlarged=4,
        look=base64.b64encode(bytes(range(256)) * 4).decode(),
        corners=base64.b64encode(bytes(range(256)) * 2).decode(),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "image-measures"


def saved(path: Path, *names: str) -> list[str]:
    cache = MeasureCache(path, SEAL)
    known = [measures(name) for name in names]
    for one in known:
        cache.add(one)
    digests = [one.sha256 for one in known]
    cache.save(digests)
    return digests


def test_what_was_measured_is_known_again_as_it_was(path: Path) -> None:
    (digest,) = saved(path, "a")

    cache = MeasureCache(path, SEAL)
    (row,) = cache.rows([digest])

    assert digest in cache
    assert row["sha256"].tobytes().hex() == digest
    assert (row["width"], row["height"], row["jpeg_quality"], row["enlarged"]) == (640, 480, 75, 4)
    assert (bool(row["location"]), bool(row["odd_colours"]), bool(row["grey"])) == (
        True, False, False,
    )  # fmt: skip
    assert row["border"].tolist() == [0, 12, 0, 12]
    assert row["lightest"].tolist() == [250, 251, 252]
    assert (row["edge_width"], row["blockiness"], row["visible"]) == (1.5, 1.25, 0.5)
    assert row["look"].tobytes() == bytes(range(256)) * 4
    assert row["corners"].tobytes() == bytes(range(256)) * 2


def test_rows_come_in_the_order_that_was_asked_for(path: Path) -> None:
    digests = saved(path, "a", "b", "c")

    rows = MeasureCache(path, SEAL).rows([digests[2], digests[0], digests[2]])

    asked = [digests[2], digests[0], digests[2]]
    assert [one["sha256"].tobytes().hex() for one in rows] == asked


def test_what_is_new_is_added_to_what_was_known(path: Path) -> None:
    first = saved(path, "a", "b")
    cache = MeasureCache(path, SEAL)
    cache.add(measures("c"))
    cache.save(first)

    again = MeasureCache(path, SEAL)

    assert all(one in again for one in (*first, measures("c").sha256))


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0" * ROW.itemsize,
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: b"something else" + data[14:],
        lambda _: b"",
        lambda data: data[:10],
        lambda _: np.zeros(3, dtype=ROW).tobytes(),
    ],
    ids=["cut", "a row more", "one bit", "other magic", "empty", "head only", "rows only"],
)
def test_a_damaged_file_is_as_good_as_none(path: Path, harm: object) -> None:
    digests = saved(path, "a", "b")
    path.write_bytes(harm(path.read_bytes()))  # type: ignore[operator]

    cache = MeasureCache(path, SEAL)

    assert not any(one in cache for one in digests)
    assert saved(path, "a", "b") == digests
    assert digests[0] in MeasureCache(path, SEAL)


def test_what_another_version_or_decoder_measured_is_not_read(path: Path) -> None:
    digests = saved(path, "a")

    assert digests[0] not in MeasureCache(path, b"1 pillow 14.0.0\n")
    assert digests[0] not in MeasureCache(path, b"2 pillow 13.0.0\n")


def test_a_folder_in_its_place_is_no_cache_and_no_failure(path: Path) -> None:
    path.mkdir(parents=True)

    digests = saved(path, "a")

    assert digests[0] not in MeasureCache(path, SEAL)


def test_rows_that_nobody_uses_are_dropped_when_they_are_many(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_pipeline.datasets.checks.measure_cache._SPARE", 2)
    digests = saved(path, *"abcdef")
    cache = MeasureCache(path, SEAL)
    cache.add(measures("g"))

    cache.save([digests[1], measures("g").sha256])

    again = MeasureCache(path, SEAL)
    assert digests[1] in again
    assert measures("g").sha256 in again
    assert digests[0] not in again
