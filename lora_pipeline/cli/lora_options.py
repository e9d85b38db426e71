"""Options that all commands about LoRAs share."""

from __future__ import annotations

import click

from lora_pipeline.cli import options

scope_option = options.scope_option("baseline means the shared LoRAs only.")
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
