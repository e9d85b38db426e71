"""``lora release export``: hand a release over, with its passport."""

from __future__ import annotations

from typing import Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.command()
@click.argument("lora")
@click.argument("release_id", metavar="RELEASE")
@click.option(
    "--output", default="", type=click.Path(), metavar="FILE",
    help="The copy; else LORA-RELEASE.safetensors here.",
)  # fmt: skip
@scope_option
@writing_options
@click.pass_obj
def export(session: Session, lora: str, release_id: str, *, output: str, scope: ScopeName) -> None:
    """Write a release's weights with their passport.

    The copy's header tells trigger word, strength, base model, manifest hash and licences;
    texts of the trainer that leak are left out. NAME.passport.json beside it says the same, with
    the digest of the file. The tensors are proven to be the same; the stored weights are not
    touched. Exported again it is the same file. Exits with 1 for a deprecated release.

    Example: lora release export ui_icons r7 --output build/ui_icons.safetensors
    """
    from lora_pipeline.operations.releases.release_export import export_release

    session.run(
        export_release,
        _exported,
        lora,
        release_id,
        output=output,
        project=session.project,
        scope=scope,
    )


def _exported(result: Result) -> Report:
    data = result.data
    if not result.success:
        return Report(f"refused · {result.refusal.message if result.refusal else ''}")
    passport = data["passport"]
    base = passport["checkpoint"]
    commercial = {"yes": "LoRAs of it may be used commercially",
                  "no": "LoRAs of it may not be used commercially"}  # fmt: skip
    told = commercial.get(base.get("commercialLoras", ""), "commercial use is not recorded")
    rows = [
        ("trigger", passport["triggerWord"] or "none"),
        ("strength", f"{passport['strength']:g}"),
        ("base model", f"{base['id']}, {told}"),
        ("dataset", passport["training"].get("manifestHash") or "none named"),
        ("licences", data["license"] or "none recorded"),
        ("file", f"{size_text(data['bytes'])}, sha256 {data['sha256'][:12]}"),
        ("tensors", f"sha256 {data['tensorSha256'][:12]}, those of the stored weights"),
        ("passport", data["passportFile"]),
    ]
    if data["removed"]:
        rows.append(("left out", ", ".join(data["removed"])))
    verb = "would write" if result.dry_run else "wrote"
    if data["unchanged"]:
        verb = "nothing to do, there is already"
    return Report(f"{verb} {data['output']}", rows)
