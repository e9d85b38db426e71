"""``lora release``: list, show, register, verify and deprecate releases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import click

from lora_pipeline.cli.gate_report import condition_rows
from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.cli.release_answer import answer
from lora_pipeline.cli.release_card import card
from lora_pipeline.cli.release_diff import diff
from lora_pipeline.cli.release_export import export
from lora_pipeline.cli.release_history import history
from lora_pipeline.cli.release_publish import publish
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.group()
def release() -> None:
    """Show, register and verify releases.

    A release is one set of weights with the training that made it: candidate, approved or
    deprecated. Only lora promote approves one.
    """


@release.command("list")
@click.argument("lora", required=False, default="")
@click.option(
    "--status",
    type=click.Choice(["candidate", "approved", "deprecated"]),
    help="Only those of this status.",
)
@scope_option
@shared_options
@click.pass_obj
def list_all(
    session: Session,
    lora: str,
    *,
    status: Literal["candidate", "approved", "deprecated"] | None,
    scope: ScopeName,
) -> None:
    """List releases, newest first.

    Reads the LoRAs of the project in use and the shared ones, or one LoRA.

    Example: lora release list ui_icons --status candidate
    """
    from lora_pipeline.operations.releases.release import list_releases

    session.run(
        list_releases,
        _listed,
        lora=lora,
        status=status or "",
        project=session.project,
        scope=scope,
    )


@release.command()
@click.argument("lora")
@click.argument("release_id", metavar="RELEASE")
@scope_option
@shared_options
@click.pass_obj
def show(session: Session, lora: str, release_id: str, *, scope: ScopeName) -> None:
    """Show how a release was made, and what the gate says.

    Reads the same evidence as promote and writes nothing.

    Example: lora release show ui_icons r7
    """
    from lora_pipeline.operations.releases.release import show_release

    session.run(show_release, _shown, lora, release_id, project=session.project, scope=scope)


@release.command()
@click.argument("lora")
@click.argument("weights", metavar="FILE")
@click.option("--dataset", default="", metavar="ID", help="Manifest it was trained on.")
@click.option("--sha256", default="", metavar="HEX", help="Digest it must have.")
@click.option("--release", "release_id", default="", metavar="ID", help="Its id; else the next.")
@click.option("--config", default="", metavar="JSON", help="Recipe it was made with, if known.")
@click.option("--notes", default="", metavar="TEXT", help="Anything worth keeping.")
@scope_option
@writing_options
@click.pass_obj
def register(
    session: Session,
    lora: str,
    weights: str,
    *,
    dataset: str,
    release_id: str,
    config: str,
    notes: str,
    sha256: str,
    scope: ScopeName,
) -> None:
    """Register weights made elsewhere as a candidate.

    FILE is a safetensors file, or the address of one (s3://, gs://, az://, https://), which is
    fetched. Reads it whole: it must be a sound LoRA for the base model, finite and not all
    zero. Copies it into the store and writes the LoRA's record. Without --dataset the gate
    cannot pass: nobody could tell what it was trained on. Exits with 3 when it cannot be used.

    Example: lora release register ui_icons out/icons.safetensors --dataset ui_icon_flat
    """
    from lora_pipeline.operations.releases.release_register import register_release

    operation: Callable[..., Result] = register_release
    if "://" in weights:
        from lora_pipeline.operations.releases.release_fetch import (
            register_release_from as operation,
        )

    session.run(
        operation,
        _registered,
        lora,
        weights,
        dataset=dataset,
        release=release_id,
        config=_json_object(config),
        notes=notes,
        sha256=sha256,
        project=session.project,
        scope=scope,
    )


@release.command()
@click.argument("lora")
@click.argument("release_id", metavar="RELEASE")
@scope_option
@shared_options
@click.pass_obj
def verify(session: Session, lora: str, release_id: str, *, scope: ScopeName) -> None:
    """Check the weights of a release, byte by byte.

    Reads the whole file: both digests, every value, and every module against the base model.
    Exits with 1 when anything differs or the file is not here.

    Example: lora release verify ui_icons r7
    """
    from lora_pipeline.operations.releases.release import verify_release

    session.run(verify_release, _verified, lora, release_id, project=session.project, scope=scope)


@release.command()
@click.argument("lora")
@click.argument("release_id", metavar="RELEASE")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the history.")
@click.option("--deactivate", is_flag=True, help="Also when it is active: none is, afterwards.")
@scope_option
@writing_options
@click.pass_obj
def deprecate(
    session: Session,
    lora: str,
    release_id: str,
    *,
    reason: str,
    deactivate: bool,
    scope: ScopeName,
) -> None:
    """Say that a release must no longer be used.

    Writes the LoRA's record and its history; nothing is deleted. Exits with 1 for the active
    release, unless --deactivate is given.

    Example: lora release deprecate ui_icons r3 --reason "licence of two images withdrawn"
    """
    from lora_pipeline.operations.releases.release import deprecate_release

    session.run(
        deprecate_release,
        _deprecated,
        lora,
        release_id,
        reason=reason,
        deactivate=deactivate,
        project=session.project,
        scope=scope,
    )


release.add_command(answer)
release.add_command(export)
release.add_command(card)
release.add_command(publish)
release.add_command(diff)
release.add_command(history)


def _listed(result: Result) -> Report:
    releases = result.data["releases"]
    if not releases:
        return Report("no release")
    rows = [
        (
            f"{one['loraId']} {one['releaseId']}" + (" *" if one["active"] else ""),
            one["status"],
            f"{one['createdAt'][:10]} {one['createdBy']}".strip(),
            one["trainer"],
            one["datasetId"],
            size_text(one["bytes"]) if one["bytes"] else "",
            one["sha256"][:12],
        )
        for one in releases
    ]
    columns = ("release", "status", "made", "trainer", "dataset", "size", "sha256")
    notes = ["  * active"] if any(one["active"] for one in releases) else []
    return Report(counted(len(releases), "release"), tables=[Table(columns, rows)], lines=notes)


def _shown(result: Result) -> Report:
    facts, one = result.data, result.data["release"]
    training, weights = one.get("training", {}), one.get("weights", {})
    made = f"{one['createdAt'][:10]} by {one.get('createdBy') or 'nobody named'}"
    recipe = training.get("recipe", {})
    told = [f"{key} {recipe[key]}" for key in ("rank", "steps", "resolution") if recipe.get(key)]
    trained = " · ".join([f"{training.get('trainer', 'unknown')}", *told])
    rows = [
        ("made", made),
        ("trained", trained),
        ("dataset", training.get("datasetId") or "none named"),
        ("weights", f"sha256 {weights.get('sha256', '')}"),
    ]
    if one.get("notes"):
        rows.append(("notes", one["notes"]))
    state = f"{one['status']}, active" if facts["active"] else one["status"]
    verdict = "passes" if facts["decision"]["passed"] else "does not pass"
    rows.append(("gate", f"{verdict}, by {facts['policySource']}"))
    return Report(
        f"{facts['loraId']} {one['id']} · {state}",
        [*rows, *condition_rows(facts["decision"]["conditions"])],
    )


def _registered(result: Result) -> Report:
    facts, weights = result.data, result.data["weights"]
    verb = "would be" if result.dry_run else "is"
    rows = [
        ("weights", f"{size_text(weights['bytes'])}, sha256 {weights['sha256'][:12]}"),
        ("modules", f"{weights['modules']} of rank {weights['rank']}"),
        ("dataset", facts["release"]["training"].get("datasetId", "none named")),
    ]
    return Report(f"{facts['releaseId']} of {facts['loraId']} {verb} a candidate", rows)


def _json_object(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--config is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise click.UsageError('--config must be an object, such as {"rank": 16}')
    return document


def _verified(result: Result) -> Report:
    facts = result.data
    word = "verified" if result.success else "differs"
    return Report(
        f"{word} · {facts['loraId']} {facts['releaseId']}", condition_rows(facts["checks"])
    )


def _deprecated(result: Result) -> Report:
    facts = result.data
    if not result.success:
        return Report(f"refused · {result.refusal.message if result.refusal else ''}")
    if not result.written:
        return Report(f"nothing to do · {facts['releaseId']} is deprecated already")
    verb = "would be" if result.dry_run else "is"
    return Report(f"{facts['releaseId']} of {facts['loraId']} {verb} deprecated")
