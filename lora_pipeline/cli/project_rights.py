"""``lora project rights``."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import words, writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("project_id", metavar="[ID]", required=False)
@words("--allow-license", "allow_licenses", "SPDX", "Licence that may be trained on; adds to all.")
@words("--forbid-license", "forbid_licenses", "SPDX", "Licence to take off the list.")
@click.option("--any-license", is_flag=True, help="Any licence may be trained on.")
@click.option(
    "--require-provenance/--no-require-provenance",
    "provenance_required",
    default=None,
    help="Source, author and licence must be known.",
)
@click.option(
    "--require-consent/--no-require-consent",
    "consent_required",
    default=None,
    help="A consent must be recorded.",
)
@click.option(
    "--unknown-rights",
    type=click.Choice(["allow", "exclude"]),
    help="What happens to art whose training right nobody stated.",
)
@click.option(
    "--on-withdrawal",
    type=click.Choice(["stop", "retrain", "keep"]),
    help="Mildest answer for a release with withdrawn images.",
)
@click.option("--retrain-days", type=int, metavar="N", help="Days to retrain, at most [30].")
@writing_options
@click.pass_obj
def rights(session: Session, /, project_id: str | None, **options: Any) -> None:
    """Show or set what a project asks of its art.

    Without options it shows the policy and how much of the approved art it lets be trained on.
    Options change what they name in project.json. --on-withdrawal says what may be answered
    (lora release answer) when images of a release are withdrawn: stop lets it only go out of
    use, retrain also stay until it was trained anew, keep also stay for good. Exits with 0.

    \b
    lora project rights neon_city --allow-license CC0-1.0 --on-withdrawal retrain
    """
    from lora_pipeline.operations.catalog.project_rights import set_rights

    session.run(set_rights, _shown, project_id, **options)


def rights_rows(rights: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the labelled lines of a project's policy, as its record has it."""
    licenses = ", ".join(rights.get("allowedLicenses", ())) or "any licence"
    asks = [
        word
        for key, word in (("provenanceRequired", "provenance"), ("consentRequired", "consent"))
        if rights.get(key)
    ]
    known = f" with {' and '.join(asks)}" if asks else ""
    unknown = "left out" if rights.get("unknownTraining") == "exclude" else "may be trained on"
    return [
        ("trains on", f"{licenses}{known} · art of unknown rights {unknown}"),
        ("answers", _answers(rights)),
    ]


def _answers(rights: dict[str, Any]) -> str:
    answer = rights.get("onWithdrawal", "stop")
    days = rights.get("retrainWithinDays", 30)
    if answer == "stop":
        return "a release with withdrawn images stops"
    retrain = f"a release with withdrawn images stops or is retrained within {days} days"
    return retrain if answer == "retrain" else f"{retrain}, or is kept for a reason"


def _shown(result: Result) -> Report:
    data = result.data
    now = data["approved"]
    of = now["mayTrain"] + sum(now["barred"].values())
    barred = "".join(f" · {number} {reason}" for reason, number in now["barred"].items())
    verb = "would be" if result.dry_run and data["changed"] else "may be"
    if not of:
        return Report(
            result.reasoning, [*rights_rows(data["rights"]), ("art", "none approved yet")]
        )
    art = f"{now['mayTrain']} of {counted(of, 'approved asset')} {verb} trained on{barred}"
    return Report(result.reasoning, [*rights_rows(data["rights"]), ("art", art)])
