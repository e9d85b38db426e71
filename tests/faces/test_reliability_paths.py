"""What paths and names must withstand: every way in which a name is not just a name (rows PTH)."""

from __future__ import annotations

import io
import os
import re
import sys
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_catalogs, draw_icon
from tests.support.dataset_builders import PROJECT, studio
from tests.support.merge_builders import FILE, add_icon, copied, lora, manifest_of
from tests.support.workspace_builders import (
    Answer,
    commit_all,
    git,
    invoke,
    make_workspace,
    reopen,
    run_lora,
    tree_digest,
)

posix = pytest.mark.skipif(os.name == "nt", reason="Windows cannot store such names")
IMPORT = ["--asset-type", "ui_icon", "--tag", "style:flat", "--rights", "allowed"]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = studio(tmp_path_factory.mktemp("paths") / "studio", icons=2).root
    lora(folder, "dataset", "build", "icons", "--asset-type", "ui_icon", "--commit")
    return folder


@pytest.fixture
def here(origin: Path, tmp_path: Path) -> Workspace:
    return reopen(copied(origin, tmp_path / "studio"))


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "studio", git=False, project=PROJECT)
    add_catalogs(workspace, PROJECT)
    return workspace


def import_art(workspace: Workspace, folder: Path, *options: str) -> Answer:
    return invoke(["asset", "import", str(folder), *IMPORT, *options, "--json"], workspace.root)


def kept(workspace: Workspace) -> dict[str, bytes]:
    """Return all that counts in a workspace: not its caches."""
    found = tree_digest(workspace.root)
    return {name: data for name, data in found.items() if not name.startswith(".lora/")}


def staged_folder(workspace: Workspace) -> Path:
    (folder,) = (workspace.runtime / "staging").glob("[0-9a-f]*")
    return folder


def assets_of(workspace: Workspace) -> list[Asset]:
    return [one.record for one in workspace.records.all(Asset, workspace.scope())]


def codes(workspace: Workspace) -> dict[str, dict[str, str]]:
    document = invoke(["validate", "--json"], workspace.root).document
    return {one["code"]: one for one in document["data"]["findings"]}


# --- PTH-01: paths that lead out ---------------------------------------------------------------

OUT = [
    "../../etc/passwd", "/etc/passwd", "C:\\x", "C:/x", "\\\\server\\share", "x:stream", "..", ".",
    "a/../../../etc/passwd", "~root", "file:///etc/passwd",
]  # fmt: skip
ID_ARGUMENTS = [
    ["project", "show"], ["dataset", "show"], ["dataset", "verify"], ["asset", "show"],
    ["spec", "show"], ["checkpoint", "show"], ["show"], ["resolve"],
]  # fmt: skip


@pytest.mark.parametrize("command", ID_ARGUMENTS, ids=" ".join)
def test_pth_01_an_id_is_never_a_path_that_leads_out(here: Workspace, command: list[str]) -> None:
    before = kept(here)
    for path in (OUT[0], OUT[1], OUT[2], ".."):
        answer = invoke([*command, path, "--json"], here.root)

        assert answer.exit_code in (1, 2, 3), (path, answer.stdout)
        assert "root:x:" not in answer.stdout
    assert kept(here) == before


def test_pth_01_a_table_of_an_import_names_files_below_its_folder_only(
    empty: Workspace, tmp_path: Path
) -> None:
    art = tmp_path / "art"
    draw_icon(art / "a.png")
    draw_icon(tmp_path / "outside.png", seed=3)
    before = kept(empty)

    for path in [*OUT, "../outside.png"]:
        (art / "assets.csv").write_text(f'file,title\n"{path}",Out\n')
        answer = import_art(empty, art)
        assert answer.exit_code in (1, 3), answer.stdout
    assert kept(empty) == before


# --- PTH-02: links -----------------------------------------------------------------------------


@posix
def test_pth_02_an_image_that_became_a_link_to_the_outside_is_refused(
    here: Workspace, tmp_path: Path
) -> None:
    """Also when the bytes are right: a foreign file may be another one tomorrow."""
    item = manifest_of(here).items[0]
    path = here.data_root / item.path
    outside = tmp_path / "outside.png"
    path.rename(outside)
    path.symlink_to(outside)

    verified = invoke(["dataset", "verify", "icons", "--json"], here.root)
    staged = invoke(["dataset", "stage", "icons", "--json"], here.root)

    assert verified.exit_code == 1
    assert "leads outside" in verified.error["message"]
    assert staged.exit_code == 3
    assert not list((here.runtime / "staging").rglob("*.txt"))


@posix
@pytest.mark.parametrize("loop", [True, False])
def test_pth_02_links_in_the_place_of_records_are_found(here: Workspace, loop: bool) -> None:
    path = here.data_root / "projects" / PROJECT / "datasets" / "more.json"
    path.symlink_to(path if loop else here.root / FILE)

    done = run_lora(["validate", "--json"], here.root, timeout_s=60)

    found = [one for one in done.document["data"]["findings"] if one["severity"] == "error"]
    assert done.exit_code == 1
    assert any(one["where"].endswith("datasets/more.json") for one in found)


@posix
@pytest.mark.slow
def test_pth_02_loops_of_folders_end(empty: Workspace, tmp_path: Path) -> None:
    art = tmp_path / "art"
    draw_icon(art / "a.png")
    (art / "loop").symlink_to(art, target_is_directory=True)
    (empty.data_root / "shared" / "loop").symlink_to(empty.data_root, target_is_directory=True)

    answer = import_art(empty, art)
    checked = run_lora(["validate", "--json"], empty.root, timeout_s=60)

    assert answer.exit_code in (1, 3)
    assert "link to a folder" in answer.stdout
    assert "link" in {one["code"] for one in checked.document["data"]["findings"]}


def test_pth_02_an_import_copies_and_shares_no_bytes_with_its_source(
    empty: Workspace, tmp_path: Path
) -> None:
    source = draw_icon(tmp_path / "art" / "a.png")
    os.link(source, tmp_path / "art" / "b.PNG")

    assert import_art(empty, tmp_path / "art").exit_code == 0
    (asset,) = assets_of(empty)
    copy = empty.data_root / asset.versions[0].variants[0].original_path

    assert copy.stat().st_ino != source.stat().st_ino
    assert copy.stat().st_nlink == 1


# --- PTH-05: captions are texts ----------------------------------------------------------------


@pytest.mark.parametrize("extension", [".py", ".sh", ".html", ".md", ".caption.py", ""])
def test_pth_05_only_texts_and_captions_are_read_beside_an_image(
    empty: Workspace, tmp_path: Path, extension: str
) -> None:
    art = tmp_path / "art"
    draw_icon(art / "a.png")
    (art / f"a{extension}").write_text("open('trap', 'w')")

    assert import_art(empty, art).exit_code == 0
    (asset,) = assets_of(empty)
    spec = empty.records.read(Spec, empty.scope(), asset.spec_id).record

    assert "trap" not in f"{spec.to_dict()} {asset.to_dict()}"
    assert not list(tmp_path.rglob("trap"))


def test_pth_05_a_trainer_is_given_texts_of_one_ending(here: Workspace) -> None:
    lora(here.root, "dataset", "stage", "icons")

    endings = {path.suffix for path in staged_folder(here).iterdir()}

    assert endings == {".png", ".txt", ".json"}


# --- PTH-06 … PTH-11: names --------------------------------------------------------------------


def test_pth_06_two_spellings_of_one_name_are_refused_by_an_import(
    empty: Workspace, tmp_path: Path
) -> None:
    art = tmp_path / "art"
    for number, form in enumerate(("NFC", "NFD")):
        draw_icon(art / unicodedata.normalize(form, "é.png"), seed=number)  # type: ignore[arg-type]
    if len(list(art.iterdir())) < 2:
        pytest.skip("this disk takes both spellings for the same name")
    before = kept(empty)

    answer = import_art(empty, art)

    assert answer.exit_code in (1, 3)
    assert "two spellings" in answer.stdout
    assert kept(empty) == before


def test_pth_06_one_spelling_is_brought_to_one_form(empty: Workspace, tmp_path: Path) -> None:
    draw_icon(tmp_path / "art" / unicodedata.normalize("NFD", "café.png"))

    assert import_art(empty, tmp_path / "art").exit_code == 0
    (asset,) = assets_of(empty)
    spec = empty.records.read(Spec, empty.scope(), asset.spec_id).record

    assert spec.title == unicodedata.normalize("NFC", spec.title)
    assert "Café" in spec.title or "café" in spec.title


@pytest.mark.parametrize("pair", [("A.json", "a.json"), ("é.json", "e\u0301.json")])
def test_pth_06_records_that_other_systems_take_for_one_file_are_found(
    here: Workspace, pair: tuple[str, str]
) -> None:
    folder = here.data_root / "projects" / PROJECT / "datasets"
    for name in pair:
        (folder / name).write_bytes((folder / "icons.json").read_bytes())
    if len(list(folder.iterdir())) < 3:
        pytest.skip("this disk takes both for the same name")

    assert "path_collision" in codes(here)


UNUSUAL = [
    "猫.png", "犬.png", "🎮🐉.png", "Ünï cödé.png", "x" * 251 + ".png", "猫" * 83 + ".png",
]  # fmt: skip
NOT_PORTABLE = ["CON.png", "aux.png", "nul.tar.png", "a:b.png", "what?.png", "star*.png", 'q".png']
HOSTILE = [
    "line\nfeed.png", "tab\there.png", "-rf.png", "--help.png", "$(touch trap).png",
    "`touch trap`.png", "a;touch trap;.png", "it's.png", "a|b.png", "%PATH%.png", "@file.png",
    "\x1b[31mred.png", "\u202egnp.exe.png", "{a,b}.png", "~.png",
]  # fmt: skip


@posix
def test_pth_07_to_09_names_are_data_and_none_is_lost(empty: Workspace, tmp_path: Path) -> None:
    """What is copied stands under a neutral name, so the source's name need not be portable."""
    art = tmp_path / "art"
    names = [*UNUSUAL, *NOT_PORTABLE, *HOSTILE]
    for number, name in enumerate(names):
        draw_icon(art / name, seed=number)

    answer = import_art(empty, art)
    assert answer.exit_code == 0, answer.stdout[-2000:]
    assets = assets_of(empty)
    stored = [one.versions[0].variants[0].original_path for one in assets]
    listed = invoke(["asset", "list"], empty.root)
    lora(empty.root, "asset", "approve", "--all", "--as", "ana@studio.example")
    lora(empty.root, "dataset", "build", "all", "--asset-type", "ui_icon")
    lora(empty.root, "dataset", "stage", "all")
    checked = invoke(["validate"], empty.root)
    staged = sorted(path.name for path in staged_folder(empty).glob("*.png"))

    assert len(assets) == len(names)
    assert len(set(stored)) == len(names)
    assert all(path.isascii() and " " not in path for path in stored)
    assert "\x1b" not in listed.stdout
    assert "\u202e" not in listed.stdout
    assert checked.exit_code == 0, checked.stdout
    assert len(staged) == len(names)
    assert all(re.fullmatch(r"[0-9a-f]+\.png", name) for name in staged)
    assert not list(tmp_path.rglob("trap"))


@posix
@pytest.mark.parametrize("name", [*NOT_PORTABLE, "line\nfeed.png", "back\\slash.png"])
def test_pth_08_a_name_that_is_not_portable_cannot_stay_where_it_is(
    empty: Workspace, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    art = tmp_path / "art"
    draw_icon(art / name)
    monkeypatch.setenv("LORA_ASSETS_ROOT", str(art))
    before = kept(empty)

    answer = import_art(empty, art, "--in-place")

    assert answer.exit_code in (1, 3), answer.stdout
    assert kept(empty) == before


@pytest.mark.parametrize("length", [300, 5_000])
@pytest.mark.parametrize(
    "command",
    [
        ["asset", "import", *IMPORT],
        ["weights", "inspect"],
        ["dataset", "show"],
        ["git", "textconv"],
    ],
)
def test_pth_10_a_path_that_no_disk_can_hold_is_refused_in_words(
    empty: Workspace, command: list[str], length: int
) -> None:
    answer = invoke([*command, "x" * length], empty.root)

    assert answer.exit_code in (0, 1, 3), answer.stderr
    assert "this is a bug" not in answer.stderr


def test_pth_10_a_folder_deeper_than_old_limits_is_imported(
    empty: Workspace, tmp_path: Path
) -> None:
    art = tmp_path / "art"
    deep = art.joinpath(*["folder-of-twenty-chr"] * 15)
    if os.name == "nt":
        pytest.skip("depends on a setting of Windows")
    draw_icon(deep / "a.png")

    assert import_art(empty, art).exit_code == 0
    assert len(assets_of(empty)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems store no such names")
def test_pth_11_a_name_that_is_no_text_is_refused_and_shown_escaped(
    empty: Workspace, tmp_path: Path
) -> None:
    art = tmp_path / "art"
    good = draw_icon(art / "a.png")
    os.link(good, os.fsencode(art) + b"/b\xff\xfe.png")
    before = kept(empty)

    answer = run_lora(["asset", "import", str(art), *IMPORT], empty.root)

    assert answer.exit_code in (1, 3)
    assert "\\udcff\\udcfe.png" in answer.stdout + answer.stderr
    assert kept(empty) == before


# --- PTH-12: archives --------------------------------------------------------------------------


def archives(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "slip.zip", "w") as archive:
        archive.writestr("../../trap.png", b"x")
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(50_000_000))
    with tarfile.open(folder / "link.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
        inside = tarfile.TarInfo("out/trap")
        inside.size = 1
        archive.addfile(inside, io.BytesIO(b"x"))
    return sorted(folder.iterdir())


def test_pth_12_archives_are_not_opened(empty: Workspace, tmp_path: Path) -> None:
    before = kept(empty)
    found = archives(tmp_path / "art")
    (tmp_path / "art" / "zip.png").write_bytes(found[0].read_bytes())

    for source in (*found, tmp_path / "art"):
        answer = import_art(empty, source)
        assert answer.exit_code in (1, 3), answer.stdout

    assert kept(empty) == before
    assert not list(tmp_path.rglob("trap*"))


# --- PTH-13: ids -------------------------------------------------------------------------------

NO_SLUGS = [
    ".", "..", ".git", "con", "NUL", "com1", "-x", "a" * 300, "ünï", "a b", "a/b", "a\\b", "A",
    "", "a\n", "猫", "a.json", "a\u202e",
]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ["project", "create"],
        ["dataset", "build", "--asset-type", "ui_icon"],
        ["create", "--checkpoint", "x", "--asset-type", "ui_icon"],
    ],
    ids=["project", "dataset", "lora"],
)
def test_pth_13_an_id_is_a_slug_or_it_is_refused(here: Workspace, command: list[str]) -> None:
    before = kept(here)

    for slug in NO_SLUGS:
        answer = invoke([*command, "--json", "--", slug], here.root)
        assert answer.exit_code in (2, 3), (slug, answer.stdout)
    assert kept(here) == before


@pytest.mark.parametrize("slug", ["a", "neon-city_2", "0", "a" * 63])
def test_pth_13_slugs_are_accepted(here: Workspace, slug: str) -> None:
    assert invoke(["project", "create", slug], here.root).exit_code == 0


# --- PTH-14, PTH-15: where a workspace may lie -------------------------------------------------


def test_pth_14_the_doctor_says_what_the_disk_does_with_names(here: Workspace) -> None:
    checks = invoke(["doctor", "--json"], here.root).document["data"]["checks"]

    assert any(one["name"] == "file names" for one in checks)


def works(folder: Path) -> None:
    """Assert that a workspace can be read, built, checked and committed."""
    workspace = reopen(folder)
    add_icon(workspace, 90)
    lora(folder, "dataset", "build", "icons", "--commit")
    assert invoke(["dataset", "verify", "icons"], folder).exit_code == 0
    checked = invoke(["validate"], folder)
    assert checked.exit_code == 0, checked.stdout


@posix
def test_pth_15_the_workspace_may_be_reached_through_a_link(
    here: Workspace, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(here.root, target_is_directory=True)

    works(link)

    assert len(manifest_of(here).items) == 3


@posix
def test_pth_15_the_folder_of_the_records_may_be_a_link_outside_of_git(
    here: Workspace, tmp_path: Path
) -> None:
    """Art on another disk: it works, and what cannot be committed is said."""
    elsewhere = tmp_path / "disk" / "data"
    elsewhere.parent.mkdir()
    here.data_root.rename(elsewhere)
    (here.root / "data").symlink_to(elsewhere, target_is_directory=True)
    workspace = reopen(here.root)
    add_icon(workspace, 90)

    lora(here.root, "dataset", "build", "icons")
    assert invoke(["dataset", "verify", "icons"], here.root).exit_code == 0
    assert invoke(["validate"], here.root).exit_code == 0
    refused = invoke(
        ["dataset", "build", "icons", "--prefix", "x", "--commit", "--json"], here.root
    )
    assert refused.exit_code == 3
    assert refused.error["code"] == "git_failed"
    assert manifest_of(workspace).caption_rule.prefix == "x"


@pytest.mark.slow
def test_pth_15_a_second_work_tree_is_a_workspace_of_its_own(
    here: Workspace, tmp_path: Path
) -> None:
    lora(here.root, "git", "install")
    commit_all(here.root, "Drivers")
    other = tmp_path / "second"
    git(here.root, "worktree", "add", "--quiet", "-b", "second", str(other))

    works(other)

    assert invoke(["git", "status"], other).exit_code == 0
    assert len(reopen(other).records.read(Manifest, here.scope(), "icons").record.items) == 3
    assert len(manifest_of(here).items) == 2


@pytest.mark.slow
def test_pth_15_a_workspace_may_be_a_submodule(here: Workspace, tmp_path: Path) -> None:
    outer = tmp_path / "game"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(
        outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
        str(here.root), "loras",
    )  # fmt: skip
    for key, value in (("user.name", "ana"), ("user.email", "ana@studio.example")):
        git(outer / "loras", "config", key, value)

    works(outer / "loras")


@pytest.mark.slow
def test_pth_15_records_in_a_submodule_cannot_be_committed_from_outside(
    here: Workspace, tmp_path: Path
) -> None:
    """They belong to another repository: that is said, and nothing is half committed."""
    inner = tmp_path / "records"
    here.data_root.rename(inner)
    git(inner, "init", "--quiet")
    for key, value in (("user.name", "ana"), ("user.email", "ana@studio.example")):
        git(inner, "config", key, value)
    commit_all(inner, "Records")
    git(here.root, "rm", "-r", "--quiet", "--cached", "data")
    git(
        here.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
        str(inner), "data",
    )  # fmt: skip
    commit_all(here.root, "Submodule")
    head = git(here.root, "rev-parse", "HEAD")

    lora(here.root, "dataset", "build", "icons")
    answer = invoke(["dataset", "build", "icons", "--prefix", "x", "--commit", "--json"], here.root)

    assert answer.exit_code == 3
    assert answer.error["code"] == "git_failed"
    assert git(here.root, "rev-parse", "HEAD") == head
    assert invoke(["validate"], here.root).exit_code == 0
