"""The house stands as it was drawn: small modules, imports downwards, faces that explain."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lora_pipeline.cli.main import COMMANDS, root
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.registry import OPERATIONS, Operation

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "lora_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_NAMES = ("utils", "util", "helpers", "helper", "common", "misc", "manager", "handler")
MAX_LINES = 400


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


# --- modules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of
)
def test_a_package_is_a_docstring_and_nothing_else(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    docstring, *rest = body

    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    if path.parent == PACKAGE:
        assert [ast.unparse(one).partition(" ")[0] for one in rest] == ["__version__"]
    else:
        assert rest == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_one_thing(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_named_after_what_it_is(path: Path) -> None:
    for part in [*path.relative_to(PACKAGE).parent.parts, path.stem]:
        for forbidden in FORBIDDEN_NAMES:
            assert part != forbidden
            assert not part.endswith(f"_{forbidden}")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_median_module_is_short() -> None:
    sizes = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES)

    assert sizes[len(sizes) // 2] <= 150


def test_imports_point_downwards() -> None:
    program = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run(
        [program, "--no-cache"], cwd=REPOSITORY, capture_output=True, check=False, encoding="utf-8"
    )

    assert done.returncode == 0, done.stdout


def test_nothing_runs_a_shell_or_evaluates_data() -> None:
    forbidden = {"eval", "exec", "__import__"}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert not (isinstance(node.func, ast.Name) and node.func.id in forbidden), path
                shell = [one for one in node.keywords if one.arg == "shell"]
                assert not shell, path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                assert not names & {"pickle", "marshal", "shelve", "dill"}, path


# --- operations --------------------------------------------------------------------------------

JSON_KINDS = {"str", "int", "float", "bool", "None", "tuple", "dict", "list"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_an_operation_is_a_documented_function_that_returns_a_result(
    operation: Operation,
) -> None:
    function = operation.load()

    assert inspect.getdoc(function)
    assert operation.summary().endswith((".", "?"))
    assert inspect.get_annotations(function, eval_str=True)["return"] is Result
    first = next(iter(inspect.signature(function).parameters))
    assert first == "workspace"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_the_arguments_of_an_operation_are_json(operation: Operation) -> None:
    schema = operation.schema()

    assert "$defs" in schema
    assert operation.arguments().__struct_config__.forbid_unknown_fields


def test_the_operations_are_named_once_noun_first() -> None:
    names = [operation.name for operation in OPERATIONS]

    assert names
    assert len(set(names)) == len(names)
    assert all(name.count(".") == 1 for name in names)
    assert len({operation.target for operation in OPERATIONS}) == len(names)


def test_what_only_a_person_may_decide_is_not_for_agents() -> None:
    verbs = {
        "approve", "reject", "deprecate", "withdraw", "promote", "rollback", "review", "delete",
        "activate", "deactivate", "gc", "answer", "rights",
    }  # fmt: skip
    for operation in OPERATIONS:
        if operation.name.partition(".")[2] in verbs:
            assert not operation.agents, operation.name


# --- commands ----------------------------------------------------------------------------------

COMMON = {"--json", "--quiet", "--verbose", "--workspace", "--project", "--as"}


def commands(group: click.Group, path: str = "lora") -> Iterator[tuple[str, click.Command]]:
    """Yield every command below a group with its path, groups themselves as well."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


EVERY = list(commands(root))
LEAVES = [(path, command) for path, command in EVERY if not isinstance(command, click.Group)]


def options(command: click.Command) -> dict[str, click.Option]:
    return {
        name: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
    }


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_a_command_says_in_one_line_what_it_does(path: str, command: click.Command) -> None:
    first = (command.help or "").strip().splitlines()[0]

    assert first, path
    assert len(first) < 60, f"{path}: {first}"
    assert first.endswith((".", "?")) or isinstance(command, click.Group)
    assert command.get_short_help_str(80) != "…"


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[path for path, _ in LEAVES])
def test_a_command_explains_itself_with_an_example(path: str, command: click.Command) -> None:
    text = inspect.cleandoc(command.help or "")

    assert path in text, f"{path} has no example of itself"
    with click.Context(command, info_name=path) as context:
        assert command.get_help(context)


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[path for path, _ in LEAVES])
def test_a_command_has_the_options_that_all_have(path: str, command: click.Command) -> None:
    assert set(options(command)) >= COMMON
    if "--dry-run" in options(command):
        assert "--commit" in options(command)
    for option in options(command).values():
        assert option.help or option.hidden, f"{path} {option.opts}"


def test_an_option_means_the_same_on_every_command() -> None:
    flags: dict[str, set[bool]] = {}
    for _, command in LEAVES:
        for name, option in options(command).items():
            if name.startswith("--"):
                flags.setdefault(name, set()).add(bool(option.is_flag))

    # `dataset build --explain` explains all that was left out, `dataset show` one image.
    assert [name for name, kinds in flags.items() if len(kinds) > 1] == ["--explain"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_overview_is_short(name: str) -> None:
    assert len(COMMANDS[name].summary) < 60


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_an_operation_is_named_after_its_command(operation: Operation) -> None:
    noun, _, verb = operation.name.partition(".")
    words = set(verb.split("-"))

    # `lora.add-approved-images` is `lora add-images`, in one of its forms.
    assert noun in COMMANDS or any(set(name.split("-")) <= words for name in COMMANDS)
