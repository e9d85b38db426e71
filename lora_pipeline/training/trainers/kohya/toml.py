"""TOML as sd-scripts reads it.

It reads with ``toml`` 0.10.2, which misreads TOML that is valid and that writing libraries
produce: a string that is one quotation mark becomes empty, a backslash at the end of a string
in an array swallows its neighbour, a string in an array may not begin with a comma. This writer
uses only spellings that both ``toml`` 0.10.2 and the standard library read alike, and refuses
the few texts that have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lora_pipeline.foundation.errors import RecipeInvalidError

Scalar = str | int | float | bool
Value = Scalar | Sequence[Scalar]

_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r",
}  # fmt: skip
_ESCAPED = re.compile(r'["\\\b\t\n\f\r]')
_UNSPEAKABLE = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f\ud800-\udfff]")
_NOT_LITERAL = re.compile(r"['\b\n\f\r]")
_NOT_IN_ARRAYS = re.compile(r"""["'\\\b\t\n\f\r]|^\s*,""")


def toml_table(name: str, values: Mapping[str, Value]) -> str:
    """Return ``[name]`` (``[[name]]`` for an array of tables) with its values, one a line.

    Without a name the values stand alone.

    Raises:
        RecipeInvalidError: When a text cannot be said so that sd-scripts reads it back.
    """
    head = f"{name}\n" if name else ""
    return head + "".join(f"{key} = {_value(key, value)}\n" for key, value in values.items())


def _value(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(key, value)
    if isinstance(value, int | float):
        return repr(value)
    return "[" + ", ".join(_element(key, one) for one in value) + "]"


def _element(key: str, value: Scalar) -> str:
    if isinstance(value, str) and _NOT_IN_ARRAYS.search(value):
        raise _refusal(key, value)
    return _value(key, value)


def _string(key: str, text: str) -> str:
    if _UNSPEAKABLE.search(text):
        raise _refusal(key, text)
    if ('"' in text or "\\" in text) and not _NOT_LITERAL.search(text):
        return f"'{text}'"
    if text.startswith('""'):
        raise _refusal(key, text)
    return '"' + _ESCAPED.sub(lambda match: _ESCAPES[match.group()], text) + '"'


def _refusal(key: str, text: str) -> RecipeInvalidError:
    return RecipeInvalidError(
        f"sd-scripts cannot read {key} = {text!r}",
        hint="take quotation marks, backslashes and control characters out of it",
    )
