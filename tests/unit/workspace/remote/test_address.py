"""Addresses of remote stores: what is one, and what must not be in one."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation.errors import SettingsError
from lora_pipeline.workspace.remote.address import parse_address


@pytest.mark.parametrize(
    ("text", "service", "place"),
    [
        ("s3://studio/loras", "s3", "studio/loras"),
        ("s3://studio/", "s3", "studio"),
        ("az://container/a/b/", "az", "container/a/b"),
        ("gs://studio", "gs", "studio"),
        ("file:///mnt/share/loras/", "file", "/mnt/share/loras"),
        ("file://localhost/mnt/my%20share", "file", "/mnt/my share"),
    ],
)
def test_an_address_is_a_service_and_a_place(text: str, service: str, place: str) -> None:
    address = parse_address(text)

    assert (address.service, address.place) == (service, place)
    assert str(parse_address(str(address))) == str(address)


@pytest.mark.parametrize(
    "text",
    ["s3://KEY:hush@studio/x", "s3://KEY@studio/x", "az://c/p?sig=hush", "gs://b/p#hush",
     "file:///x?hush"],
)  # fmt: skip
def test_a_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_address(text)

    assert "hush" not in caught.value.message
    assert "KEY" not in caught.value.message
    assert "environment" in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    ["", "studio/loras", "https://studio/loras", "ftp://x/y", "s3://", "s3:///prefix",
     "s3://studio/../other", "s3://studio/a//b", "s3://studio/a\nb", "s3://stu dio/x",
     "file://host/share", "file:relative", "file://", "gs://b/*"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_address(text)
    assert caught.value.hint
