"""lora checkpoint: base models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lora_pipeline.cli.checkpoint_profile import profile
from lora_pipeline.cli.options import scope_option, shared_options, words, writing_options
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.group()
@shared_options
def checkpoint() -> None:
    """Add and check base models.

    A checkpoint is a model that LoRAs are trained on and used with. Its record names its bytes
    by a digest; the model itself stays where it is, outside Git.
    """


@checkpoint.command()
@click.argument("checkpoint_id", metavar="ID")
@click.option(
    "--path",
    required=True,
    type=click.Path(path_type=Path),
    help="A .safetensors file, a diffusers folder, or one of mflux-save.",
)
@click.option("--name", default="", help="Name for people; made from the path when left out.")
@click.option(
    "--architecture", default="", metavar="A", help="sd15, sdxl, flux1, …; looked up otherwise."
)
@words("--asset-type", "asset_types", "T[,T]", "Asset types that it draws; all when left out.")
@click.option("--license", "license_id", default="", help="Licence of the model, as SPDX id.")
@click.option("--license-url", default="", help="Where the licence can be read.")
@click.option(
    "--commercial-loras",
    type=click.Choice(["yes", "no", "unknown"]),
    default="unknown",
    show_default=True,
    help="Whether LoRAs made from it may be used commercially.",
)
@click.option(
    "--companion",
    "companions",
    multiple=True,
    metavar="NAME=PATH",
    help="A further model file, such as clip_l, t5xxl or ae.",
)
@click.option("--vae", default=None, type=click.Path(path_type=Path), help="VAE to use instead.")
@click.option(
    "--training-adapter",
    default=None,
    type=click.Path(path_type=Path),
    help="LoRA that must be loaded while training on it.",
)
@click.option("--resolution", default=0, metavar="PX", help="Side it was trained at, in pixels.")
@click.option("--notes", default="", help="Anything worth keeping.")
@scope_option("baseline: shared by all projects.")
@writing_options
@click.pass_obj
def add(
    session: Session,
    /,
    *,
    checkpoint_id: str,
    path: Path,
    license_id: str,
    companions: tuple[str, ...],
    vae: Path | None,
    training_adapter: Path | None,
    **options: Any,
) -> None:
    """Add a base model, named by the digest of its bytes.

    Reads every byte of the model once, looks up its architecture and resolution, and writes
    checkpoints/ID.json. A folder that mflux-save wrote is known by its tensors, and read by
    mflux alone. Pickled models (.ckpt, .pt, .bin) are refused with exit 3: they can run code
    when they are read.

    \b
    lora checkpoint add sdxl --path models/sd_xl_base_1.0.safetensors \\
        --license openrail++ --commercial-loras yes
    """
    from lora_pipeline.operations.catalog.checkpoint import add_checkpoint

    session.run(
        add_checkpoint,
        _added,
        checkpoint_id,
        path=_absolute(path),
        license=license_id,
        companions=tuple(_companion(one) for one in companions),
        vae=_absolute(vae),
        training_adapter=_absolute(training_adapter),
        **options,
    )


@checkpoint.command("list")
@shared_options
@click.pass_obj
def list_all(session: Session) -> None:
    """List base models and what may be made of them.

    \b
    lora checkpoint list
    """
    from lora_pipeline.operations.catalog.checkpoint import list_checkpoints

    session.run(list_checkpoints, _listed)


@checkpoint.command()
@click.argument("checkpoint_id", metavar="ID")
@shared_options
@click.pass_obj
def show(session: Session, checkpoint_id: str) -> None:
    """Show a base model and whether it is here.

    \b
    lora checkpoint show sdxl
    """
    from lora_pipeline.operations.catalog.checkpoint import show_checkpoint

    session.run(show_checkpoint, _shown, checkpoint_id)


@checkpoint.command()
@click.argument("checkpoint_id", metavar="ID")
@shared_options
@click.pass_obj
def verify(session: Session, checkpoint_id: str) -> None:
    """Compare every byte of a base model with its record.

    Exits with 1 when the model is another one, with 3 when it is not on this machine.

    \b
    lora checkpoint verify sdxl
    """
    from lora_pipeline.operations.catalog.checkpoint import verify_checkpoint

    session.run(verify_checkpoint, _verified, checkpoint_id)


checkpoint.add_command(profile)


def _absolute(path: Path | None) -> str:
    return str(path.absolute()) if path else ""


def _companion(text: str) -> str:
    name, separator, path = text.partition("=")
    return f"{name}={Path(path).absolute()}" if separator and path else text


def _added(result: Result) -> Report:
    record = result.data["checkpoint"]
    rows = _facts(record)
    rows.append(("read", f"{counted(result.data['files'], 'file')} · {_size(record)}"))
    return Report(f"{record['name']} · checkpoint {record['id']}", rows=rows)


def _listed(result: Result) -> Report:
    every = result.data["checkpoints"]
    if not every:
        return Report("no checkpoint yet")
    rows = [
        (
            one["id"],
            one["name"],
            one["architecture"] or "unknown",
            one["license"] or "not recorded",
            one["commercialLoras"],
            one["scope"],
            one["digest"][:19],
        )
        for one in every
    ]
    columns = ("checkpoint", "name", "architecture", "licence", "LoRAs sold", "scope", "digest")
    return Report(counted(len(every), "checkpoint"), tables=[Table(columns, rows)])


def _shown(result: Result) -> Report:
    record, here = result.data["checkpoint"], result.data["here"]
    rows = _facts(record)
    rows.append(("here", here["path"] if here["found"] else f"no: {here['why']}"))
    if record.get("notes"):
        rows.append(("notes", record["notes"]))
    return Report(
        f"{record['name']} · checkpoint {record['id']} · {result.data['scope']}", rows=rows
    )


def _verified(result: Result) -> Report:
    data = result.data
    rows = [("at", f"{data['path']} · {size_text(data['bytes'])}"), ("found", data["found"])]
    if result.refusal is None:
        return Report(f"{data['checkpoint']} is what was recorded", rows=rows)
    rows.append(("recorded", data["recorded"]))
    return Report(f"refused · {result.refusal.message}", rows=rows)


def _facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    side = record.get("nativeResolution")
    kind = record.get("architecture", "unknown architecture")
    rows = [
        ("is", f"{kind} · {side} px" if side else kind),
        ("draws", ", ".join(record["supportedAssetTypes"])),
        ("licence", _licence(record.get("license"))),
        ("digest", record.get("digest", "not recorded")),
    ]
    weights = record.get("weights")
    if weights:
        rows.append(("weights", f"{weights['kind']} {weights.get('path', '')}".strip()))
    rows += [
        ("companion", f"{name}: {one.get('path', '')}")
        for name, one in record.get("companions", {}).items()
    ]
    if "trainingAdapter" in record:
        rows.append(("adapter", record["trainingAdapter"]["weights"].get("path", "")))
    return rows


def _licence(licence: dict[str, str] | None) -> str:
    if not licence:
        return "not recorded"
    sold = {"yes": "may be sold", "no": "may not be sold"}.get(
        licence.get("commercialLoras", "unknown"), "unknown whether they may be sold"
    )
    return f"{licence['id']} · its LoRAs {sold}"


def _size(record: dict[str, Any]) -> str:
    return size_text(record.get("weights", {}).get("bytes", 0))
