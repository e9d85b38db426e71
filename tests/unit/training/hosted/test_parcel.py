"""Zips that are sent, and archives that come back and cannot be trusted."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import ServiceRefusedError
from lora_pipeline.training.hosted.parcel import pack, take_weights, uploads_of
from tests.support.fake_replicate_server import tar_of
from tests.support.hosted_builders import WEIGHTS
from tests.support.trainer_requests import make_request

NAME = "output/flux_train_replicate/lora.safetensors"


def zip_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as parcel:
        for name, data in files.items():
            parcel.writestr(name, data)
    return stream.getvalue()


def link_of(name: str, target: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        tar.addfile(info)
    return stream.getvalue()


def taken(folder: Path, data: bytes, **options: int) -> bytes:
    (folder / "came.tar").write_bytes(data)
    take_weights(folder / "came.tar", folder / "out.safetensors", **options)
    return (folder / "out.safetensors").read_bytes()


@pytest.mark.parametrize("packed", [tar_of, zip_of])
def test_the_weights_of_an_archive_are_taken_and_nothing_else(
    packed: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    data = packed({"output/config.yaml": b"a: 1", NAME: WEIGHTS, "output/captions/1.txt": b"x"})

    assert taken(tmp_path, data) == WEIGHTS
    assert {path.name for path in tmp_path.iterdir()} == {"came.tar", "out.safetensors"}


def test_a_compressed_tar_is_read_too(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(tar_of({NAME: WEIGHTS})) + packer.flush()

    assert taken(tmp_path, data) == WEIGHTS


@pytest.mark.parametrize("packed", [tar_of, zip_of])
@pytest.mark.parametrize(
    "name", ["../escaped.safetensors", "/etc/lora.safetensors", "a/../../b.safetensors",
             "..\\escaped.safetensors", "C:\\lora.safetensors"],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_archive_refuses_all_of_it(
    name: str, packed: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    data = packed({NAME: WEIGHTS, name: b"evil"})

    with pytest.raises(ServiceRefusedError, match="leads out of its folder"):
        taken(tmp_path, data)

    assert [path.name for path in tmp_path.iterdir()] == ["came.tar"]
    assert not (tmp_path.parent / "escaped.safetensors").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tar_of({"output/config.yaml": b"a: 1"}), "holds no file of weights"),
        (tar_of({"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS}), "holds 2 files of weights"),
        (link_of(NAME, "/etc/passwd"), "is no file"),
        (b"no archive at all", "is no archive that can be read"),
        (b"", "is no archive that can be read"),
        (zip_of({NAME: WEIGHTS})[:-30], "is no archive that can be read"),
        (b"\x1f\x8b\x08" + b"rubbish" * 9, "is no archive that can be read"),
    ],
)
def test_an_archive_without_one_sound_file_of_weights_is_refused(
    data: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ServiceRefusedError, match=words):
        taken(tmp_path, data)

    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("packed", [tar_of, zip_of])
def test_a_file_that_unpacks_to_more_than_any_lora_is_stopped_at_the_limit(
    packed: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    bomb = packed({NAME: bytes(20_000_000)})

    with pytest.raises(ServiceRefusedError, match="larger than 1 MB"):
        taken(tmp_path, bomb, limit=1 << 20)

    assert not (tmp_path / "out.safetensors").exists()


def test_an_archive_of_countless_files_is_refused(tmp_path: Path) -> None:
    many = {f"{number}.txt": b"" for number in range(10_050)}

    with pytest.raises(ServiceRefusedError, match="more than any training leaves"):
        taken(tmp_path, zip_of({**many, NAME: WEIGHTS}))


def test_what_is_sent_is_flat_and_the_same_bytes_whenever_it_is_packed(tmp_path: Path) -> None:
    request = make_request(tmp_path, "flux1")
    uploads = tuple(uploads_of(request, "lora-x"))

    pack(uploads, tmp_path / "one.zip")
    for one in uploads:
        one.source.touch()
    size = pack(uploads, tmp_path / "two.zip")

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert size == (tmp_path / "two.zip").stat().st_size
    with zipfile.ZipFile(tmp_path / "two.zip") as parcel:
        assert parcel.namelist() == ["000001.png", "000001.txt", "000002.png", "000002.txt"]
        assert parcel.read("000002.txt") == b"neon icon, a blue star\n"
