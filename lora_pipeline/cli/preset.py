"""``lora preset``: named recipes."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.group()
def preset() -> None:
    """Show named recipes.

    A preset stands in config/presets/ID.yaml; the workspace's own wins over the shipped one.
    """


@preset.command("list")
@click.option("--architecture", default="", metavar="NAME", help="Only those for it.")
@shared_options
@click.pass_obj
def list_all(session: Session, *, architecture: str) -> None:
    """List the named recipes.

    \b
    lora preset list --architecture sdxl
    """
    from lora_pipeline.operations.training.preset import list_presets

    session.run(list_presets, _listed, architecture=architecture)


@preset.command()
@click.argument("preset_id", metavar="[PRESET]", default="")
@shared_options
@click.pass_obj
def show(session: Session, preset_id: str) -> None:
    """Show a recipe with the reasons for its numbers.

    Without PRESET: every setting there is, with its default.

    \b
    lora preset show icons-sdxl
    """
    from lora_pipeline.operations.training.preset import show_preset

    session.run(show_preset, _shown, preset_id)


def _listed(result: Result) -> Report:
    rows = result.data["presets"]
    table = Table(
        ("preset", "for", "asset types", "what it is for"),
        [
            (
                row["presetId"],
                ", ".join(row["architectures"]) or "any",
                ", ".join(row["assetTypes"]) or "any",
                row["summary"],
            )
            for row in rows
        ],
    )
    return Report(counted(len(rows), "preset"), tables=[table] if rows else [])


def _shown(result: Result) -> Report:
    data = result.data
    settings = data["settings"]
    rows = [("from", data["source"])] if data["presetId"] else []
    if data["architectures"]:
        rows.append(("for", ", ".join(data["architectures"])))
    chosen = [one for one in settings if one["set"]] if data["presetId"] else settings
    table = Table(
        ("setting", "value", "why" if data["presetId"] else "what it is"),
        [(one["name"], _value(one["value"]), one["reason"] or one["summary"]) for one in chosen],
    )
    rest = len(settings) - len(chosen)
    lines = [f"  {rest} more settings have their defaults (lora preset show)"] if rest else []
    title = data["presetId"] or "settings"
    return Report(f"{title} · {data['summary']}", rows, [table], lines)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, list) else str(value)
