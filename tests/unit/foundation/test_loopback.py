from __future__ import annotations

import pytest

from lora_pipeline.foundation.loopback import is_confidential, is_loopback


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8188", "https://localhost/x", "http://[::1]:7860/a?b"]
)
def test_names_of_this_machine_lead_here(address: str) -> None:
    assert is_loopback(address)
    assert is_confidential(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1.example.com/upload",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com/",
        "http://example.com",
        "http://[::1",
        "ftp://127.0.0.1/x",
        "//127.0.0.1/x",
        "https://",
        "",
    ],
)
def test_what_others_could_read_is_not_confidential(address: str) -> None:
    assert not is_confidential(address)


def test_https_is_confidential_wherever_it_leads() -> None:
    assert is_confidential("https://example.com/x")
    assert not is_loopback("https://example.com/x")
