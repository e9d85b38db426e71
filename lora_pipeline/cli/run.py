"""``lora run``: training runs and their logs."""

from __future__ import annotations

from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]
StateName = Literal["training", "interrupted", "ready", "failed", "cancelled"]


@click.group()
def run() -> None:
    """Show training runs and their logs.

    A run is one execution of a plan; it is kept also when it failed. RUN is its id, or the
    beginning or end of it.
    """


@run.command("list")
@click.option("--lora", default="", metavar="ID", help="Only those of this LoRA.")
@click.option(
    "--state",
    type=click.Choice(["training", "interrupted", "ready", "failed", "cancelled"]),
    help="Only those in this state.",
)
@scope_option
@shared_options
@click.pass_obj
def list_all(session: Session, lora: str, *, state: StateName | None, scope: ScopeName) -> None:
    r"""List training runs, newest first.

    A run whose process was killed on this machine is shown as interrupted.

    \b
    lora run list --lora ui_icons --state failed
    """
    from lora_pipeline.operations.run import list_runs

    session.run(
        list_runs, _listed, lora=lora, state=state or "", project=session.project, scope=scope
    )


@run.command()
@click.argument("run_id", metavar="RUN")
@scope_option
@shared_options
@click.pass_obj
def show(session: Session, run_id: str, *, scope: ScopeName) -> None:
    r"""Show a run, its recipe and what it came to.

    \b
    lora run show 01KAYX3M8Q4Z6V0N5T2R7C9HJD
    """
    from lora_pipeline.operations.run import show_run

    session.run(show_run, _shown, run_id, project=session.project, scope=scope)


@run.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--lines", type=click.IntRange(min=0), default=200, show_default=True,
    help="How many lines from the end; 0 for all.",
)  # fmt: skip
@scope_option
@shared_options
@click.pass_obj
def log(session: Session, run_id: str, *, lines: int, scope: ScopeName) -> None:
    r"""Print what the trainer of a run printed.

    Reads .lora/runs/RUN/log.txt, which is on the machine that ran it, without secrets.

    \b
    lora run log 01KAYX3M8Q4Z6V0N5T2R7C9HJD --lines 50
    """
    from lora_pipeline.operations.run import read_run_log

    session.run(read_run_log, _logged, run_id, lines=lines, project=session.project, scope=scope)


@run.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--no-job", is_flag=True,
    help="You looked at the service, and it has no job of this run.",
)  # fmt: skip
@scope_option
@writing_options
@click.pass_obj
def cancel(session: Session, run_id: str, *, no_job: bool, scope: ScopeName) -> None:
    r"""Stop a run, or give up one that was killed.

    A run that is under way on this machine is asked to stop and records itself as cancelled.
    One whose job runs elsewhere is given up only after its job was stopped. Writes the run's
    record when its process is gone.

    \b
    lora run cancel 01KAYX3M8Q4Z6V0N5T2R7C9HJD
    """
    from lora_pipeline.operations.run import cancel_run

    session.run(cancel_run, _said, run_id, no_job=no_job, project=session.project, scope=scope)


@run.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--job", default="", metavar="ID",
    help="Its job at the service, which you found there.",
)  # fmt: skip
@scope_option
@writing_options
@click.pass_obj
def resume(session: Session, run_id: str, *, job: str, scope: ScopeName) -> None:
    r"""Complete a run that was killed.

    A run whose weights were verified before it was killed gets its release; one whose job runs
    elsewhere is followed again and never sent twice; any other is recorded as failed and
    trained anew with the same recipe.

    \b
    lora run resume 01KAYX3M8Q4Z6V0N5T2R7C9HJD
    """
    from lora_pipeline.operations.run import resume_run

    session.run(resume_run, _resumed, run_id, job=job, project=session.project, scope=scope)


def _listed(result: Result) -> Report:
    rows = result.data["runs"]
    if not rows:
        return Report("no runs")
    costs = result.data["costs"]
    head = ("run", "lora", "release", "state", "steps", "loss", "took", "by", "started")
    table = Table(
        (*head, "cost") if costs else head,
        [(*_line(row), _cost(row["cost"])) if costs else _line(row) for row in rows],
    )
    totals = [("cost", _total(one)) for one in costs]
    return Report(counted(len(rows), "run"), totals, tables=[table])


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    state = f"{row['state']} ({row['error']})" if row["error"] else row["state"]
    return (
        row["runId"],
        row["loraId"],
        row["releaseId"],
        state,
        f"{row['stepsDone']}/{row['stepsPlanned']}",
        _loss(row["finalLoss"]),
        _took(row["seconds"]),
        row["requestedBy"],
        row["createdAt"],
    )


def _shown(result: Result) -> Report:
    data, record = result.data, result.data["run"]
    rows = [
        ("lora", f"{data['loraId']} {data['releaseId']}"),
        ("trainer", _trainer(data["trainer"], record.get("trainerVersion", ""))),
        ("dataset", f"{data['datasetId']}  {record['manifestHash'][:19]}…"),
        ("base", f"{record['checkpointId']}  {record['checkpointDigest'][:19]}…"),
        ("steps", f"{data['stepsDone']} of {data['stepsPlanned']}{_with_loss(data)}"),
        ("time", f"{record.get('startedAt', '')}  {_took(data['seconds'])}".rstrip()),
    ]
    if data["cost"]:
        rows.append(("cost", _cost_told(record["cost"])))
    if record.get("externalJobId"):
        rows.append(("job", record["externalJobId"]))
    if data["requestedBy"]:
        rows.append(("by", data["requestedBy"]))
    error = record.get("error")
    if error:
        rows.append(("error", f"{error['message']}  [{error['code']}]"))
        if error.get("hint"):
            rows.append(("advice", error["hint"]))
    rows += [("weights", _output(one)) for one in record.get("outputs", [])]
    rows += [("warning", one) for one in record.get("warnings", [])]
    rows.append(("recipe", _recipe(record["recipe"])))
    if data["folder"]:
        rows.append(("folder", data["folder"]))
    return Report(f"run {data['runId']} · {data['state']}", rows)


def _logged(result: Result) -> Report:
    data = result.data
    shown, every = len(data["lines"]), data["linesInAll"]
    more = f", the last {shown} of {every} lines" if shown < every else ""
    return Report(f"{data['path']}{more}", lines=[f"  {line}" for line in data["lines"]])


def _said(result: Result) -> Report:
    return Report(f"run {result.data['runId']} · {result.data['state']}")


def _resumed(result: Result) -> Report:
    from lora_pipeline.cli.train_report import trained

    if "recipe" in result.data:
        return trained(result)
    data = result.data
    return Report(f"{data['loraId']} {data['releaseId']} · a candidate, from run {data['runId']}")


def _recipe(recipe: dict[str, Any]) -> str:
    told = [f"{name} {value}" for name, value in recipe.items() if value not in (None, [], False)]
    lines = [" · ".join(told[start : start + 6]) for start in range(0, len(told), 6)]
    return "\n".join(lines)


def _output(one: dict[str, Any]) -> str:
    step = f"  step {one['step']}" if one.get("step") is not None else "  final"
    return f"sha256:{one['sha256'][:12]}{step}  {one['name']}"


def _cost(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return ""
    return f"{'' if cost['known'] else '≈ '}{cost['amount']:.2f} {cost['currency']}"


def _total(one: dict[str, Any]) -> str:
    words = f"{one['paid']:.2f} {one['currency']} paid"
    if one["open"]:
        words += f", {one['open']:.2f} {one['currency']} estimated of runs not settled yet"
    return words


def _cost_told(cost: dict[str, Any]) -> str:
    unit = cost.get("currency", "USD")
    lines = [f"{cost.get('estimate', 0):.2f} {unit} estimated  {cost.get('estimateBasis', '')}"]
    if "actual" in cost:
        lines.insert(0, f"{cost['actual']:.2f} {unit} paid  {cost.get('actualBasis', '')}")
    return "\n".join(line.rstrip() for line in lines)


def _trainer(name: str, version: str) -> str:
    return version if version.startswith(name) else f"{name}  {version}".rstrip()


def _with_loss(data: Any) -> str:
    return f", loss {_loss(data['finalLoss'])}" if data["finalLoss"] is not None else ""


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _took(seconds: float) -> str:
    from lora_pipeline.cli.train_report import duration

    return duration(seconds) if seconds else ""
