"""``lora advise``: what came and went since a LoRA was trained."""

from __future__ import annotations

from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]
_SHOWN = 6
_WORDS = {
    "withdrawn": "withdrawn", "retrain": "train anew", "evaluate": "evaluate",
    "current": "up to date", "untrained": "not trained", "not_proven": "not proven",
}  # fmt: skip


@click.command()
@click.argument("lora", required=False, default="")
@scope_option
@shared_options
@click.pass_obj
def advise(session: Session, lora: str, *, scope: ScopeName) -> None:
    """Say what came and went since a LoRA was trained.

    Takes the rule of the manifest that the active release was trained on, and says which
    approved images it chooses today that it did not then, which are gone, and which were
    withdrawn. Reads the catalog, the manifest (also from the Git history) and the rights;
    writes nothing and exits with 0 whatever it says.

    Example: lora advise ui_icons
    """
    from lora_pipeline.operations.releases.advise import advise as advise_loras

    session.run(advise_loras, _advised, lora, project=session.project, scope=scope)


def _advised(result: Result) -> Report:
    found = result.data["loras"]
    if len(found) == 1:
        return _one(found[0])
    rows = [
        (
            one["loraId"], f"{one['releaseId']}{' *' if one['active'] else ''}",
            _WORDS[one["advice"]], _came(one), one["reason"],
        )
        for one in found
    ]  # fmt: skip
    tables = [Table(("LoRA", "release", "advice", "images", "why"), rows)] if rows else []
    notes = ["  * active"] if any(one["active"] for one in found) else []
    return Report(result.reasoning, tables=tables, lines=notes)


def _one(facts: dict[str, Any]) -> Report:
    name = " ".join(filter(None, (facts["loraId"], facts["releaseId"])))
    active = ", active" if facts["active"] else ""
    rows: list[tuple[str, str]] = []
    if facts["came"]:
        rows.append(("new", _listed(facts["came"], "caption")))
    if facts["went"]:
        rows.append(("gone", _listed(facts["went"], "reason")))
    if facts["changed"]:
        rows.append(("changed", f"{counted(facts['changed'], 'image')}: caption, tags or bytes"))
    rows += [("fail", f"{one['assetId']} {one['reason']}") for one in facts["withdrawn"][:_SHOWN]]
    rows += [("warn", f"{one['assetId']} {one['reason']}") for one in facts["ending"][:_SHOWN]]
    if facts["rules"]:
        differing = ", ".join(facts["rules"])
        rows.append(("warn", f"{facts['datasetId']} has another rule by now: {differing}"))
    return Report(f"{_WORDS[facts['advice']]} · {name}{active}: {facts['reason']}", rows)


def _listed(images: list[dict[str, str]], says: str) -> str:
    lines = [f"{one['assetId']}  {one[says]}" for one in images[:_SHOWN]]
    if len(images) > _SHOWN:
        lines.append(f"and {len(images) - _SHOWN} more (--json)")
    return "\n".join(lines)


def _came(facts: dict[str, Any]) -> str:
    if not (facts["came"] or facts["went"] or facts["changed"]):
        return str(facts["images"] or "")
    parts = [f"+{len(facts['came'])}", f"-{len(facts['went'])}"]
    return " ".join([*parts, f"~{facts['changed']}"] if facts["changed"] else parts)
