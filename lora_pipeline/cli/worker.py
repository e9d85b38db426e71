"""``lora worker``: execute the runs that wait."""

from __future__ import annotations

import click

from lora_pipeline.cli.options import words, writing_options
from lora_pipeline.cli.session import Session


@click.command()
@click.option("--once", is_flag=True, help="End after one run, or when none is due.")
@click.option("--drain", is_flag=True, help="End when nothing waits any more.")
@click.option(
    "--per-gpu", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="How many runs share a GPU, or the processor.",
)  # fmt: skip
@words("--gpu", "gpus", "ID", "GPU to use, by number or UUID; else all that are visible.")
@writing_options
@click.pass_obj
def worker(
    session: Session, *, once: bool, drain: bool, per_gpu: int, gpus: tuple[str, ...]
) -> None:
    """Execute the runs that wait in the queue.

    Takes the runs that lora train --detach put into this machine's queue, oldest first, and
    tries each in a process of its own. A run that fails in a way that may pass (a lost
    connection, a GPU that fell away, a killed process) is tried again up to three times, later
    each time. Several workers share one queue and the places of its GPUs.

    Prints one JSON object on a line for everything that happens. Ctrl-C ends it after the runs
    under way; a second Ctrl-C, or SIGTERM, stops those and puts them back into the queue.
    Killed, it loses nothing: the next worker goes on.

    Writes the records of runs and LoRAs, and weights into the store. With --commit they are
    committed when it ends. Exits with 0, with 1 when --once or --drain saw a run fail.

    \b
    lora worker
    lora worker --drain --per-gpu 2 --gpu 0,1
    """
    if once and drain:
        raise click.UsageError("--once and --drain exclude each other.")
    from lora_pipeline.cli.stream import JsonLines, run_streaming
    from lora_pipeline.operations.training.run_worker import work_queue

    run_streaming(
        session, JsonLines(), None, work_queue,
        once=once, drain=drain, per_gpu=per_gpu, gpus=gpus,
    )  # fmt: skip
