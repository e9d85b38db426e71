"""``lora dataset diff``: what changed between two manifests, or in Git."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.dataset_report import setting_name, value_text
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_SIGNS = {"came": "+", "went": "−", "changed": "~"}  # noqa: RUF001 - a minus sign
_ASPECTS = {"license": "licence"}
_SPLITS = {"train": "to train on", "held_out": "held out"}
_SHOWN = 40  # images
_WORDS = 8  # caption words that are counted
_LONGEST = 40  # letters of such a word


@click.command("diff")
@click.argument("dataset_id", metavar="ID")
@click.argument("other_id", metavar="[ID]", required=False)
@click.option(
    "--git", "git_revision", metavar="REV", help="A commit against the work tree [HEAD], or A..B."
)
@click.option("--markdown", is_flag=True, help="Print Markdown for a pull request.")
@click.option("--html", default="", metavar="FILE", help="Write a page with pictures, for offline.")
@click.option("--pictures", type=int, default=300, metavar="N", help="Pictures on it [300].")
@click.option("--all", "every", is_flag=True, help="List every image.")
@scope_option
@writing_options
@click.pass_obj
def diff(
    session: Session,
    dataset_id: str,
    other_id: str | None,
    *,
    git_revision: str | None,
    markdown: bool,
    html: str,
    pictures: int,
    every: bool,
    scope: Any,
) -> None:
    """Show which images came, went or changed.

    Compares two manifests, or one with itself in Git: a commit against the work tree, A..B two
    commits, A...B a branch from where it parted. Tells captions word by word, the rule, split,
    licence and repeats. --html writes one page that needs no network, in the workspace and
    outside the records; its pictures come from the work tree, from Git LFS or from the history
    of Git. Exits with 0, with 3 when there is no such manifest or revision.

    \b
    lora dataset diff ui_icon_flat
    lora dataset diff ui_icon_flat --git main...HEAD --html diff.html
    lora dataset diff ui_icon_flat ui_icon_neon --markdown
    """
    if html and markdown:
        raise click.UsageError("--html and --markdown: one of them, please")
    from lora_pipeline.operations.datasets.dataset_diff import diff_datasets, write_diff_page

    text = compared(None if every else _SHOWN)
    asked = {"git_revision": git_revision, "scope": scope}
    if html:
        session.run(
            write_diff_page, text, dataset_id, other_id, html=html, pictures=pictures, **asked
        )
    else:
        shown = _markdown if markdown else text
        session.run(diff_datasets, shown, dataset_id, other_id, markdown=markdown, **asked)


def compared(limit: int | None) -> Callable[[Result], Report]:
    """Return what says a comparison, with at most ``limit`` images; None lists all."""

    def text(result: Result) -> Report:
        data = result.data
        changes = [] if data.get("html") else data["changes"]
        table = Table(
            ("", "asset", "what"),
            [(_SIGNS[one["kind"]], one["assetId"], _change(one)) for one in changes[:limit]],
        )
        more = len(changes) - len(table.rows)
        return Report(
            _headline(data),
            _rows(data),
            [table] if table.rows else [],
            [f"… and {counted(more, 'more image')} (--all lists them)"] if more else [],
        )

    return text


def _markdown(result: Result) -> Report:
    return Report(result.data["markdown"])


def _headline(data: Any) -> str:
    before, after = data["sides"]
    if data["gitRevision"] is None:
        compared_with = f"{before['label']} → {after['label']}"
    elif after["commit"] is None:
        compared_with = f"{data['name']} since {before['label']}"
    else:
        compared_with = f"{data['name']} · {before['label']} → {after['label']}"
    return f"{compared_with} · {data['headline']}"


def _rows(data: Any) -> list[tuple[str, str]]:
    rows = []
    if data["ruleChanges"]:
        rows.append(("rule", "\n".join(map(_rule_change, data["ruleChanges"]))))
    words = [
        f"{sign}{_cut(one['value'])} {one['images']}"
        for sign, key in (("+", "added"), ("−", "removed"))  # noqa: RUF001 - a minus sign
        for one in data["captionWords"][key][:_WORDS]
    ]
    if words:
        rows.append(("words", " · ".join(words)))
    for one in data["transitions"]:
        told = f"{_said(one['aspect'], one['before'])} → {_said(one['aspect'], one['after'])}"
        label = _ASPECTS.get(one["aspect"], one["aspect"])
        rows.append((label, f"{told}   {counted(one['images'], 'image')}"))
    if data.get("html"):
        rows.append(("pictures", f"{data['pictures']} of {data['picturesWanted']}"))
    return rows


def _rule_change(one: dict[str, Any]) -> str:
    return f"{setting_name(one['name'])}: {value_text(one['before'])} → {value_text(one['after'])}"


def _change(one: dict[str, Any]) -> str:
    if one["kind"] != "changed":
        item = one["after"] or one["before"]
        return str(item["caption"])
    return " · ".join(_aspect(one, aspect) for aspect in one["aspects"])


def _aspect(one: dict[str, Any], aspect: str) -> str:
    before, after = one["before"], one["after"]
    if aspect == "caption":
        return "caption " + (_signed(one["wordsAdded"], one["wordsRemoved"]) or "in another order")
    if aspect == "tags":
        return "tags " + (_signed(one["tagsAdded"], one["tagsRemoved"]) or "in another order")
    if aspect == "image":
        return f"image {before['sha256'][:8]} → {after['sha256'][:8]}"
    told = f"{_said(aspect, before[aspect])} → {_said(aspect, after[aspect])}"
    return f"{_ASPECTS.get(aspect, aspect)} {told}"


def _signed(added: list[str], removed: list[str]) -> str:
    words = [f"+{word}" for word in added]
    words += [f"−{word}" for word in removed]  # noqa: RUF001 - a minus sign
    return " ".join(words)


def _cut(word: str) -> str:
    return word if len(word) <= _LONGEST else f"{word[:_LONGEST]}…"


def _said(aspect: str, value: Any) -> str:
    return _SPLITS.get(value, value) if aspect == "split" else value_text(value)
