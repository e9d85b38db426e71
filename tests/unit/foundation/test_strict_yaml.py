"""YAML is read without its surprises, and what is refused names its place."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation import strict_yaml
from lora_pipeline.foundation.errors import MergeConflictError, RecordInvalidError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("2.5", 2.5),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("true", True),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("16:9", "16:9"),
        ("2026-03-01", "2026-03-01"),
        ("1_000", "1_000"),
        (".nan", ".nan"),
        ("'1'", "1"),
        ("style:flat", "style:flat"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    read = strict_yaml.loads(f"key: {text}\n".encode(), "file.yaml")

    assert read == {"key": value}
    assert type(read["key"]) is type(value)


def test_an_empty_text_is_none() -> None:
    assert strict_yaml.loads(b"# only a comment\n", "file.yaml") is None


def test_lists_and_blocks_are_read() -> None:
    data = b"a:\n  - 1\n  - b: |\n      two\n      lines\nc: [x, y]\n"

    assert strict_yaml.loads(data, "file.yaml") == {
        "a": [1, {"b": "two\nlines\n"}],
        "c": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "key 'a' stands twice at line 3, column 1"),
        ("a: &x [1]\nb: *x\n", "aliases are not read at line 2, column 4"),
        ("a: !!python/object/apply:os.system ['id']\n", "python/object/apply:os.system"),
        ("a: !custom 1\n", "!custom"),
        ("1: x\n", "key 1 is not text at line 1, column 1"),
        ("a: [1, 2\n", "at line 2, column 1"),
        ("a: 1\n  b: 2\n", "at line 2"),
        ("a: !!int one\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_refused_names_the_file_and_the_place(text: str, message: str) -> None:
    with pytest.raises(RecordInvalidError) as caught:
        strict_yaml.loads(text.encode(), "config/pipeline.yaml")

    assert caught.value.message.startswith("config/pipeline.yaml ")
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(RecordInvalidError, match="not valid YAML"):
        strict_yaml.loads(b"a: \xff\n", "file.yaml")


def test_a_text_beyond_the_limit_is_refused() -> None:
    with pytest.raises(RecordInvalidError, match="at most 4194304 are read"):
        strict_yaml.loads(b"#" * (strict_yaml.MAX_BYTES + 1), "file.yaml")


def test_an_unresolved_merge_is_named() -> None:
    data = b"<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n"

    with pytest.raises(MergeConflictError, match=r"file\.yaml holds an unresolved merge"):
        strict_yaml.loads(data, "file.yaml")


@pytest.mark.parametrize(
    "value",
    [
        "plain", "", "no", "1e-4", "007", "null", "~", "16:9", "- x", "# x", "a: b", "{run}",
        "two\nlines", "two\nlines\n", "two\nlines\n\n", "\nleading", "  indented\nfirst\n",
        "tab\there\nand line\n", "trailing \nspace\n", "ünï\ncode\n", "<<<<<<< HEAD\nx\n",
        0.004, 1e-05, 1.0, 5, True, None, [], {}, ["a", {"b": "c\nd"}],
    ],
)  # fmt: skip
def test_what_is_written_is_read_back(value: object) -> None:
    document = {"value": value, "after": [value]}

    assert strict_yaml.loads(strict_yaml.dumps(document), "x") == document


def test_texts_of_several_lines_stand_as_they_are() -> None:
    assert strict_yaml.dumps({"files": [{"content": '{\n  "a": 1\n}\n'}]}).decode() == (
        'files:\n  - content: |\n      {\n        "a": 1\n      }\n'
    )
