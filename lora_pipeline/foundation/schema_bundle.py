"""Schemas that stand alone, for editors and tools that fetch nothing."""

from __future__ import annotations

from typing import Any

from lora_pipeline.foundation.schemas import load_schema

_BASE = "https://lora-pipeline.dev/schemas/"
_SUFFIX = ".schema.json"


def bundled_schema(schema_name: str) -> dict[str, Any]:
    """Return a schema such as ``lora/v1`` with everything inside that it refers to.

    It accepts and refuses what the original does.

    Raises:
        SchemaVersionError: When it, or one that it refers to, does not exist.
    """
    return _Bundle(schema_name).build()


class _Bundle:
    """One schema, and the definitions that are moved into it."""

    def __init__(self, schema_name: str) -> None:
        self._name = schema_name
        self._moved: dict[str, Any] = {}

    def build(self) -> dict[str, Any]:
        """Return the schema with its references turned inwards."""
        document: dict[str, Any] = self._inward(load_schema(self._name), self._name)
        if self._moved:
            document["$defs"] = document.get("$defs", {}) | self._moved
        return document

    def _inward(self, node: Any, home: str) -> Any:
        if isinstance(node, list):
            return [self._inward(one, home) for one in node]
        if not isinstance(node, dict):
            return node
        turned = {key: self._inward(value, home) for key, value in node.items()}
        if isinstance(node.get("$ref"), str):
            turned["$ref"] = self._place_of(node["$ref"], home)
        return turned

    def _place_of(self, reference: str, home: str) -> str:
        address, _, pointer = reference.partition("#")
        target = _name_of(address) if address else home
        if target == self._name:
            return f"#{pointer}"
        key = ".".join([target.partition("/")[0], *pointer.split("/")[2:]])
        if key not in self._moved:
            self._moved[key] = {}  # before going on: definitions may refer to each other
            found = load_schema(target)
            for step in pointer.split("/")[1:]:
                found = found[step]
            stripped = {k: v for k, v in found.items() if k not in ("$id", "$schema", "$defs")}
            self._moved[key] = self._inward(stripped, target)
        return f"#/$defs/{key}"


def _name_of(address: str) -> str:
    return address.removeprefix(_BASE).removesuffix(_SUFFIX).replace(".", "/", 1)
