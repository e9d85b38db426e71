"""Digests of files: one read, two identities."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import xxhash

from lora_pipeline.foundation.digests import digest_file, require_sha256, sha256_of_file
from lora_pipeline.foundation.errors import DigestMismatchError, FileMissingError


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024 - 1, 1024 * 1024, 2 * 1024 * 1024 + 7])
def test_both_digests_come_from_all_the_bytes(size: int, tmp_path: Path) -> None:
    data = bytes(number % 251 for number in range(size))
    (tmp_path / "a").write_bytes(data)

    digest = digest_file(tmp_path / "a")

    assert digest.bytes == size
    assert digest.sha256 == hashlib.sha256(data).hexdigest() == sha256_of_file(tmp_path / "a")
    assert digest.xxh3 == xxhash.xxh3_128(data).hexdigest()


def test_a_digest_is_unchanged_when_the_file_moves(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    before = digest_file(tmp_path / "a")

    (tmp_path / "a").rename(tmp_path / "b")

    assert digest_file(tmp_path / "b") == before


@pytest.mark.parametrize("name", ["gone", "."])
def test_what_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    for function in (digest_file, sha256_of_file):
        with pytest.raises(FileMissingError, match=str(tmp_path)):
            function(tmp_path / name)


def test_a_file_with_one_bit_changed_is_not_the_one_that_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    recorded = sha256_of_file(tmp_path / "a")
    require_sha256(tmp_path / "a", recorded)
    (tmp_path / "a").write_bytes(b"abb")

    with pytest.raises(DigestMismatchError, match=recorded[:12]) as caught:
        require_sha256(tmp_path / "a", recorded)

    assert sha256_of_file(tmp_path / "a")[:12] in caught.value.message
