"""Every operation by name: the one list that ``lora call``, REST and MCP are made from."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.root import Workspace


@dataclass(frozen=True)
class Operation:
    """One verb.

    Attributes:
        name: Dotted name, noun first.
        target: ``module:function`` below ``lora_pipeline.operations``.
        effect: Whether it writes.
        agents: False when only a person may do it (approve, promote, …).
    """

    name: str
    target: str
    effect: Literal["read", "write"]
    agents: bool = True

    def load(self) -> Callable[..., Result]:
        """Import and return the function."""
        module, _, function = self.target.partition(":")
        loaded: Callable[..., Result] = getattr(
            importlib.import_module(f"lora_pipeline.operations.{module}"), function
        )
        return loaded

    def summary(self) -> str:
        """Return the first line of its docstring."""
        return (inspect.getdoc(self.load()) or "").split("\n", 1)[0]

    def arguments(self) -> type[msgspec.Struct]:
        """Return the closed type of its arguments, made from its signature."""
        function = self.load()
        hints = get_type_hints(function)
        fields: list[Any] = []
        for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
            if parameter.default is inspect.Parameter.empty:
                fields.append((name, hints[name]))
            else:
                fields.append((name, hints[name], parameter.default))
        return msgspec.defstruct(
            "Arguments", fields, rename="camel", forbid_unknown_fields=True, kw_only=True
        )

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its arguments."""
        return msgspec.json.schema(self.arguments())


OPERATIONS: tuple[Operation, ...] = ()


def find_operation(name: str) -> Operation:
    """Return one operation.

    Raises:
        ArgumentInvalidError: When there is none of that name.
    """
    for operation in OPERATIONS:
        if operation.name == name:
            return operation
    near = did_you_mean(name, [operation.name for operation in OPERATIONS])
    raise ArgumentInvalidError(
        f"no operation {name!r}", hint=f"did you mean {near}?" if near else "lora call --list"
    )


def call_operation(workspace: Workspace, name: str, arguments: dict[str, Any]) -> Result:
    """Call an operation by name with JSON arguments.

    Raises:
        ArgumentInvalidError: When the name or an argument is wrong.
        PipelineError: As the operation does.
    """
    operation = find_operation(name)
    try:
        checked = msgspec.convert(arguments, operation.arguments())
    except msgspec.ValidationError as error:
        raise ArgumentInvalidError(f"{name}: {error}", hint=f"lora call {name} --schema") from error
    values = {field: getattr(checked, field) for field in checked.__struct_fields__}
    return operation.load()(workspace, **values)
