"""``lora dataset impact``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_SHOWN = 12


@click.command()
@click.argument("assets", nargs=-1, metavar="[ASSET]...")
@click.option("--withdrawn", is_flag=True, help="All that were withdrawn or whose licence ended.")
@shared_options
@click.pass_obj
def impact(session: Session, /, *, assets: tuple[str, ...], withdrawn: bool) -> None:
    """Show what assets are part of, up to active LoRAs.

    Reads every manifest, LoRA and run of every scope. A release is judged by the manifest that
    it was trained on; one that was rebuilt since is looked for in the Git history, and what
    cannot be found is said. Also finds assets with the same image, and copies in stagings.
    Writes nothing. Exits with 0, with 3 when an asset is nowhere.

    \b
    lora dataset impact 4TQW8Z 9KD2MM
    lora dataset impact --withdrawn
    """
    from lora_pipeline.operations.datasets.dataset_impact import show_impact

    session.run(show_impact, shown, assets, withdrawn=withdrawn, project=session.project)


def shown(result: Result) -> Report:
    """Say what some assets are part of."""
    data = result.data
    if not data["assets"]:
        return Report(result.reasoning)
    return Report(result.reasoning, impact_rows(data))


def impact_rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the labelled lines of an impact."""
    still = set(data.get("notWithdrawn", ()))
    rows = [("in use", _release(one, still)) for one in data["releases"] if one["active"]]
    rows += [("training", _run(one)) for one in data["runs"]]
    rows += [("release", _release(one, still)) for one in data["releases"] if not one["active"]]
    rows += [("manifest", _manifest(one)) for one in data["manifests"]]
    rows += [("same image", _twin(one)) for one in data["sameImage"]]
    rows += [("copies", folder) for folder in data["copies"]]
    rows += [("not found", _unknown(one)) for one in data["notFound"]]
    if len(rows) > _SHOWN:
        return [*rows[:_SHOWN], ("", f"… and {len(rows) - _SHOWN} more (--json lists all)")]
    return rows


def _release(one: dict[str, Any], still: set[str]) -> str:
    parts = [f"{one['loraId']} {one['releaseId']}"]
    if not one["active"]:
        parts.append(one["status"])
    found = f" ({one['foundIn']})" if one["foundIn"] else ""
    parts.append(f"{one['images']} of {counted(one['of'], 'image')} of {one['datasetId']}{found}")
    if one["active"] and not still & set(one["assets"]):
        parts.append("answered for" if one["answered"] else "not answered for")
    return " · ".join(parts)


def _run(one: dict[str, Any]) -> str:
    return f"run {one['runId']} of {one['loraId']} is {one['state']} on {one['datasetId']}"


def _manifest(one: dict[str, Any]) -> str:
    place = f" in {one['projectId']}" if one["projectId"] else ", shared"
    return f"{one['datasetId']}{place} · {one['images']} of {counted(one['of'], 'image')}"


def _twin(one: dict[str, Any]) -> str:
    state = "withdrawn too" if one["withdrawn"] else "not withdrawn"
    return f"{one['assetId']} in {one['projectId']} shows what {one['sameAs']} shows · {state}"


def _unknown(one: dict[str, Any]) -> str:
    active = " (active)" if one["active"] else ""
    return f"{one['loraId']} {one['releaseId']}{active}: {one['reason']}"
