"""The same bytes from two clones, and the same content from two workspaces."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Asset
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icons
from tests.support.dataset_builders import PROJECT, studio
from tests.support.workspace_builders import commit_all, git, invoke, make_workspace, run_lora

RULE = (
    "--asset-type", "ui_icon", "--tag", "style:flat", "--caption", "tags+spec+title",
    "--with-tokens", "--trigger", "nctyicon", "--held-out", "0.3",
)  # fmt: skip
MANIFEST = "data/projects/neon_city/datasets/icons.json"


def build(folder: Path, environment: Mapping[str, str], umask: int = 0o022) -> bytes:
    """Build with the real program in an environment of its own; return the manifest's bytes."""
    before = os.umask(umask)
    try:
        answer = run_lora(["dataset", "build", "icons", *RULE], folder, env=environment)
    finally:
        os.umask(before)
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    return (folder / MANIFEST).read_bytes()


def without_times(data: bytes) -> dict[str, object]:
    document: dict[str, object] = json.loads(data)
    return {key: value for key, value in document.items() if key not in ("createdAt", "updatedAt")}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = studio(tmp_path_factory.mktemp("origin") / "studio", icons=8).root
    answer = invoke(["dataset", "build", "icons", *RULE, "--commit"], folder)
    assert answer.exit_code == 0, answer.stderr
    return folder


ENVIRONMENTS = [
    ({"LANG": "C", "LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"}, 0o022),
    (
        {
            "LANG": "tr_TR.UTF-8",
            "LC_ALL": "tr_TR.UTF-8",
            "TZ": "Pacific/Kiritimati",
            "PYTHONHASHSEED": "2",
            "PYTHONUTF8": "0",  # paths and output are ASCII then, where the locale is missing
            "COLUMNS": "40",
        },
        0o077,
    ),
]


@pytest.mark.parametrize(("environment", "umask"), ENVIRONMENTS, ids=["c", "turkish"])
def test_a_clone_elsewhere_builds_the_same_bytes(
    origin: Path, tmp_path: Path, environment: dict[str, str], umask: int
) -> None:
    clone = tmp_path / "elsewhere" / "Ünï cödé"
    clone.parent.mkdir()
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))

    assert build(clone, environment, umask) == (origin / MANIFEST).read_bytes()
    assert git(clone, "status", "--porcelain") == ""


def test_two_clones_that_build_for_the_first_time_differ_in_times_at_most(
    origin: Path, tmp_path: Path
) -> None:
    built = []
    for number, (environment, umask) in enumerate(ENVIRONMENTS):
        clone = tmp_path / f"clone{number}"
        git(tmp_path, "clone", "--quiet", str(origin), str(clone))
        (clone / MANIFEST).unlink()
        built.append(build(clone, environment, umask))

    assert without_times(built[0]) == without_times(built[1])
    assert built[0].count(b"\n") == built[1].count(b"\n")
    assert b"\r" not in built[0]


def import_in_order(folder: Path, art: list[Path], words: dict[str, tuple[str, str]]) -> str:
    """Make a workspace that holds ``art`` imported in that order; return its content hash."""
    workspace = make_workspace(folder, project=PROJECT)
    add_catalogs(workspace, PROJECT)
    for path in art:
        title, colour = words[path.name]
        tags = ("style:flat", f"color:{colour}")
        add_asset(workspace, PROJECT, path, title=title, tags=tags)
    commit_all(folder, "Art")
    answer = invoke(["dataset", "build", "icons", *RULE, "--json"], folder)
    assert answer.exit_code == 0, answer.stdout
    return str(answer.document["data"]["contentHash"])


def test_the_same_art_imported_in_another_order_has_the_same_content_hash(tmp_path: Path) -> None:
    art = draw_icons(tmp_path / "art", count=7)
    # The same picture under two names and with other words: which one is kept must not
    # depend on which was imported first.
    art.append(Path(shutil.copy(art[2], tmp_path / "art" / "again.png")))
    words = {path.name: (f"Icon {path.stem}", ("red", "blue")[n % 2]) for n, path in enumerate(art)}

    forwards = import_in_order(tmp_path / "one", art, words)
    backwards = import_in_order(tmp_path / "two", list(reversed(art)), words)

    assert forwards == backwards


def test_the_imported_folder_gives_the_same_content_in_two_halves(tmp_path: Path) -> None:
    """Through the import itself: all at once, or the second half first."""
    hashes = []
    art = draw_icons(tmp_path / "art", count=6)
    halves = [tmp_path / "half0", tmp_path / "half1"]
    for number, path in enumerate(art):
        halves[number % 2].mkdir(exist_ok=True)
        shutil.copy(path, halves[number % 2])
    for name, folders in (("one", [tmp_path / "art"]), ("two", list(reversed(halves)))):
        workspace = make_workspace(tmp_path / name, project=PROJECT)
        add_catalogs(workspace, PROJECT)
        for folder in folders:
            imported = invoke(
                ["asset", "import", str(folder), "--asset-type", "ui_icon", "--tag", "style:flat",
                 "--rights", "allowed", "--license", "CC0-1.0"],
                workspace.root,
            )  # fmt: skip
            assert imported.exit_code == 0, imported.stdout + imported.stderr
        rule = ("--asset-type", "ui_icon", "--status", "review", "--caption", "tags+spec+title")
        answer = invoke(["dataset", "build", "icons", *rule, "--json"], workspace.root)
        assert answer.exit_code == 0, answer.stdout
        assert answer.document["data"]["images"] == 6
        hashes.append(answer.document["data"]["contentHash"])

    assert hashes[0] == hashes[1]


def test_the_builders_give_other_ids_to_the_same_art(tmp_path: Path) -> None:
    # Guards the tests above: equal ids would prove nothing.
    art = draw_icons(tmp_path / "art", count=1)
    ids = []
    for name in ("one", "two"):
        workspace = make_workspace(tmp_path / name, git=False, project=PROJECT)
        add_catalogs(workspace, PROJECT)
        ids.append(add_asset(workspace, PROJECT, art[0]).id)
        assert workspace.records.exists(Asset, workspace.scope(), ids[-1])

    assert ids[0] != ids[1]
    assert sys.flags.hash_randomization in (0, 1)
