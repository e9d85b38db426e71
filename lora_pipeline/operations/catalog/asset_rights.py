"""Say whether art may be trained on, and take it back."""

from __future__ import annotations

from datetime import date
from typing import Literal

from lora_pipeline.catalog.assets import changes as asset_changes
from lora_pipeline.catalog.assets.changes import Statement
from lora_pipeline.catalog.assets.decisions import decide
from lora_pipeline.catalog.assets.filter import AssetFilter
from lora_pipeline.catalog.rights.license import require_license
from lora_pipeline.catalog.rights.training import taken_back
from lora_pipeline.foundation.errors import ArgumentInvalidError, SelectionEmptyError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.catalog.asset_choice import Chosen, chosen_assets
from lora_pipeline.operations.catalog.asset_words import counted
from lora_pipeline.operations.datasets.impact_outcome import (
    impact_facts,
    impact_steps,
    impact_warnings,
)
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.impact import impact_of, subject_of
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace


def withdraw_assets(
    workspace: Workspace,
    *,
    reason: str = "",
    ids: tuple[str, ...] = (),
    everything: bool = False,
    expired: bool = False,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    from_file: str = "",
) -> Result:
    """Withdraw assets from training, for good, and say what they are part of.

    The images stay; no dataset takes them any more, and the gate fails LoRAs that were
    trained on them until somebody answers for it (``release.answer``).

    Args:
        workspace: Where they are.
        reason: Why; it is kept with the asset. Only a licence that ended needs none.
        ids: Ids, or endings of ids that only one asset has.
        everything: All of them.
        expired: Those whose licence or consent has ended.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant, or why.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
        SettingsError: When nobody is known to act.
    """
    if not reason.strip() and not expired:
        raise ArgumentInvalidError("why are they withdrawn?", hint='--reason "asked for it back"')
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    assets, chosen = chosen_assets(
        workspace, project, wanted, everything=everything or expired, from_file=from_file
    )
    changes, now = Changes(workspace), workspace.now()
    if expired:
        chosen = _ended(chosen, now)
    subject = subject_of(entry.asset for _, entry in chosen)
    by = workspace.require_actor()
    decided = decide(
        changes,
        chosen,
        lambda asset: asset_changes.withdraw(
            asset,
            reason=reason.strip() or f"its licence ended on {asset.rights.expires_on}",
            by=by,
            at=now,
        ),
    )
    reader = EvidenceReader(workspace, workspace.records)
    impact = impact_of(reader, subject)
    count = len(decided.changed)
    return Result(
        data={
            "project": assets.project.id,
            "impact": impact_facts(workspace, impact),
            **decided.to_dict(),
        },
        reasoning=(
            f"Withdrew {counted(count)} of {assets.project.id}"
            if count
            else f"Nothing to withdraw: {counted(len(decided.unchanged))} were so already"
        ),
        warnings=impact_warnings(impact),
        suggestions=impact_steps(workspace, impact),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def state_rights(
    workspace: Workspace,
    training: Literal["allowed", "denied", "unknown"] | None = None,
    *,
    ids: tuple[str, ...] = (),
    everything: bool = False,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    from_file: str = "",
    license: str = "",  # noqa: A002 - the record's own word
    consent: str = "",
    expires: str = "",
    reason: str = "",
) -> Result:
    """Say whether assets may be trained on, under which licence, with whose consent, how long.

    What is not said stays as it was; what was withdrawn stays withdrawn.

    Args:
        workspace: Where they are.
        training: ``allowed``, ``denied`` or ``unknown``.
        ids: Ids, or endings of ids that only one asset has.
        everything: All of them.
        project: The project.
        tags: Tags that an asset must have.
        asset_types: Asset types, one of which it must be of.
        statuses: Statuses, one of which it must have.
        titles: Titles, one of which it must have; ``*`` stands for anything.
        styles: Styles, one of which it must have.
        from_file: Text file with one id on each line.
        license: Licence that the right rests on: an SPDX id, or a name of one's own.
        consent: Who consented, and where that is kept.
        expires: Last day on which licence and consent hold, as 2027-12-31, or ``never``.
        reason: Why.

    Raises:
        ArgumentInvalidError: When it is not said which assets are meant or what is stated, when
            a licence looks like a misspelt SPDX id, or a day is none.
        RecordNotFoundError, SelectionEmptyError: When there are none of these.
    """
    if not (training or license or consent or expires):
        raise ArgumentInvalidError(
            "what is to be stated?", hint="--set allowed, --license, --consent, or --expires"
        )
    wanted = AssetFilter(ids, tags, asset_types, statuses, titles, styles)
    assets, chosen = chosen_assets(
        workspace, project, wanted, everything=everything, from_file=from_file
    )
    own = assets.project.rights.allowed_licenses
    stated = Statement(
        training=training,
        license=require_license(license, own) if license else "",
        consent=consent.strip(),
        expires_on=_day(expires),
        reason=reason.strip(),
    )
    changes, now = Changes(workspace), workspace.now()
    decided = decide(
        changes, chosen, lambda asset: asset_changes.state_rights(asset, stated, at=now)
    )
    data = {"project": assets.project.id, "training": training, **decided.to_dict()}
    if decided.left_out:
        entry, objection = decided.left_out[0]
        refusal = Refusal(
            "rights_forbid",
            f"{entry.title}: {objection.text}; nothing was written",
            "import the art again when it was given again",
        )
        return Result(
            data=data,
            reasoning=f"{entry.title} stays withdrawn",
            suggestions=[refusal.hint or ""],
            dry_run=workspace.dry_run,
            refusal=refusal,
        )
    return Result(
        data=data,
        reasoning=_stated(stated, len(decided.changed), assets.project.id),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def _ended(chosen: Chosen, now: str) -> Chosen:
    found, looked_at = [], 0
    for looked_at, (_, entry) in enumerate(chosen, start=1):  # noqa: B007 - counts
        back = taken_back(entry.asset, now)
        if back is not None and back.code == "expired":
            found.append(entry.asset.id)
    if not found:
        raise SelectionEmptyError(
            f"no licence of {chosen.assets.project.id} has ended: {counted(looked_at)} looked at",
            hint="lora asset rights --expires DATE says when one does",
        )
    return Chosen(chosen.assets, AssetFilter(ids=tuple(found)))


def _day(text: str) -> str:
    if text in ("", "never"):
        return text
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ArgumentInvalidError(
            f"expires must be a day, got {text!r}", hint="--expires 2027-12-31, or never"
        ) from error


def _stated(stated: Statement, count: int, project_id: str) -> str:
    if stated.training:
        return f"Training rights of {counted(count)} of {project_id} are {stated.training}"
    return f"Stated the rights in {counted(count)} of {project_id}"
