"""lora call: any operation by name, JSON in, JSON out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, Table, print_json
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result
    from lora_pipeline.workspace.root import Workspace


@click.command()
@click.argument("operation", required=False)
@click.argument("arguments", required=False, metavar="['{JSON}' | -]")
@click.option("--list", "lists", is_flag=True, help="List all operations.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of its arguments.")
@writing_options
@click.pass_obj
def call(
    session: Session, operation: str | None, arguments: str | None, lists: bool, schema: bool
) -> None:
    """Call any operation by name.

    Arguments are one JSON object, given as a word or, with -, on standard input; left out they
    are {}. The answer is always one JSON document. Exits as the operation's own command does.

    \b
    lora call asset.list '{"status": "review"}'
    lora call --list
    """
    if lists:
        session.show(_list(), _list_text)
        return
    if operation is None:
        raise click.UsageError("name an operation, or see lora call --list")
    if schema:
        _print_schema(operation)
        return
    session.json = True  # also for the errors from here on
    values = _values(arguments)
    session.run(_called(operation), _never, values)


def _list() -> Result:
    from lora_pipeline.foundation.result import Result
    from lora_pipeline.operations.registry import OPERATIONS

    return Result(
        data={
            "operations": [
                {
                    "name": one.name,
                    "effect": one.effect,
                    "agents": one.agents,
                    "summary": one.summary(),
                }
                for one in OPERATIONS
            ]
        },
        reasoning=f"{len(OPERATIONS)} operations",
    )


def _list_text(result: Result) -> Report:
    rows = [
        (one["name"], one["effect"], "" if one["agents"] else "people only", one["summary"])
        for one in result.data["operations"]
    ]
    return Report(
        headline=result.reasoning, tables=[Table(columns=("name", "", "", "what"), rows=rows)]
    )


def _print_schema(operation: str) -> None:
    from lora_pipeline.operations.registry import find_operation

    print_json(find_operation(operation).schema())


def _values(arguments: str | None) -> dict[str, Any]:
    from lora_pipeline.foundation import strict_json
    from lora_pipeline.foundation.errors import ArgumentInvalidError, JsonInvalidError

    if arguments is None:
        return {}
    data = sys.stdin.buffer.read() if arguments == "-" else arguments.encode("utf-8", "replace")
    try:
        values = strict_json.loads(data, "the argument")
    except JsonInvalidError as error:
        error.hint = """lora call OPERATION '{"key": "value"}'; --schema says which keys"""
        raise
    if not isinstance(values, dict):
        raise ArgumentInvalidError('the arguments must be one JSON object, such as {"id": "x"}')
    return values


def _called(operation: str) -> Any:
    def run(workspace: Workspace, values: dict[str, Any]) -> Result:
        from lora_pipeline.operations.registry import call_operation

        return call_operation(workspace, operation, values)

    return run


def _never(result: Result) -> Report:
    raise AssertionError(f"a call answers in JSON only: {result.reasoning}")
