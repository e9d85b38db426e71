"""Write docs/commands.md, docs/records.md and the README's command list from the program itself.

With ``--check`` nothing is written, and the exit code is 1 when a file is not up to date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from lora_pipeline.cli.main import COMMANDS, SECTIONS, root
from lora_pipeline.foundation.schemas import load_schema, schema_names
from lora_pipeline.operations.registry import OPERATIONS
from lora_pipeline.workspace.layout import FOLDERS, SINGLES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "commands.md"
RECORDS = ROOT / "docs" / "records.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- commands: made by make docs -->\n", "<!-- end of commands -->\n"


def main() -> None:
    """Write, or check, both files."""
    wanted = {
        REFERENCE: reference(),
        RECORDS: records(),
        README: readme(README.read_text(encoding="utf-8")),
    }
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        if stale:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"{names} does not agree with the program: make docs")
        return
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")


def reference() -> str:
    """Return the reference of every command and every operation."""
    parts = [
        "# Commands\n",
        "Made from the program by `make docs`. Every command also takes `--workspace`,",
        "`--project`, `--as`, `--json`, `--quiet` and `--verbose`; every writing command also",
        "`--dry-run` and `--commit`.\n",
    ]
    context = click.Context(root, info_name="lora")
    for name in COMMANDS:
        command = root.get_command(context, name)
        if command is None:
            raise SystemExit(f"no command {name}")
        parts += [_section(path, one) for path, one in _walk(name, command)]
    parts += [
        "## Operations\n",
        "What `lora call NAME '{…}'` takes; agents and web pages call the same.\n",
    ]
    parts += ["| operation | writes | agents | summary |", "|---|---|---|---|"]
    for one in OPERATIONS:
        writes = "yes" if one.effect == "write" else ""
        agents = "yes" if one.agents else "people only"
        parts.append(f"| `{one.name}` | {writes} | {agents} | {one.summary()} |")
    return "\n".join(parts) + "\n"


def records() -> str:
    """Return the page of all records, from their schemas."""
    parts = [
        "# Records\n",
        "Made from `schemas/` by `make docs`. Fields marked * are required. Records stand below",
        "`data/shared/` (scope `baseline`) or `data/projects/<projectId>/` (scope `project`).\n",
    ]
    for name in schema_names():
        schema = load_schema(name)
        kind = name.partition("/")[0]
        if kind == "common":
            continue
        place = f"`{FOLDERS[kind]}/<id>.json`" if kind in FOLDERS else ""
        place = f"`{SINGLES[kind]}`" if kind in SINGLES else place
        parts += [
            f"## {kind}\n",
            " ".join(filter(None, [schema.get("description", ""), place])),
            "",
        ]
        parts += ["| field | type | meaning |", "|---|---|---|", *_fields(schema, ""), ""]
    return "\n".join(parts) + "\n"


def _fields(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        star = "*" if name in required else ""
        words = field.get("description", "").replace("|", "\\|")
        yield f"| `{prefix}{name}`{star} | {_type_of(field)} | {words} |"
        if field.get("properties"):
            yield from _fields(field, f"{prefix}{name}.")
        elif field.get("items", {}).get("properties"):
            yield from _fields(field["items"], f"{prefix}{name}[].")


def _type_of(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " · ".join(f"`{word}`" for word in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    kind = str(field.get("type", ""))
    return f"list of {_type_of(field.get('items', {}))}" if kind == "array" else kind


def readme(text: str) -> str:
    """Return the README with its list of commands made anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    rows = []
    for section, commands in SECTIONS.items():
        words = " · ".join(_listed(name) for name in commands)
        rows.append(f"| {section} | {words} |")
    table = "\n".join(["| area | commands |", "|---|---|", *rows])
    return f"{head}{BEGIN}{table}\n{END}{tail}"


def _listed(name: str) -> str:
    command = root.get_command(click.Context(root), name)
    if isinstance(command, click.Group):
        return f"`{name} {'/'.join(command.commands)}`"
    return f"`{name}`"


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from _walk(f"{path} {name}", one)
    else:
        yield path, command


def _help_text(command: click.Command) -> str:
    """Return the help as Markdown: what click is told not to wrap becomes a code block."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        indent(one.removeprefix("\b\n"), "    ") if one.startswith("\b\n") else one
        for one in paragraphs
    )


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"lora {path}")
    shared = {"workspace", "project", "as", "json", "quiet", "verbose", "dry-run", "commit", "help"}
    lines = [
        f"## lora {path}\n",
        "```",
        command.get_usage(context).removeprefix("Usage: "),
        "```\n",
    ]
    lines += [_help_text(command), ""]
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        name = max(parameter.opts, key=len).removeprefix("--")
        if record and name not in shared:
            rows.append(f"| `{record[0].replace('|', '/')}` | {record[1].replace('|', '/')} |")
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
