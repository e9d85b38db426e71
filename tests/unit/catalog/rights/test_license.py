from __future__ import annotations

import pytest

from lora_pipeline.catalog.rights.license import (
    license_url,
    own_name,
    read_license,
    require_license,
)
from lora_pipeline.foundation.errors import ArgumentInvalidError


@pytest.mark.parametrize(
    ("text", "proper"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("cc0-1.0", "CC0-1.0"),
        (" MIT ", "MIT"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("LicenseRef-Commissioned", "LicenseRef-Commissioned"),
    ],
)
def test_spdx_ids_get_their_proper_spelling(text: str, proper: str) -> None:
    name = read_license(text)

    assert (name.text, name.known, name.meant) == (proper, True, "")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("CC-BY-4", "CC-BY-4.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc by", "CC-BY-4.0"),
        ("CC-BY-4.O", "CC-BY-4.0"),
        ("CC0", "CC0-1.0"),
        ("cc-by-nc", "CC-BY-NC-4.0"),
        ("MIT License", "MIT"),
        ("Apache 2", "Apache-2.0"),
    ],
)
def test_a_misspelt_spdx_id_is_told(text: str, meant: str) -> None:
    name = read_license(text)

    assert (name.known, name.meant) == (False, meant)
    with pytest.raises(ArgumentInvalidError, match="is no SPDX id") as raised:
        require_license(text)
    assert f"did you mean {meant}?" in str(raised.value.hint)
    assert own_name(text) in str(raised.value.hint)


@pytest.mark.parametrize("text", ["studio-owned", "proprietary", "All rights reserved", "Deal 17"])
def test_a_name_of_ones_own_is_taken_as_it_is(text: str) -> None:
    assert require_license(text) == text
    assert not read_license(text).known


def test_what_the_project_lists_is_known_whatever_its_case_and_likeness() -> None:
    name = read_license("cc by", ("CC BY",))

    assert (name.text, name.known, name.meant) == ("CC BY", True, "")


def test_only_a_single_spdx_id_has_a_page() -> None:
    assert license_url("cc-by-4.0") == "https://spdx.org/licenses/CC-BY-4.0"
    assert license_url("MIT OR Apache-2.0") == ""
    assert license_url("LicenseRef-Deal") == ""
    assert license_url("studio-owned") == ""


def test_ones_own_name_can_be_written_as_spdx_writes_such() -> None:
    assert own_name("Deal 17 / 2026") == "LicenseRef-Deal-17-2026"
    assert read_license(own_name("Deal 17 / 2026")).known
