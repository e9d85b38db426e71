"""``lora release publish``: a release into a repository of Hugging Face."""

from __future__ import annotations

from typing import Literal

import click

from lora_pipeline.cli.gate_report import condition_rows
from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.command()
@click.argument("lora")
@click.argument("release_id", metavar="RELEASE")
@click.option("--repo", required=True, metavar="ORG/NAME", help="Repository; made when missing.")
@click.option("--candidate", is_flag=True, help="Also without the gate; only into a private one.")
@click.option("--public", is_flag=True, help="Others may read it.")
@click.option("--yes-upload", is_flag=True, help="Agree to what leaves this machine.")
@scope_option
@writing_options
@click.pass_obj
def publish(
    session: Session,
    lora: str,
    release_id: str,
    *,
    repo: str,
    candidate: bool,
    public: bool,
    yes_upload: bool,
    scope: ScopeName,
) -> None:
    """Send a release to Hugging Face.

    The gate must pass the release today; --candidate sends it without. It goes into a private
    repository, made when it is not there, unless --public allows another. Without --yes-upload
    it lists what would leave: exported weights and passport, the card without people, the
    contact sheet, a few pictures without metadata. They go in one commit, and every file is
    fetched back and compared. Again, it sends what is missing. The token is read from the
    environment (HF_TOKEN). Exits with 1 when the gate says no, or nobody said yes.

    Example: lora release publish ui_icons r7 --repo studio/ui-icons --yes-upload
    """
    from lora_pipeline.operations.releases.release_publish import publish_release

    session.run(
        publish_release,
        _published,
        lora,
        release_id,
        repo=repo,
        candidate=candidate,
        public=public,
        yes_upload=yes_upload,
        project=session.project,
        scope=scope,
    )


def _published(result: Result) -> Report:
    facts, no = result.data, result.refusal
    listed = [
        (size_text(one["bytes"]) if one["bytes"] is not None else "", one["name"])
        for one in facts.get("uploads", ())
    ]
    if no is not None and no.code != "upload_not_agreed":
        return Report(f"refused · {no.message}", condition_rows(facts.get("conditions", ())))
    if no is not None:
        return Report(f"asks · {no.message}", listed, lines=[f"  {no.hint}"])
    if result.dry_run:
        return Report(result.reasoning, listed)
    kind = "private" if facts["private"] else "public"
    rows = [
        ("repository", f"{facts['repo']}, {kind}" + (", new" if facts["created"] else "")),
        ("commit", facts["url"]),
        ("compared", f"{len(facts['files'])} files, fetched back, the same bytes"),
    ]
    verb = "nothing to do" if facts["unchanged"] else "published"
    return Report(f"{verb} · {facts['loraId']} {facts['releaseId']}", rows)
