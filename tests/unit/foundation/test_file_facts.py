from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import xxhash
from PIL import Image, PngImagePlugin

from lora_pipeline.foundation.file_facts import FileReader


def is_plain_rgb_png(path: Path) -> bool:
    return FileReader().facts(str(path)).plain_png


def save(path: Path, mode: str = "RGB", **options: Any) -> Path:
    Image.new(mode, (8, 8), 1 if mode in ("P", "1", "L", "I;16") else None).save(path, **options)
    return path


def text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", "a workflow")
    return info


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = 6
    return found


def test_rgb_pixels_and_nothing_else_are_plain(tmp_path: Path) -> None:
    assert is_plain_rgb_png(save(tmp_path / "a.png"))


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1", "I;16"])
def test_other_pixels_are_not_plain(tmp_path: Path, mode: str) -> None:
    assert not is_plain_rgb_png(save(tmp_path / "a.png", mode))


@pytest.mark.parametrize(
    "options",
    [
        {"pnginfo": text()},
        {"exif": exif()},
        {"icc_profile": b"profile"},
        {"dpi": (300, 300)},
        {"transparency": (0, 0, 0)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_whatever_stands_beside_the_pixels_makes_it_not_plain(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    assert not is_plain_rgb_png(save(tmp_path / "a.png", **options))


def test_bytes_behind_the_end_make_it_not_plain(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    path.write_bytes(path.read_bytes() + b"<script>")

    assert not is_plain_rgb_png(path)


def test_other_files_are_not_plain(tmp_path: Path) -> None:
    jpeg = save(tmp_path / "a.jpg")
    cut = save(tmp_path / "b.png")
    cut.write_bytes(cut.read_bytes()[:-12])
    (tmp_path / "c.png").write_bytes(b"")

    assert not any(map(is_plain_rgb_png, [jpeg, cut, tmp_path / "c.png"]))


def test_one_read_gives_what_hashlib_xxhash_and_the_file_system_say(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    facts = FileReader().facts(str(path))
    status = path.stat()

    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.xxh3 == xxhash.xxh3_128_hexdigest(path.read_bytes())
    assert (facts.size, facts.mtime_ns, facts.inode) == (
        status.st_size, status.st_mtime_ns, status.st_ino,
    )  # fmt: skip


@pytest.mark.parametrize("extra", [-1, 0, 1, 70_000])
def test_files_longer_than_the_buffer_are_read_to_their_end(tmp_path: Path, extra: int) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(1024 * 1024 + extra))
    reader = FileReader()

    for _ in range(2):  # the buffer is used again
        assert reader.facts(str(path)).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_plain_png_is_told_by_its_chunks_too(tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (700, 700), os.urandom(700 * 700 * 3))
    noise.save(tmp_path / "large.png", compress_level=0)

    assert is_plain_rgb_png(tmp_path / "large.png")
    with (tmp_path / "large.png").open("ab") as stream:
        stream.write(b"more")
    assert not is_plain_rgb_png(tmp_path / "large.png")


def test_only_short_files_are_handed_on_whole(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"pointer")
    (tmp_path / "long").write_bytes(b"x" * 1025)

    assert FileReader().facts(str(tmp_path / "short")).head == b"pointer"
    assert FileReader().facts(str(tmp_path / "long")).head == b""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_or_a_folder_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for name in ("pipe", "."):
        with pytest.raises(OSError, match=r"regular|directory"):
            FileReader().facts(str(tmp_path / name))
