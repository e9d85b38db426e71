"""The TOML writer for sd-scripts: what it writes, both readers read back."""

from __future__ import annotations

import tomllib

import pytest
import toml  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.trainers.kohya.toml import Value, toml_table

_TRICKY = st.text(alphabet="\"\\#'[]{},=\n\r\t é日x0ua .-", max_size=10)
_PLAIN = st.text(alphabet="#[]{}= é日x0ua._:/-", max_size=10)


@settings(max_examples=300, deadline=None)
@given(_TRICKY, st.lists(_PLAIN, max_size=3), st.floats(1e-9, 1e9), st.integers(), st.booleans())
def test_both_readers_read_back_what_was_written_or_it_is_refused(
    text: str, words: list[str], number: float, count: int, flag: bool
) -> None:
    values: dict[str, Value] = {
        "a": text,
        "words": words,
        "n": number,
        "i": count,
        "flag": flag,
        "last": "x",
    }
    try:
        written = toml_table("", values)
    except RecipeInvalidError:
        assert any(character in text for character in "\"\\'\n\r\t")
        return
    assert tomllib.loads(written) == values
    assert toml.loads(written) == values


@pytest.mark.parametrize(
    "text",
    [
        "C:\\studio\\new",
        "Ana's icons",
        'the "neon" set',
        '"',
        "a # b",
        "line one\nline two",
        "日本 🎨 é",
        "key = [value], {x}",
        " leading and trailing ",
        "",
    ],
)
def test_paths_and_captions_of_every_kind_survive_both_readers(text: str) -> None:
    written = toml_table("[[datasets.subsets]]", {"image_dir": text, "num_repeats": 2})
    expected = [{"image_dir": text, "num_repeats": 2}]
    assert tomllib.loads("[[datasets]]\n" + written)["datasets"][0]["subsets"] == expected
    assert toml.loads("[[datasets]]\n" + written)["datasets"][0]["subsets"] == expected


@pytest.mark.parametrize("text", ['""it\'s', "bell \x07", "lone \ud800"])
def test_a_text_that_sd_scripts_would_misread_is_refused_by_name(text: str) -> None:
    with pytest.raises(RecipeInvalidError, match="sd-scripts cannot read output_name = "):
        toml_table("", {"output_name": text})


@pytest.mark.parametrize("text", [",0", " ,", "back\\slash", 'quo"te'])
def test_a_list_holds_no_text_that_would_swallow_its_neighbour(text: str) -> None:
    with pytest.raises(RecipeInvalidError, match="network_args"):
        toml_table("", {"network_args": ["conv_dim=4", text]})
