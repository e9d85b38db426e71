from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from lora_pipeline.datasets.png import is_plain_rgb_png


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

    assert not any(map(is_plain_rgb_png, [jpeg, cut, tmp_path / "c.png", tmp_path / "none.png"]))
