"""``lora resolve``: which weights production uses, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]
Program = Literal["a1111", "comfyui", "diffusers", "mflux"]


@click.command()
@click.argument("lora", metavar="[ID]", required=False)
@click.option("--release", default="", metavar="ID", help="This release instead of the active.")
@click.option("--asset-type", default="", metavar="TYPE", help="All that go together for it.")
@click.option("--checkpoint", default="", metavar="ID", help="With --asset-type: base model used.")
@click.option(
    "--with", "loras", multiple=True, metavar="ID", help="With --asset-type: must be in it."
)
@click.option(
    "--for",
    "program",
    type=click.Choice(["a1111", "comfyui", "diffusers", "mflux"]),
    help="Print what this program is told, and no more.",
)
@scope_option
@shared_options
@click.pass_obj
def resolve(
    session: Session,
    lora: str | None,
    *,
    release: str,
    asset_type: str,
    checkpoint: str,
    loras: tuple[str, ...],
    program: Program | None,
    scope: ScopeName,
) -> None:
    """Say which weights production uses, and why.

    Computes the gate anew, from the bytes up: a release that does not pass today is not used.
    With --asset-type instead of an ID, all LoRAs that go together, by the project's policies.
    --for prints what a program is told: prompt tags for A1111 and Forge, nodes in ComfyUI's API
    format, lines of Python for diffusers, options for mflux. Exits with 1 when nothing can be used.

    \b
    lora resolve ui_icons --json
    lora resolve --asset-type ui_icon --for comfyui
    """
    from lora_pipeline.operations.releases.resolve import resolve_lora, resolve_stack

    if bool(lora) == bool(asset_type):
        raise click.UsageError("Give a LoRA, or --asset-type.")
    if lora:
        session.run(
            resolve_lora,
            _resolved,
            lora,
            release=release,
            program=program or "",
            project=session.project,
            scope=scope,
        )
    else:
        session.run(
            resolve_stack,
            _stacked,
            asset_type=asset_type,
            checkpoint=checkpoint,
            loras=loras,
            program=program or "",
            project=session.project,
        )


def _resolved(result: Result) -> Report:
    facts = result.data
    if not result.success:
        words = result.refusal.message if result.refusal else ""
        skipped = facts["explanation"]["skipped"]
        for one in skipped:  # its reason stands below
            words = words.removesuffix(f": {one['reason']}")
        return Report(f"refused · {words}", _skipped(skipped))
    if "usage" in facts:
        return Report(facts["usage"])
    return Report(f"{facts['loraId']} → {facts['releaseId']}", _use_rows(facts))


def _stacked(result: Result) -> Report:
    facts = result.data
    skipped = [("skipped", f"{one['loraId']}  {one['reason']}") for one in facts["skipped"]]
    if not result.success:
        words = result.refusal.message if result.refusal else ""
        return Report(f"refused · {words}", skipped)
    if "usage" in facts:
        return Report(facts["usage"])
    rows: list[tuple[str, str]] = []
    for one in facts["loras"]:
        rows.append(("", f"{one['loraId']} → {one['releaseId']}"))
        rows += _use_rows(one)
    headline = f"{counted(len(facts['loras']), 'LoRA')} for {facts['assetType']}"
    return Report(headline, rows + skipped)


def _use_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    why = facts["explanation"]
    since = f" since {why['since'][:10]}, by {why['by']}" if why["since"] else ""
    gate = "WITHOUT the gate" if why.get("emergency") else "the gate passes now"
    trigger = f"trigger {facts['triggerWord']}" if facts["triggerWord"] else "no trigger word"
    return [
        ("weights", facts["path"]),
        ("sha256", facts["sha256"]),
        ("use", f"{trigger} · strength {facts['strength']:g} · base {facts['checkpointId']}"),
        ("why", f"{why['chosen']}{since}; {gate}"),
        *_skipped(why["skipped"]),
    ]


def _skipped(skipped: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [("skipped", f"{one['releaseId']}  {one['reason']}") for one in skipped]
