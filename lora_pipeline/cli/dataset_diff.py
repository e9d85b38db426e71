"""``lora dataset diff``: what changed between two manifests, or since a commit."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.dataset_report import setting_name, value_text
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, Table
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_SIGNS = {"came": "+", "went": "−", "changed": "~"}  # noqa: RUF001 - a minus sign


@click.command("diff")
@click.argument("dataset_id", metavar="ID")
@click.argument("other_id", metavar="[ID]", required=False)
@click.option("--git", "git_revision", metavar="REV", help="Compare with this commit [HEAD].")
@scope_option
@shared_options
@click.pass_obj
def diff(
    session: Session, dataset_id: str, other_id: str | None, git_revision: str | None, scope: Any
) -> None:
    """Show which images came, went or changed.

    Compares two manifests, or one with what it was at a commit. Exits with 0.

    \b
    lora dataset diff ui_icon_flat
    lora dataset diff ui_icon_flat --git main~3
    lora dataset diff ui_icon_flat ui_icon_neon
    """
    from lora_pipeline.operations.dataset_views import diff_datasets

    session.run(
        diff_datasets, compared, dataset_id, other_id, git_revision=git_revision, scope=scope
    )


def compared(result: Result) -> Report:
    """Say what changed between two manifests."""
    data = result.data
    against = data["gitRevision"]
    headline = (
        f"{data['after']} since {against}" if against else f"{data['before']} → {data['after']}"
    )
    same = data["sameContent"] and not data["changes"]
    headline += " · nothing changed" if same else f" · {data['summary']}"
    rows = [("rule", " · ".join(map(setting_name, data["rules"])))] if data["rules"] else []
    changes = [(_SIGNS[one["kind"]], one["assetId"], _change(one)) for one in data["changes"]]
    return Report(headline, rows, [Table(("", "asset", "what"), changes)] if changes else [])


def _change(one: dict[str, Any]) -> str:
    if one["kind"] != "changed":
        item = one["after"] or one["before"]
        return str(item["caption"])
    before, after = one["before"], one["after"]
    parts = []
    for aspect in one["aspects"]:
        if aspect == "caption":
            words = [f"+{word}" for word in one["wordsAdded"]]
            words += [f"−{word}" for word in one["wordsRemoved"]]  # noqa: RUF001
            parts.append("caption " + (" ".join(words) or "in another order"))
        elif aspect == "image":
            parts.append(f"image {before['sha256'][:8]} → {after['sha256'][:8]}")
        else:
            parts.append(f"{aspect} {value_text(before[aspect])} → {value_text(after[aspect])}")
    return " · ".join(parts)
