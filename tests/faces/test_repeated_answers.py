"""An answer that is given again must be the one that working it out anew would give."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.dataset_builders import PROJECT, studio
from tests.support.workspace_builders import Answer, commit_all, git, run_lora

BUILD = ("dataset", "build", "ui_icon_flat")
ANSWERS = Path(".lora", "cache", "answers")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = studio(tmp_path_factory.mktemp("template") / "studio").root
    answer = run_lora(
        ["dataset", "build", "--asset-type", "ui_icon", "--tag", "style:flat"], folder
    )
    assert answer.exit_code == 0, answer.stderr
    commit_all(folder, "A dataset")
    return folder


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    """A studio in which a build was answered, and the answer kept."""
    folder = shutil.copytree(template, tmp_path / "studio", symlinks=True)
    first = lora(folder)
    assert "unchanged" in first.stdout
    assert kept(folder)
    assert lora(folder) == first
    return folder


def lora(folder: Path, *argv: str, **env: str) -> Answer:
    return run_lora([*(argv or BUILD)], folder, env)


def kept(folder: Path) -> list[Path]:
    return sorted((folder / ANSWERS).glob("*"))


def records(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "data" / "projects" / PROJECT / kind).glob("*.json"))


def document(folder: Path) -> dict[str, object]:
    [path] = records(folder, "datasets")
    return dict(json.loads(path.read_text()))


def change_asset(folder: Path) -> None:
    path = records(folder, "assets")[0]
    path.write_text(path.read_text().replace('"approved"', '"rejected"'))


def change_spec(folder: Path) -> None:
    for path in records(folder, "specs"):
        path.write_text(path.read_text().replace('"ui_icon"', '"ui_other"'))


def remove_asset(folder: Path) -> None:
    records(folder, "assets")[0].unlink()


def change_image(folder: Path) -> None:
    _, path = first_image(folder)
    path.write_bytes(path.read_bytes() + b"x")


def change_image_keeping_size_and_time(folder: Path) -> None:
    _, path = first_image(folder)
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def restore_another_image_under_its_name(folder: Path) -> None:
    _, path = first_image(folder)
    before, other = path.stat(), path.with_suffix(".other")
    other.write_bytes(b"\0" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def remove_image(folder: Path) -> None:
    first_image(folder)[1].unlink()


def edit_manifest(folder: Path) -> None:
    [path] = records(folder, "datasets")
    path.write_text(path.read_text().replace('"prefix": ""', '"prefix": "by hand"'))


def change_tokens(folder: Path) -> None:
    path = folder / "data" / "projects" / PROJECT / "project.json"
    found = json.loads(path.read_text())
    found["rights"] = {"allowedLicenses": ["MIT"]}
    path.write_text(json.dumps(found))


def first_image(folder: Path) -> tuple[str, Path]:
    items = document(folder)["items"]
    assert isinstance(items, list)
    return items[0]["assetId"], folder / "data" / items[0]["path"]


CHANGES = [
    change_asset, change_spec, remove_asset, change_image, change_image_keeping_size_and_time,
    restore_another_image_under_its_name, remove_image, edit_manifest, change_tokens,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_never_overlooked(folder: Path, change: Callable[[Path], None]) -> None:
    before = lora(folder)
    change(folder)

    answer = lora(folder)
    shutil.rmtree(folder / ".lora")
    again = lora(folder)

    assert answer.stdout != before.stdout
    # What the first one wrote is what one without any memory finds to be right.
    assert "unchanged" in again.stdout or answer.exit_code == again.exit_code == 3


def test_a_new_commit_is_seen(folder: Path) -> None:
    [path] = records(folder, "datasets")
    text = path.read_text()
    path.write_text(text.replace("ui_icon", "ui_icon"))
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "Nothing")
    kept_before = [one.stat().st_mtime_ns for one in kept(folder)]

    lora(folder)

    assert [one.stat().st_mtime_ns for one in kept(folder)] != kept_before


def test_an_answer_is_given_without_reading_a_record(folder: Path) -> None:
    before = lora(folder)
    [answer] = kept(folder)
    data = answer.read_bytes()
    marked = data.replace(b"unchanged", b"from here")
    answer.write_bytes(marked)

    # Its checksum tells that it was changed, so nobody believes it …
    assert lora(folder) == before
    # … and it was made anew.
    assert answer.read_bytes() != marked


@pytest.mark.parametrize("place", [0, 30, 60, 300, -1])
def test_a_damaged_answer_is_not_given(folder: Path, place: int) -> None:
    before = lora(folder)
    [answer] = kept(folder)
    data = bytearray(answer.read_bytes())
    data[place] ^= 1
    answer.write_bytes(data)

    assert lora(folder) == before


def test_other_words_and_other_settings_have_answers_of_their_own(folder: Path) -> None:
    as_json = lora(folder, *BUILD, "--json")
    assert json.loads(as_json.stdout)["data"]["changed"] is False
    assert json.loads(lora(folder, *BUILD, "--json").stdout) == json.loads(as_json.stdout)
    assert lora(folder, *BUILD, "--quiet").stdout == ""
    assert lora(folder, LORA_PROJECT="nowhere").exit_code == 3


def test_a_build_that_wrote_is_not_kept(folder: Path) -> None:
    shutil.rmtree(folder / ANSWERS)

    answer = lora(folder, *BUILD, "--suffix", "icon")

    assert "wrote" in answer.stdout
    assert not kept(folder)


def test_a_staged_file_that_was_changed_is_noticed(folder: Path) -> None:
    made = lora(folder, *BUILD, "--stage")
    there = lora(folder, *BUILD, "--stage")
    assert ".lora/staging" in made.stdout
    assert lora(folder, *BUILD, "--stage") == there
    [staging] = (folder / ".lora" / "staging").glob("[0-9a-f]*")
    caption = next(staging.glob("*.txt"))
    text = caption.read_bytes()
    caption.write_bytes(b"x" * len(text))

    assert "wrote" in lora(folder, *BUILD, "--stage").stdout
    assert caption.read_bytes() == text


def outcomes(folder: Path) -> list[Path]:
    return sorted((folder / ".lora" / "cache" / "outcomes").glob("*"))


def rebuilt_without_memory(folder: Path) -> str:
    shutil.rmtree(folder / ".lora")
    return lora(folder).stdout


def test_what_is_remembered_of_assets_gives_the_manifest_that_reading_all_gives(
    folder: Path,
) -> None:
    for path in records(folder, "assets")[::2]:
        path.write_text(path.read_text().replace('"style:flat"', '"style:flat", "color:gold"'))

    assert "wrote" in lora(folder).stdout
    assert len(outcomes(folder)) >= 1
    assert "unchanged" in rebuilt_without_memory(folder)


def test_a_new_word_of_a_catalog_reaches_captions_that_are_remembered(folder: Path) -> None:
    assert lora(folder, *BUILD, "--with-tokens").exit_code == 0
    lora(folder)
    styles = folder / "data" / "projects" / PROJECT / "catalogs" / "styles.json"
    found = json.loads(styles.read_text())
    for style in found["styles"]:
        style["promptTokens"] = ["a very new token"]
    styles.write_text(json.dumps(found))

    lora(folder)

    assert "a very new token" in str(document(folder)["items"])
    assert "unchanged" in rebuilt_without_memory(folder)


@pytest.mark.parametrize("damage", [b"", b"x" * 40, b"\0" * 4 + b"\x90"])
def test_a_damaged_memory_is_made_anew(folder: Path, damage: bytes) -> None:
    shutil.rmtree(folder / ANSWERS)
    for path in outcomes(folder):
        path.write_bytes(damage)

    assert "unchanged" in lora(folder).stdout
    assert any(path.read_bytes() != damage for path in outcomes(folder))
