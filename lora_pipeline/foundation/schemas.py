"""The JSON Schemas that ship with the package, and what a document breaks of them."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lora_pipeline.foundation.errors import (
    RecordInvalidError,
    SchemaVersionError,
    Violation,
)
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.resources import resource

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema_rs import Draft202012Validator as QuickValidator

_SCHEMA_NAME = re.compile(r"^([a-z][a-z-]*)/v(\d+)$")
MAX_VIOLATIONS = 50
_PART = 4096  # elements of a list that are looked at in one go
_FEW = 20  # elements of a list that are explained whatever they hold
_ELEMENT = re.compile(r"\$\.(?P<key>\w+)\[(?P<place>\d+)\]")


def schema_name_of(document: dict[str, Any], kind: str, name: str) -> str:
    """Return the schema that a document of ``kind`` is to be checked against.

    A document that names none is of the first version.

    Raises:
        SchemaVersionError: When it names one that this version does not know.
    """
    stated = document.get("schema", f"{kind}/v1")
    if stated == f"{kind}/v1":
        return f"{kind}/v1"
    match = _SCHEMA_NAME.fullmatch(stated) if isinstance(stated, str) else None
    if match and match.group(1) == kind:
        raise SchemaVersionError(
            f"{name} is {stated}, this version of lora knows {kind}/v1",
            hint="update lora-pipeline",
        )
    raise SchemaVersionError(f"{name} must name schema {kind}/v1, it names {stated!r}")


def violations_of(document: Any, schema_name: str) -> list[Violation]:
    """Return every place where ``document`` breaks the schema, in document order."""
    if all(map(_quick_validator(schema_name).is_valid, _parts(document, schema_name))):
        return []
    # The validator that explains takes a third of a millisecond for an image of a manifest.
    thinned, stood = _thinned(document, schema_name)
    found = [_in_place(one, stood) for one in _explained(thinned, schema_name)]
    return found or _explained(document, schema_name)


def _explained(document: Any, schema_name: str) -> list[Violation]:
    errors = sorted(
        _validator(schema_name).iter_errors(document),
        key=lambda error: [
            (part, "") if isinstance(part, int) else (-1, part) for part in error.absolute_path
        ],
    )
    found = dict.fromkeys(violation for error in errors for violation in _explain(error))
    return list(found)[:MAX_VIOLATIONS]


def _thinned(document: Any, schema_name: str) -> tuple[Any, dict[str, list[int]]]:
    """Return a document without elements of long lists that break nothing.

    Also returns where the elements that are left stood. Of those that break something, no more
    are left than violations are named.
    """
    stood: dict[str, list[int]] = {}
    if isinstance(document, dict):
        for key, value in document.items():
            if isinstance(value, list) and len(value) > _FEW and _is_plain(schema_name, key):
                valid = _quick_element_validator(schema_name, key).is_valid
                broken = (place for place, one in enumerate(value) if not valid(one))
                left = {*range(_FEW), *itertools.islice(broken, MAX_VIOLATIONS)}
                stood[key] = sorted(left)
    if not stood:
        return document, stood
    thin = {key: [document[key][place] for place in places] for key, places in stood.items()}
    return {**document, **thin}, stood


def _in_place(violation: Violation, stood: dict[str, list[int]]) -> Violation:
    """Return a violation of a thinned document as one of the whole."""
    element = _ELEMENT.match(violation.where)
    if element is None or element["key"] not in stood:
        return violation
    place = stood[element["key"]][int(element["place"])]
    rest = violation.where[element.end() :]
    return Violation(f"$.{element['key']}[{place}]{rest}", violation.message)


def _parts(document: Any, schema_name: str) -> Iterator[Any]:
    """Yield a document in parts of a bounded size, which are valid when it is.

    The validator copies what it looks at: of a manifest of 100,000 images that is 200 MB.
    """
    if isinstance(document, dict):
        for key, value in document.items():
            if isinstance(value, list) and len(value) > _PART and _is_plain(schema_name, key):
                for start in range(0, len(value), _PART):
                    yield {**document, key: value[start : start + _PART]}
                return
    yield document


@functools.cache
def _is_plain(schema_name: str, key: str) -> bool:
    """Return whether a list's elements are judged one by one, and never together."""
    form = load_schema(schema_name).get("properties", {}).get(key, {})
    return set(form) <= {"type", "description", "items", "minItems"}


def require_valid(document: Any, schema_name: str, name: str) -> None:
    """Check a document against its schema.

    Raises:
        RecordInvalidError: When it breaks it; carries every violation.
    """
    found = violations_of(document, schema_name)
    if found:
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise RecordInvalidError(f"{name}: {first}{more}", violations=found)


def load_schema(schema_name: str) -> dict[str, Any]:
    """Return a schema document such as ``lora/v1``.

    Raises:
        SchemaVersionError: When there is none of that name.
    """
    path = resource("schemas", schema_name.replace("/", ".") + ".schema.json")
    if not path.is_file():
        raise SchemaVersionError(f"no schema {schema_name}")
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def schema_names() -> list[str]:
    """Return the names of all schemas that ship, such as ``asset/v1``."""
    paths = sorted(resource("schemas").glob("*.schema.json"))
    return [path.name.removesuffix(".schema.json").replace(".", "/", 1) for path in paths]


@functools.cache
def _quick_validator(schema_name: str) -> QuickValidator:
    """Return the validator that says yes or no: a thousand times faster than the other one."""
    return _quick(load_schema(schema_name))


@functools.cache
def _quick_element_validator(schema_name: str, key: str) -> QuickValidator:
    """Return the same for the elements of a list."""
    return _quick({"$ref": f"{load_schema(schema_name)['$id']}#/properties/{key}/items"})


def _quick(schema: dict[str, Any]) -> QuickValidator:
    from jsonschema_rs import Draft202012Validator

    documents = {document["$id"]: document for document in map(load_schema, schema_names())}
    return Draft202012Validator(schema, retriever=documents.__getitem__)


@functools.cache
def _validator(schema_name: str) -> Draft202012Validator:
    """Return the validator that explains."""
    from jsonschema import Draft202012Validator, validators  # 0.15 s to import: only when needed
    from referencing import Registry, Resource

    documents = [load_schema(name) for name in schema_names()]
    registry: Registry[Any] = Registry().with_resources(
        (document["$id"], Resource.from_contents(document)) for document in documents
    )
    # JSON Schema takes 1.0 for an integer; a record that holds it would not be byte-stable.
    exact_types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    exact = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": _matches}, type_checker=exact_types
    )
    validator: Draft202012Validator = exact(load_schema(schema_name), registry=registry)
    return validator


def _matches(
    _: Any, pattern: str, instance: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    # JSON Schema means the end of the text by "$"; Python also means "before a last line feed".
    if isinstance(instance, str) and not _compiled(pattern).search(instance):
        yield ValidationError(f"{_shown(instance)} is not {schema.get('description', pattern)}")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\$$", r"\\Z", pattern), re.ASCII)


def _explain(error: Any) -> list[Violation]:  # its stubs make every field optional
    if error.validator in ("anyOf", "oneOf") and error.context:
        from jsonschema.exceptions import best_match

        nearest = best_match([error])
        if nearest is not error:
            return _explain(nearest)
    words = _WORDS.get(error.validator, _library_words)(error)
    return [Violation(error.json_path, message) for message in words]


def _library_words(error: Any) -> list[str]:
    return [error.message[:200]]


def _unknown_fields(error: Any) -> list[str]:
    known = error.schema.get("properties", {})
    return [_unknown(key, known) for key in error.instance if key not in known]


def _missing_fields(error: Any) -> list[str]:
    return [f"{key!r} is missing" for key in error.validator_value if key not in error.instance]


def _wrong_type(error: Any) -> list[str]:
    expected = error.validator_value
    words = " or ".join([expected] if isinstance(expected, str) else expected)
    return [f"must be {words}, is {_shown(error.instance)}"]


def _wrong_form(error: Any) -> list[str]:
    described = error.schema.get("description", "").rstrip(".")
    return [f"{_shown(error.instance)} is not {described or error.validator_value}"]


def _no_such_word(error: Any) -> list[str]:
    words = ", ".join(map(str, error.validator_value))
    return [f"{_shown(error.instance)} is not one of {words}"]


_WORDS: dict[str, Callable[[Any], list[str]]] = {
    "additionalProperties": _unknown_fields,
    "required": _missing_fields,
    "type": _wrong_type,
    "pattern": _wrong_form,
    "enum": _no_such_word,
}


def _unknown(key: str, known: dict[str, Any]) -> str:
    near = did_you_mean(key, known)
    return f"unknown field {key!r}" + (f", did you mean {near!r}?" if near else "")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
