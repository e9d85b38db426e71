"""The root command: a table of nouns and verbs, each loaded when it is used."""

from __future__ import annotations

import importlib
import io
import sys
from dataclasses import dataclass

import click

from lora_pipeline import __version__
from lora_pipeline.cli.boundary import run_guarded
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.session import Session


@dataclass(frozen=True)
class Lazy:
    """A command that is imported when it is called, and its line in the help."""

    module: str
    attribute: str
    summary: str


# The order of the sections is the order of the work.
SECTIONS: dict[str, dict[str, Lazy]] = {
    "Workspace": {
        "init": Lazy("workspace", "init", "Make this folder a workspace"),
        "demo": Lazy("demo", "demo", "Run the whole pipeline on small art, for real"),
        "status": Lazy("workspace", "status", "Say where things stand and what comes next"),
        "validate": Lazy("validate", "validate", "Check every record and every active release"),
        "doctor": Lazy("workspace", "doctor", "Check this machine and this workspace"),
        "config": Lazy("workspace", "config", "Explain the settings in force"),
        "store": Lazy("store", "store", "Look after weights and evaluation images"),
        "rename": Lazy("rename", "rename", "Rename an id with every reference to it"),
        "migrate": Lazy("migrate", "migrate", "Bring records of older forms to the present one"),
        "backup": Lazy("backup", "backup", "Back up records, and bring them back"),
        "git": Lazy("git", "git", "Let Git show and merge records by their meaning"),
    },
    "Catalog": {
        "project": Lazy("project", "project", "Create and show projects"),
        "checkpoint": Lazy("checkpoint", "checkpoint", "Add and check base models"),
        "catalog": Lazy("catalog", "catalog", "Show and add asset types, styles and tags"),
        "spec": Lazy("spec", "spec", "Show and remove specs, the intent of assets"),
        "asset": Lazy("asset", "asset", "Import, approve and tag art"),
    },
    "Dataset": {
        "dataset": Lazy("dataset", "dataset", "Build, compare, verify and stage manifests"),
        "caption": Lazy("caption", "caption", "Check what training is told about images"),
    },
    "Training": {
        "preset": Lazy("preset", "preset", "Show named recipes"),
        "setup": Lazy("setup", "setup", "Install a trainer in its own environment"),
        "train": Lazy("train", "train", "Train a LoRA from a manifest"),
        "run": Lazy("run", "run", "Show, stop and take up training runs"),
        "worker": Lazy("worker", "worker", "Execute the runs that wait in the queue"),
        "weights": Lazy("weights", "weights", "Look into weight files"),
    },
    "LoRA": {
        "create": Lazy("lora", "create", "Create a LoRA"),
        "add-images": Lazy("lora_images", "add_images", "Add images to a LoRA's dataset"),
        "list": Lazy("lora", "list_loras", "List LoRAs"),
        "show": Lazy("lora", "show", "Show a LoRA, its releases and its history"),
        "activate": Lazy("lora", "activate", "Switch a LoRA on for use, with a strength"),
        "deactivate": Lazy("lora", "deactivate", "Switch a LoRA off for use"),
        "delete": Lazy("lora", "delete", "Delete a LoRA that nothing uses"),
        "resolve": Lazy("resolve", "resolve", "Say which weights production uses, and why"),
        "generate": Lazy("generate", "generate", "Draw a test scene with what production uses"),
        "advise": Lazy("advise", "advise", "Say what came and went since a LoRA was trained"),
        "hooks": Lazy("hooks", "hooks", "Tell others what production uses from now on"),
        "release": Lazy("release", "release", "Show, register and verify releases"),
    },
    "Evaluation": {
        "suite": Lazy("suite", "suite", "Show evaluation suites"),
        "eval": Lazy("evaluate", "evaluate", "Render grids, look at them, give a verdict"),
        "promote": Lazy("promote", "promote", "Make a release active, when the gate passes"),
        "rollback": Lazy("promote", "rollback", "Go back to an earlier approved release"),
    },
    "Pull requests": {
        "report": Lazy("report", "report", "Tell what changed between two commits"),
        "ci": Lazy("ci", "ci", "Let pull requests be checked"),
    },
    "Agents": {
        "call": Lazy("call", "call", "Call any operation by name, JSON in, JSON out"),
    },
}
COMMANDS = {name: lazy for section in SECTIONS.values() for name, lazy in section.items()}


class LazyGroup(click.Group):
    """A group that knows its commands by a table and imports them one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module = importlib.import_module(f"lora_pipeline.cli.{lazy.module}")
        command: click.Command = getattr(module, lazy.attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a name that is unknown is answered with the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from lora_pipeline.foundation.ids import did_you_mean

            near = did_you_mean(name, COMMANDS)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the help of all commands without importing one of them."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, lazy.summary) for name, lazy in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lora")
@shared_options
def root() -> None:
    """Train LoRAs on your own art: approved assets in, gated releases out.

    \b
    assets -> dataset manifest -> training run -> release -> evaluation -> gate -> active

    Start with `lora demo`, or with `lora init` in an empty folder.
    """


def main() -> None:
    """Run the command line and exit with its documented status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets its number instead of our failure.
            stream.reconfigure(errors="backslashreplace")
    session = Session()
    sys.exit(run_guarded(root, session, sys.argv[1:]))
