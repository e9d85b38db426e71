from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from lora_pipeline.datasets.image_files import ImageFiles, Proof, pointer_in
from lora_pipeline.datasets.proving import prove_each
from lora_pipeline.foundation.errors import FileMissingError, SettingsError, UnsafePathError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "a.png").write_bytes(b"pixels")
    return folder


def test_a_file_is_proven_by_both_digests(root: Path) -> None:
    proof = ImageFiles(root).prove("files/a.png")

    assert proof.sha256 == hashlib.sha256(b"pixels").hexdigest()
    assert len(proof.xxh3) == 32
    assert proof.bytes == 6
    assert not proof.pointer


@pytest.mark.parametrize(
    "path", ["../a.png", "/etc/passwd", "files/../../a", "a\\b", "", "files//a", "assetsRoot:../a"]
)
def test_a_path_that_leaves_its_root_is_refused(root: Path, path: str) -> None:
    with pytest.raises(UnsafePathError):
        ImageFiles(root, root).prove(path)


@pytest.mark.parametrize("link", ["files/link.png", "linked/a.png"])
def test_a_link_that_leads_outside_is_refused(root: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(b"secret")
    (root / "files" / "link.png").symlink_to(outside / "a.png")
    (root / "linked").symlink_to(outside)

    with pytest.raises(UnsafePathError):
        ImageFiles(root).prove(link)


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "linked").symlink_to(root / "files")

    assert ImageFiles(root).prove("linked/a.png").bytes == 6


def test_a_link_is_found_also_when_the_folder_beside_it_was_checked_before(
    root: Path, tmp_path: Path
) -> None:
    finder = ImageFiles(root)
    finder.prove("files/a.png")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "files" / "b.png").symlink_to(tmp_path / "secret")

    with pytest.raises(UnsafePathError):
        finder.prove("files/b.png")


def test_images_below_the_assets_root_are_found_there(root: Path, tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "b.png").write_bytes(b"other")

    assert ImageFiles(root, tmp_path / "art").prove("assetsRoot:b.png").bytes == 5


def test_without_an_assets_root_the_setting_is_named(root: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        ImageFiles(root).prove("assetsRoot:b.png")

    assert "assetsRoot" in caught.value.message


def test_a_missing_file_and_a_folder_are_no_images(root: Path) -> None:
    for path in ("files/none.png", "files"):
        with pytest.raises(FileMissingError):
            ImageFiles(root).prove(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_and_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "files" / "pipe.png")

    with pytest.raises(FileMissingError):
        ImageFiles(root).prove("files/pipe.png")


def test_an_lfs_pointer_proves_digest_and_length(root: Path) -> None:
    (root / "files" / "p.png").write_text(POINTER.format(oid="ab" * 32))

    proof = ImageFiles(root).prove("files/p.png")

    assert proof == Proof(12345, "ab" * 32, "", pointer=True)
    assert proof.agrees(sha256="ab" * 32, xxh3="1" * 32, size=12345)
    assert not proof.agrees(sha256="ab" * 32, size=7)
    assert not proof.agrees(sha256="cd" * 32)


@pytest.mark.parametrize(
    "text",
    [
        POINTER.format(oid="AB" * 32),
        POINTER.format(oid="ab" * 31),
        POINTER.format(oid="ab" * 32) + "more\n",
        " " + POINTER.format(oid="ab" * 32),
        POINTER.format(oid="ab" * 32).replace("\n", "\r\n"),
        "version https://git-lfs.github.com/spec/v1\n",
    ],
)
def test_what_only_looks_like_a_pointer_is_hashed_as_a_file(root: Path, text: str) -> None:
    file = root / "files" / "p.png"
    file.write_bytes(text.encode())

    assert pointer_in(text.encode()) is None
    assert ImageFiles(root).prove("files/p.png").bytes == len(text.encode())


def test_what_cannot_be_proven_is_explained_where_many_are_worked_on(root: Path) -> None:
    found = dict(prove_each(ImageFiles(root), [(1, "files/none.png"), (2, "files/a.png")]))

    assert isinstance(found[1], FileMissingError)
    assert isinstance(found[2], Proof)
