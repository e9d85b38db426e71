"""The base of every record: a frozen, typed, closed structure with camelCase names on disk."""

from __future__ import annotations

from typing import Any, ClassVar, Self

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
        """Return the JSON-ready form; ``from_dict`` of it is equal to ``self``."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class Record(Part, frozen=True, kw_only=True):
    """A document that stands in a file of its own and names its schema.

    A document without ``schema`` is read as the first version: repositories written before
    schemas were named stay readable.
    """

    KIND: ClassVar[str]
    """The kind, such as ``lora``; the schema's name is ``<KIND>/v1``."""

    ONE_LINE_EACH: ClassVar[tuple[str, ...]] = ()
    """Top-level lists written with one element on a line."""

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
