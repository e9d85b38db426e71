"""``lora dataset check``: what is wrong with images, and what was accepted of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import words, writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_STATUSES = ("draft", "review", "approved", "rejected", "deprecated")
_SHOWN, _ALIKE_SHOWN = 5, 6  # findings of one rule; images of one finding
_LABELS = {"error": "error", "not_proven": "not proven", "warning": "warning", "info": "note"}
_END = 6  # of an id: enough to tell it, and to paste it


@click.command("check")
@click.argument("dataset_id", metavar="[ID]", required=False)
@words("--tag", "tags", "TAG[,TAG]", "Without ID: only assets with all these tags.")
@words("--asset-type", "asset_types", "T[,T]", "Without ID: only assets of these types.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES),
    help="Without ID: only assets of this status [draft, review, approved].",
)
@click.option("--checkpoint", metavar="ID", help="Compare sizes with this checkpoint's.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--all", "every", is_flag=True, help="Show every finding.")
@click.option(
    "--acknowledge",
    "findings",
    multiple=True,
    metavar="CODE[:ASSET]",
    help="Accept findings of a rule, or one; may be given several times.",
)
@click.option("--reason", metavar="TEXT", help="Why they are accepted.")
@scope_option
@writing_options
@click.pass_obj
def check(
    session: Session,
    /,
    dataset_id: str | None,
    *,
    findings: tuple[str, ...],
    reason: str | None,
    strict: bool,
    every: bool,
    **chosen: Any,
) -> None:
    """Find images that spoil training.

    Looks at every image of a manifest, or of assets that are in none yet: too small for the
    checkpoint, blurred, enlarged, JPEG artefacts, borders, empty, extreme shapes, the same image
    twice (bytes, pixels, near-duplicates), marks in a corner, imbalance, image count, captions.
    Each content is decoded once and remembered below .lora/cache.

    With --acknowledge it writes one record of what is accepted, by whom and why. That is bound
    to the bytes of the images, is listed from then on, and is not counted.

    Exits with 0, with 1 when there are errors (--strict: warnings) or images that could not be
    looked at.

    \b
    lora dataset check ui_icon_flat
    lora dataset check ui_icon_flat --acknowledge blurred:4FQ2ZP --reason "fog is meant"
    lora dataset check --status review
    """
    if findings:
        from lora_pipeline.operations.datasets.dataset_check import acknowledge_findings

        session.run(
            acknowledge_findings,
            _acknowledged,
            findings,
            dataset_id,
            reason=reason or "",
            **chosen,
        )
        return
    if reason:
        raise click.UsageError("--reason goes with --acknowledge CODE[:ASSET].")
    from lora_pipeline.operations.datasets.dataset_check import check_dataset

    def text(result: Result) -> Report:
        return _checked(result, every=every)

    session.run(check_dataset, text, dataset_id, strict=strict, **chosen)


def _checked(result: Result, *, every: bool) -> Report:
    data = result.data
    counts = data["counts"]
    said = [
        counted(counts["error"], "error") if counts["error"] else "",
        f"{counts['not_proven']} not proven" if counts["not_proven"] else "",
        counted(counts["warning"], "warning") if counts["warning"] else "",
        counted(counts["info"], "note") if counts["info"] else "",
    ]
    found = ", ".join(filter(None, said)) or "nothing found"
    rows = []
    if data["checkpointId"]:
        rows.append(("for", f"{data['checkpointId']}, {data['nativeResolution']} px"))
    open_ones = [one for one in data["findings"] if not one["acknowledged"]]
    for (severity, _), group in groupby(open_ones, key=lambda one: (one["severity"], one["code"])):
        rows.append((_LABELS[severity], _group_text(list(group), every=every)))
    seen = [one for one in data["findings"] if one["acknowledged"]]
    if seen:
        rows.append(("accepted", "\n".join(_seen(seen))))
    return Report(f"{data['name']} · {counted(data['images'], 'image')} · {found}", rows)


def _group_text(group: Sequence[dict[str, Any]], *, every: bool) -> str:
    shown = group if every else group[:_SHOWN]
    head = group[0]
    lines = [f"{head['title']} · {len(group)}   [{head['code']}]"]
    for one in shown:
        lines += _finding_lines(one)
    if len(group) > len(shown):
        lines.append(f"  and {len(group) - len(shown)} more   (--all shows them)")
    fix = head["fix"] if len(group) == 1 else _fix_of_many(group)
    if fix:
        lines.append(f"  → {fix}")
    return "\n".join(lines)


def _finding_lines(one: dict[str, Any]) -> list[str]:
    assets = one["assets"]
    if len(assets) == 1:
        return [f"  {assets[0]['assetId'][-_END:]}  {assets[0]['name']}: {one['message']}"]
    lines = [f"  {one['message']}"]
    lines += [f"    {asset['assetId'][-_END:]}  {asset['name']}" for asset in assets[:_ALIKE_SHOWN]]
    if len(assets) > _ALIKE_SHOWN:
        lines.append(f"    and {len(assets) - _ALIKE_SHOWN} more")
    return lines


def _fix_of_many(group: Sequence[dict[str, Any]]) -> str:
    # One command for the first of them shows the way; ids of hundreds would bury it.
    return f"{group[0]['fix']}   (the first of {len(group)})" if group[0]["fix"] else ""


def _seen(findings: Sequence[dict[str, Any]]) -> list[str]:
    def key(one: dict[str, Any]) -> tuple[str, str, str]:
        return one["title"], one["acknowledged"]["by"], one["acknowledged"]["reason"]

    return [
        f"{title} · {len(list(group))}   {by}: {reason}"
        for (title, by, reason), group in groupby(sorted(findings, key=key), key=key)
    ]


def _acknowledged(result: Result) -> Report:
    data = result.data
    found = data["acknowledged"]
    rows = [
        (
            f"{one['title']}",
            ", ".join(asset["name"] for asset in one["assets"][:3]) or one["message"],
        )
        for one in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        rows.append(("", f"and {len(found) - _SHOWN} more"))
    headline = f"{counted(len(found), 'finding')} acknowledged by {data['by']} · {data['reason']}"
    return Report(headline if found else "acknowledged before; nothing to write", rows)
