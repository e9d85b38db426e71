"""Options that all commands about LoRAs share."""

from __future__ import annotations

import click

scope_option = click.option(
    "--scope",
    type=click.Choice(["project", "baseline"]),
    default="project",
    show_default=True,
    help="baseline means the shared LoRAs only.",
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
