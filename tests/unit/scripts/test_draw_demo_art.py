from __future__ import annotations

import csv
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
ART = ROOT / "data" / "demo" / "art"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    spec = importlib.util.find_spec("draw_demo_art")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "scripts"))
    return module


def _rows() -> list[dict[str, str]]:
    with (ART / "assets.csv").open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_the_committed_art_is_what_the_script_draws(script: ModuleType) -> None:
    assert script.differences(ART) == []


def test_drawing_twice_gives_the_same_bytes(script: ModuleType) -> None:
    assert script.contents() == script.contents()


def test_a_changed_a_missing_and_a_foreign_file_are_reported(
    script: ModuleType, tmp_path: Path
) -> None:
    for name, content in script.contents().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "assets.csv").write_text("file\n")
    (tmp_path / "neon" / "neon-pink-circle.png").unlink()
    (tmp_path / "notes.txt").touch()
    assert script.differences(tmp_path) == [
        "missing: neon/neon-pink-circle.png",
        "not drawn here: notes.txt",
        "differs: assets.csv",
    ]


def test_the_side_car_names_every_picture_once() -> None:
    pictures = sorted(path.relative_to(ART).as_posix() for path in ART.rglob("*.png"))
    assert [row["file"] for row in _rows()] == pictures


def test_each_style_has_enough_pictures_of_its_own() -> None:
    usable = Counter(row["style"] for row in _rows() if not row["notes"])
    assert usable == {"neon": 28, "sticker": 28}


def test_two_shapes_are_left_for_the_evaluation(script: ModuleType) -> None:
    drawn = {tag for row in _rows() for tag in row["tags"].split(";")}
    assert not drawn & {f"shape:{shape}" for shape in script.UNSEEN_SHAPES}


def test_pictures_have_transparent_corners() -> None:
    for path in ART.rglob("*.png"):
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("RGBA", (64, 64))
            assert picture.getpixel((0, 0)) == (0, 0, 0, 0)


def test_one_picture_is_a_copy_to_the_byte() -> None:
    counts = Counter(path.read_bytes() for path in ART.rglob("*.png"))
    assert sorted(counts.values())[-2:] == [1, 2]
