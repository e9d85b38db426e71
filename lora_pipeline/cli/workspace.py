"""Commands about the workspace as a whole: init, status, doctor, config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("folder", default=".", metavar="[DIR]")
@click.option("--no-git", is_flag=True, help="Make no Git repository.")
@click.option("--lfs", is_flag=True, help="Let Git LFS keep imported images.")
@click.option("--refresh-schemas", is_flag=True, help="Bring schemas/ to this version of lora.")
@writing_options
@click.pass_obj
def init(
    session: Session,
    folder: str,
    no_git: bool,
    lfs: bool,
    refresh_schemas: bool,
) -> None:
    """Make this folder a workspace.

    Writes settings, suites, gate policies, schemas for editors, .gitignore, .gitattributes, a
    Makefile and a README, and makes a Git repository where there is none that takes them. What is
    there already is kept as it is, so it can be run again at any time.

    Exits with 0, or with 3 when the folder lies inside another workspace.

    \b
    lora init studio-loras
    """
    from pathlib import Path

    from lora_pipeline.operations.workspace.workspace_init import init_workspace
    from lora_pipeline.workspace.root import open_workspace

    result = init_workspace(
        folder,
        use_git=not no_git,
        use_lfs=lfs,
        refresh_schemas=refresh_schemas,
        dry_run=session.dry_run,
    )
    workspace = open_workspace(Path(result.data["root"]), actor=session.actor)
    session.finish(workspace, result, _init_text)


def _init_text(result: Result) -> Report:
    rows = []
    if result.data["madeRepository"]:
        rows.append(("git", "a new repository, branch main"))
    if result.data["kept"]:
        rows.append(("kept", f"{counted(len(result.data['kept']), 'file')} as they were"))
    return Report(headline=f"{result.reasoning}  {result.data['root']}", rows=rows)


@click.command()
@click.argument("lora", required=False, metavar="[LORA]")
@scope_option
@shared_options
@click.pass_obj
def status(session: Session, lora: str | None, *, scope: Literal["project", "baseline"]) -> None:
    """Say where things stand and what comes next.

    Reads the records of all projects, or of the one that --project names; with the id of a LoRA
    what state that one is in (created, queued, training, interrupted, ready, failed), how far
    its run has come, and what to do next. Writes nothing. Exits with 0, also when a record
    cannot be read (it is named), with 3 when there is no such LoRA.

    \b
    lora status --project my_game
    lora status ui_icons
    """
    if lora is not None:
        from lora_pipeline.cli.run_report import stands
        from lora_pipeline.operations.releases.lora_status import show_lora_status

        session.run(show_lora_status, stands, lora, project=session.project, scope=scope)
        return
    from lora_pipeline.operations.workspace.workspace_status import show_status

    session.run(show_status, _status_text)


def _status_text(result: Result) -> Report:
    lines: list[str] = []
    for scope in result.data["scopes"]:
        lines += _scope_lines(scope)
    if not lines:
        return Report(headline="no project yet")
    return Report(headline=lines[0], lines=lines[1:])


def _scope_lines(scope: dict[str, Any]) -> list[str]:
    lines = [scope["project"] or "shared"]
    if scope["assets"]:
        states = " · ".join(f"{count} {state}" for state, count in scope["assets"].items())
        gone = f" · {scope['withdrawn']} withdrawn" if scope["withdrawn"] else ""
        lines.append(f"  assets     {states}{gone}")
    for one in scope["datasets"]:
        drift = " · ".join(f"{count} {reason}" for reason, count in one["drift"].items())
        lines.append(f"  dataset    {one['id']}  {counted(one['images'], 'image')}{_warned(drift)}")
    lines += [f"  lora       {_lora_words(one)}" for one in scope["loras"]]
    for one in scope["unfinishedRuns"]:
        done = f" · step {one['stepsDone']} of {one['stepsPlanned']}" if one["stepsPlanned"] else ""
        lines.append(f"  run        {one['id']}  {one['state']} since {one['startedAt']}{done}")
    lines += [f"  unreadable {one['message']}" for one in scope["unreadable"]]
    return lines


def _warned(drift: str) -> str:
    return f"  changed since: {drift}" if drift else ""


def _lora_words(lora: dict[str, Any]) -> str:
    active = f"active {lora['active']}" if lora["active"] else "nothing active"
    off = "" if lora["enabled"] else " · switched off"
    off += " · withdrawn images, not answered for" if lora["answersWanted"] else ""
    releases = " · ".join(f"{count} {state}" for state, count in lora["releases"].items())
    return f"{lora['id']}  {active}{off}  {releases}".rstrip()


@click.group()
def config() -> None:
    """Explain the settings in force."""


@config.command()
@click.argument("key", required=False)
@shared_options
@click.pass_obj
def explain(session: Session, key: str | None) -> None:
    """Show every setting, its value, and its source.

    The order, strongest first: a flag of the command, environment variable, config/local.json,
    config/pipeline.yaml, default. Reads only. Exits with 0, with 3 when there is no such
    setting.

    \b
    lora config explain trainers
    """
    from lora_pipeline.operations.workspace.config_explain import explain_config

    session.run(explain_config, _config_text, key)


def _config_text(result: Result) -> Report:
    settings = result.data["settings"]
    if len(settings) == 1:
        return _one_setting(settings[0])
    rows = [(one["key"], _value(one["value"]), one["source"]) for one in settings]
    return Report(
        headline=result.reasoning, tables=[Table(columns=("setting", "value", "from"), rows=rows)]
    )


def _one_setting(setting: dict[str, Any]) -> Report:
    places = [*([setting["variable"]] if setting["variable"] else []), *setting["files"]]
    return Report(
        headline=f"{setting['key']} = {_value(setting['value'])}",
        rows=[
            ("what", setting["summary"]),
            ("from", setting["source"]),
            ("default", _value(setting["default"])),
            ("set it in", " or ".join(places)),
        ],
    )


def _value(value: object) -> str:
    return "not set" if value is None else str(value)


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can be mended without asking.")
@click.option(
    "--bundle", default="", metavar="FILE", help="Write a report without names and secrets."
)
@writing_options
@click.pass_obj
def doctor(session: Session, fix: bool, bundle: str) -> None:
    """Check this machine and this workspace.

    Looks at Python, Git, disks, the store, locks, what was interrupted, the form of records,
    base models, what production uses, trainers with their own environments, renderers and
    packages that are known to be bad. Reads no weights, and writes nothing without --fix but a
    probe in the store that is gone at once. Works outside a workspace too.

    --fix finishes what was interrupted half-way, removes what interrupted writes left, and
    brings schemas/, .gitignore and .gitattributes up to date.

    Exits with 0, with 1 when something fails.

    \b
    lora doctor --fix
    """
    from lora_pipeline.foundation.errors import SettingsError, WorkspaceNotFoundError
    from lora_pipeline.operations.workspace import doctor as operations

    try:
        if bundle:
            session.run(operations.write_bundle, _bundle_text, bundle)
        elif fix:
            session.run(operations.mend_workspace, _doctor_text)
        else:
            session.run(operations.check_health, _doctor_text)
    except (SettingsError, WorkspaceNotFoundError) as error:
        session.show(operations.check_machine(error), _doctor_text)


def _bundle_text(result: Result) -> Report:
    counts = result.data["counts"]
    words = ", ".join(f"{count} {state}" for state, count in counts.items())
    return Report(result.reasoning, [("checks", words), ("file", result.data["bundle"])])


def _doctor_text(result: Result) -> Report:
    checks = result.data["checks"]
    width = max(len(check["name"]) for check in checks) + 2
    rows = []
    for check in checks:
        words = f"{check['name']:{width}}{check['message']}"
        if check["fix"] and check["state"] != "ok":
            words += f"\n{'':{width}}{check['fix']}"
        rows.append((check["state"], words))
    rows += [
        ("would mend" if result.dry_run else "mended", f"{one['name']:{width}}{one['was']}")
        for one in result.data.get("mended", ())
    ]
    headline = result.refusal.message if result.refusal else result.reasoning
    return Report(headline=headline, rows=rows)
