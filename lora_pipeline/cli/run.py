"""``lora run``: training runs and their logs."""

from __future__ import annotations

from typing import Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.session import Session

ScopeName = Literal["project", "baseline"]
STATES = ("created", "queued", "training", "interrupted", "ready", "failed", "cancelled")
StateName = Literal["created", "queued", "training", "interrupted", "ready", "failed", "cancelled"]


@click.group()
def run() -> None:
    """Show, stop and take up training runs.

    A run is one execution of a plan; it is kept also when it failed. RUN is its id, or the
    beginning or end of it.
    """


@run.command("list")
@click.option("--lora", default="", metavar="ID", help="Only those of this LoRA.")
@click.option(
    "--state",
    type=click.Choice(STATES),
    help="Only those in this state.",
)
@scope_option
@shared_options
@click.pass_obj
def list_all(session: Session, lora: str, *, state: StateName | None, scope: ScopeName) -> None:
    """List training runs, newest first.

    A run whose process was killed on this machine is shown as interrupted.

    \b
    lora run list --lora ui_icons --state failed
    """
    from lora_pipeline.cli.run_report import listed
    from lora_pipeline.operations.training.run_views import list_runs

    session.run(
        list_runs, listed, lora=lora, state=state or "", project=session.project, scope=scope
    )


@run.command()
@click.argument("run_id", metavar="RUN")
@scope_option
@shared_options
@click.pass_obj
def show(session: Session, run_id: str, *, scope: ScopeName) -> None:
    """Show a run, its recipe and what it came to.

    \b
    lora run show 01KAYX3M8Q4Z6V0N5T2R7C9HJD
    """
    from lora_pipeline.cli.run_report import shown
    from lora_pipeline.operations.training.run_views import show_run

    session.run(show_run, shown, run_id, project=session.project, scope=scope)


@run.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--lines", type=click.IntRange(min=0), default=200, show_default=True,
    help="How many lines from the end; 0 for all.",
)  # fmt: skip
@click.option("--follow", "-f", is_flag=True, help="Go on until the run is at its end.")
@click.option("--events", is_flag=True, help="What happened, as JSON objects, one on a line.")
@scope_option
@shared_options
@click.pass_obj
def log(
    session: Session, run_id: str, *, lines: int, follow: bool, events: bool, scope: ScopeName
) -> None:
    """Print what the trainer of a run printed.

    Reads .lora/runs/RUN/log.txt, which is on the machine that ran it, bounded and without
    secrets; with --events the events.jsonl beside it. --follow prints new lines as they come,
    also of a run that still waits; with --json every line is a JSON object, the last one the
    answer.

    \b
    lora run log 01KAYX3M8Q4Z6V0N5T2R7C9HJD --lines 50
    lora run log 7C9HJD --follow
    """
    from lora_pipeline.operations.training.run_reading import follow_run, read_run_log

    if follow:
        from lora_pipeline.cli.run_report import said
        from lora_pipeline.cli.stream import JsonLines, StoredLines, TextLines, run_streaming

        sink = StoredLines() if events else JsonLines() if session.json else TextLines()
        run_streaming(
            session, sink, said, follow_run, run_id,
            lines=lines, events=events, project=session.project, scope=scope,
        )  # fmt: skip
        return
    from lora_pipeline.cli.run_report import logged

    session.run(
        read_run_log, logged, run_id,
        lines=lines, events=events, project=session.project, scope=scope,
    )  # fmt: skip


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
    """Stop a run, or give up one that waits or was killed.

    A run that waits is taken out of the queue. One that is under way on this machine is stopped
    with everything that its trainer started; the command waits until that is done.
    One whose job runs elsewhere is given up only after its job was stopped. Writes the run's
    record.

    \b
    lora run cancel 01KAYX3M8Q4Z6V0N5T2R7C9HJD
    """
    from lora_pipeline.cli.run_report import said
    from lora_pipeline.operations.training.run_cancel import cancel_run

    session.run(cancel_run, said, run_id, no_job=no_job, project=session.project, scope=scope)


@run.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--job", default="", metavar="ID",
    help="Its job at the service, which you found there.",
)  # fmt: skip
@click.option("--detach", is_flag=True, help="Put it into the queue; lora worker executes it.")
@click.option(
    "--skip-preflight", is_flag=True, help="Start although disk, memory or GPU look too small."
)
@scope_option
@writing_options
@click.pass_obj
def resume(
    session: Session,
    run_id: str,
    *,
    job: str,
    detach: bool,
    skip_preflight: bool,
    scope: ScopeName,
) -> None:
    """Complete a run that was killed, or try one again.

    A run whose weights were verified before it was killed gets its release; one whose job runs
    elsewhere is followed again and never sent twice; one of the queue goes back into it; any
    other is recorded as failed and trained anew with the same recipe.

    With --detach a run that failed or was cancelled is put into the queue again, with new
    tries; its record goes on.

    \b
    lora run resume 01KAYX3M8Q4Z6V0N5T2R7C9HJD
    lora run resume 7C9HJD --detach
    """
    from lora_pipeline.cli.run_report import resumed
    from lora_pipeline.operations.training.run_resume import resume_run

    session.run(
        resume_run, resumed, run_id,
        job=job, detach=detach, skip_preflight=skip_preflight,
        project=session.project, scope=scope,
    )  # fmt: skip
