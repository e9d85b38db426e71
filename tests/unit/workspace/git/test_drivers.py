"""What Git is told: the files, the program, and nothing that breaks on an odd path."""

from __future__ import annotations

import pytest

from lora_pipeline.workspace.git.drivers import (
    Part,
    attribute_lines,
    settings_wanted,
    with_attributes,
)


@pytest.mark.parametrize(
    ("data_root", "first"),
    [
        ("data", "data/**/datasets/*.json"),
        ("art/records", "art/records/**/datasets/*.json"),
        (".", "**/datasets/*.json"),
    ],
)
def test_patterns_stand_below_the_folder_of_the_records(data_root: str, first: str) -> None:
    lines = attribute_lines(data_root)

    assert next(iter(lines)) == first
    assert "*.safetensors" in lines


@pytest.mark.parametrize("before", ["", "*.json text", "*.json text\n"])
def test_lines_are_added_at_the_end_and_the_rest_stays(before: str) -> None:
    text = with_attributes(before, [Part("a", "diff=lora", None), Part("b", "merge=lora", None)])

    assert text.startswith(before)
    assert text.endswith("\na diff=lora\nb merge=lora\n")
    again = with_attributes(text, [Part("c", "diff=lora", None)])
    assert again.count("lora git install") == 1


def test_the_program_is_named_by_its_full_path_and_takes_no_code_from_the_work_tree() -> None:
    settings = settings_wanted()

    for key in ("diff.lora.textconv", "merge.lora.driver"):
        assert " -P -m lora_pipeline git " in settings[key]
    assert settings["diff.lora.cachetextconv"] == "false"
