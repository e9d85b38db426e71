"""The base of every record: a frozen, typed, closed structure with camelCase names on disk."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, NamedTuple, Self

import msgspec

from lora_pipeline.foundation.errors import RecordInvalidError, Violation


class Part(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """A piece of a record. Fields that hold their default are not written."""

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Return the typed form of ``document``.

        Raises:
            RecordInvalidError: When a field is missing, unknown or of another type.
        """
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at ")
            place = where.strip("`") or "$"
            raise RecordInvalidError(
                f"{cls.__name__} is not valid", violations=[Violation(place, message)]
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form; ``from_dict`` of it is equal to ``self``.

        Equal values have one form, however they were made: defaults are told by equality,
        where msgspec alone would tell them by identity.
        """
        return _document(self)


class Record(Part, frozen=True, kw_only=True):
    """A document that stands in a file of its own and names its schema.

    A document without ``schema`` is read as the first version: repositories written before
    schemas were named stay readable.
    """

    KIND: ClassVar[str]
    """The kind, such as ``lora``; the schema's name is ``<KIND>/v1``."""

    ONE_LINE_EACH: ClassVar[tuple[str, ...]] = ()
    """Top-level lists written with one element on a line; only the first may be very long."""

    EXACT_LINES: ClassVar[bool] = False
    """Whether elements of these hold text and whole numbers alone, which are written faster."""

    @classmethod
    def schema_name(cls) -> str:
        """Return the schema that this type writes."""
        return f"{cls.KIND}/v1"

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Return the typed form of ``document``, whose ``schema`` was checked before."""
        return super().from_dict({k: v for k, v in document.items() if k != "schema"})

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form, with the name of its schema."""
        return {"schema": self.schema_name(), **super().to_dict()}


class _Field(NamedTuple):
    name: str
    written_as: str
    default: Any


def _document(part: msgspec.Struct) -> dict[str, Any]:
    fields, omits = _fields(type(part))
    document: dict[str, Any] = {}
    for name, written_as, default in fields:
        value = getattr(part, name)
        if value is msgspec.UNSET or (omits and value == default):
            continue
        document[written_as] = _builtin(value)
    return document


def _builtin(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, msgspec.Struct):
        return _document(value)
    if isinstance(value, tuple | list):
        return [_builtin(one) for one in value]
    if isinstance(value, dict):
        return {key: _builtin(one) for key, one in value.items()}
    return value


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[_Field, ...], bool]:
    fields = tuple(
        _Field(
            one.name,
            one.encode_name,
            one.default_factory() if callable(one.default_factory) else one.default,
        )
        for one in msgspec.structs.fields(kind)
    )
    return fields, kind.__struct_config__.omit_defaults
