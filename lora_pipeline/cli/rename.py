"""``lora rename``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import scope_option, writing_options
from lora_pipeline.cli.output import MAX_WRITTEN_SHOWN, Report, counted
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result

# Also in operations/workspace/renaming/references.py, which a test compares: importing that
# costs time.
KINDS = (
    "project", "checkpoint", "lora", "asset-type", "style", "scenario", "palette", "tag",
    "tag-group",
)  # fmt: skip
_NAMES = {
    "dataset": "manifest",
    "lora": "LoRA",
    "asset-types": "catalog",
    "styles": "catalog",
    "scenarios": "catalog",
    "palettes": "catalog",
    "tags": "catalog",
    "checkpoint-profile": "profile",
}


@click.command()
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("old", metavar="FROM")
@click.argument("new", metavar="TO")
@click.option("--merge", is_flag=True, help="TO is there already: make both one word.")
@click.option("--keep-alias", is_flag=True, help="Let the old spelling still mean the word.")
@scope_option("baseline: shared by all projects.")
@writing_options
@click.pass_obj
def rename(session: Session, /, kind: Any, old: str, new: str, **options: Any) -> None:
    """Rename an id with every reference to it.

    KIND is project, checkpoint, lora, asset-type, style, scenario, palette, tag or tag-group.
    Reads every record, rewrites all that name the id, all or nothing; --dry-run lists the files.
    Verdicts, grids, histories and the items of manifests are never rewritten: where one of
    them binds the id, the answer is no.

    Exits with 0, with 1 when the id is bound, with 3 when it is unknown or TO is taken.

    \b
    lora rename tag style:flta style:flat --dry-run
    """
    from lora_pipeline.operations.workspace.rename import rename_id

    session.run(rename_id, _renamed, kind, old, new, project=session.project, **options)


def _renamed(result: Result) -> Report:
    facts = result.data
    what = f"{facts['kind']} {facts['from']} -> {facts['to']}"
    if result.refusal is not None:
        bound = [f"{one['where']}  {one['reason']}" for one in facts.get("boundBy", [])]
        rows = [("bound by", "\n".join(bound[:10]))] if bound else []
        rows += [("clash", "\n".join(facts["clashes"][:10]))] if facts.get("clashes") else []
        return Report(f"refused · {result.refusal.message}", rows)
    counts: dict[str, int] = {}
    for kind, count in facts["records"].items():
        counts[_NAMES.get(kind, kind)] = counts.get(_NAMES.get(kind, kind), 0) + count
    words = [counted(count, name) for name, count in counts.items()]
    rows = [("in", ", ".join(words) or "no record")]
    if facts["config"]:
        rows.append(("config", ", ".join(facts["config"])))
    lines = []
    if result.dry_run and len(result.written) > MAX_WRITTEN_SHOWN:
        lines = [f"  {one['path']}  {counted(one['references'], 'place')}" for one in
                 facts["changed"]]  # fmt: skip
    verb = "would rename" if result.dry_run else "renamed"
    return Report(f"{verb} {what}", rows, lines=lines)
