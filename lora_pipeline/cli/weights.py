"""``lora weights``: look into weight files."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_LONGEST_TEXT = 80


@click.group()
def weights() -> None:
    """Look into weight files.

    Files are read without running anything of them; a pickle is refused.
    """


@weights.command()
@click.argument("path", type=click.Path(), metavar="FILE")
@click.option("--checkpoint", default="", metavar="ID", help="Base model that it should fit.")
@shared_options
@click.pass_obj
def inspect(session: Session, path: str, *, checkpoint: str) -> None:
    r"""Say what a weights file is and what it is for.

    Reads every byte: digests, key family, rank, architecture, values, and what the header
    tells of the studio. Exits with 1 when the weights cannot be used, 3 when the file is no
    sound safetensors file.

    \b
    lora weights inspect ui_icons.safetensors --checkpoint sdxl
    """
    from lora_pipeline.operations.weights import inspect_weights_file

    session.run(
        inspect_weights_file, _inspected, path, checkpoint=checkpoint, project=session.project
    )


@weights.command("scrub")
@click.argument("path", type=click.Path(), metavar="FILE")
@click.option(
    "--output", default="", type=click.Path(), metavar="FILE",
    help="The copy; else FILE-scrubbed.safetensors.",
)  # fmt: skip
@writing_options
@click.pass_obj
def scrub_file(session: Session, path: str, *, output: str) -> None:
    r"""Copy a weights file without metadata that leaks.

    Captions, folders, comments and pictures go; the tensors are proven to be the same. The
    original is not touched, and nothing is written over.

    \b
    lora weights scrub ui_icons.safetensors --output public.safetensors
    """
    from lora_pipeline.operations.weights import scrub_weights

    session.run(scrub_weights, _scrubbed, path, output=output)


def _inspected(result: Result) -> Report:
    data = result.data
    rows = [
        ("is", _what(data)),
        ("for", " or ".join(data["architectures"]) or "unknown"),
        ("modules", _modules(data)),
        ("values", f"{data['values']:,} numbers, largest {data['largest']:.4g}"),
        ("file", f"sha256:{data['sha256']}   AutoV2 {data['autoV2']}"),
        ("tensors", f"sha256:{data['tensorSha256']}   AutoV3 {data['autoV3']}"),
        ("size", size_text(data["bytes"])),
    ]
    fit = data["fit"]
    if fit:
        rows.append(_fit_row(fit))
    rows += [("fail", one["message"]) for one in data["problems"]]
    if result.refusal and not data["problems"]:
        rows.append(("fail", result.refusal.message))
    if data["leaks"]:
        rows.append(("leaks", ", ".join(data["leaks"])))
    tables = []
    if data["metadata"]:
        leaks = set(data["leaks"])
        tables.append(
            Table(
                ("metadata", "", "leaks"),
                [
                    (key, _cut(text), "yes" if key in leaks else "")
                    for key, text in data["metadata"].items()
                ],
            )
        )
    name = data["path"].replace("\\", "/").rpartition("/")[2]
    usable = "cannot be used" if result.refusal else "usable"
    return Report(f"{name} · {usable}", rows, tables)


def _scrubbed(result: Result) -> Report:
    data = result.data
    if data["output"] is None:
        return Report("nothing leaks; no copy was made")
    verb = "would write" if result.dry_run else "wrote"
    return Report(
        f"{verb} {data['output']}",
        [
            ("left out", ", ".join(data["removed"])),
            ("tensors", f"sha256:{data['tensorSha256'][:12]}, the same as before"),
        ],
    )


def _what(data: Any) -> str:
    if not data["modules"]:
        return "no LoRA"
    alphas = data["alphas"]
    alpha = f", alpha {', '.join(f'{one:g}' for one in alphas)}" if alphas else ""
    ranks = ", ".join(f"{rank} ({count})" for rank, count in data["ranks"].items())
    rank = f"rank {data['rank']}" if len(data["ranks"]) == 1 else f"ranks {ranks}"
    types = ", ".join(data["types"])
    return f"{data['algorithm']}, {rank}{alpha}, {data['family'] or 'unknown'} keys, {types}"


def _modules(data: Any) -> str:
    parts = ", ".join(f"{count} {name}" for name, count in data["components"].items())
    return parts or "none"


def _fit_row(fit: dict[str, Any]) -> tuple[str, str]:
    if fit["compared"] == "architecture":
        return "not proven", f"{fit['checkpointId']}: only the architecture could be compared"
    if not fit["proven"]:
        unread = counted(fit["unread"], "module")
        return "not proven", f"{fit['checkpointId']}: {unread} named in another spelling"
    return "pass", f"{fit['checkpointId']}: {counted(fit['matched'], 'module')} fit"


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST_TEXT else plain[: _LONGEST_TEXT - 1] + "…"
