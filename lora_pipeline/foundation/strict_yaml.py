"""Reading YAML that people write, without its surprises: what stands there is what is read.

Scalars follow YAML 1.2, as editors do: ``1e-4`` is a number, ``no``, ``16:9`` and ``2026-03-01``
are text. A key that stands twice, an alias (a few of them can stand for terabytes) and a tag
that asks for code are refused with their place.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from lora_pipeline.foundation.conflict_markers import conflict_error
from lora_pipeline.foundation.errors import RecordInvalidError

MAX_BYTES = 4 * 1024 * 1024
_DEEPEST = 100  # lists and mappings inside one another
# Tag, form, and the characters that such a scalar may begin with ("" for an empty one).
# Integers come before floats, whose form matches them too.
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
)


def loads(data: bytes, name: str) -> Any:
    """Return the value of YAML text; an empty text is None.

    Args:
        data: UTF-8 bytes.
        name: What the text is, for messages.

    Raises:
        RecordInvalidError: When it is not such YAML; names line and column.
        MergeConflictError: When it holds merge markers.
    """
    import yaml  # imported late: 15 ms

    if len(data) > MAX_BYTES:
        raise RecordInvalidError(f"{name} has {len(data)} bytes, at most {MAX_BYTES} are read")
    conflict = conflict_error(data, name)
    if conflict is not None:
        raise conflict
    try:
        _require_plain(data)
        return yaml.load(data, Loader=_loader())  # noqa: S506 - derives from the safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecordInvalidError(f"{name} is not valid YAML: {error.problem}{where}") from error
    except (yaml.YAMLError, ValueError) as error:
        words = " ".join(str(error).split())
        raise RecordInvalidError(f"{name} is not valid YAML: {words}") from error
    except RecursionError as error:
        raise RecordInvalidError(f"{name} is nested too deeply") from error


def _require_plain(data: bytes) -> None:
    """Refuse aliases and deep nesting before anything is built from the text."""
    import yaml

    depth = 0
    for event in yaml.parse(data, Loader=_parser()):
        if isinstance(event, yaml.AliasEvent):
            raise _problem("aliases are not read", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise RecursionError
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _problem(words: str, where: Any) -> Exception:
    import yaml

    return yaml.constructor.ConstructorError(None, None, words, where.start_mark)


def _parser() -> Any:
    import yaml

    # libyaml, where the library came with it: ten times as fast.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def _loader() -> Any:

    class Loader(_parser()):  # type: ignore[misc]
        """A safe loader with the scalars of YAML 1.2 and unique keys."""

        yaml_implicit_resolvers: dict[str, Any] = {}

        def construct_unique(self, node: Any) -> dict[str, Any]:
            """Return a mapping whose keys are texts that stand once."""
            mapping: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    raise _problem(f"key {key!r} is not text", key_node)
                if key in mapping:
                    raise _problem(f"key {key!r} stands twice", key_node)
                mapping[key] = self.construct_object(value_node, deep=True)
            return mapping

        def construct_decimal(self, node: Any) -> int:
            """Return a whole number; a leading zero does not make it octal."""
            return int(self.construct_scalar(node), 10)

    for tag, form, first in _SCALARS:
        pattern = re.compile(f"^(?:{form})\\Z")
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", pattern, first)
    Loader.add_constructor("tag:yaml.org,2002:map", Loader.construct_unique)
    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_decimal)
    return Loader


def dumps(document: Any) -> bytes:
    """Return YAML that ``loads`` reads as ``document``; texts of several lines stand as they are.

    UTF-8, two spaces, keys in the order of the document, LF. Read it back where the texts are
    not ours: YAML cannot hold every character.
    """
    import yaml  # imported late: 15 ms

    text: str = yaml.dump(  # nosec - the dumper derives from the safe one
        document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=10_000
    )
    return text.encode("utf-8")


@functools.cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what the loader above would take for something else than text."""

        yaml_implicit_resolvers: dict[str, Any] = _loader().yaml_implicit_resolvers

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002
            # Elements of a list stand two spaces to the right of its name.
            return super().increase_indent(flow=flow, indentless=False)

    def as_text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, as_text)
    return Dumper
