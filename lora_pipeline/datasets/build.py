"""From records and bytes to the content of a manifest. Reads, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_pipeline.datasets.caption_words import Words
from lora_pipeline.datasets.captions import Caption, Tokens, caption_of
from lora_pipeline.datasets.limits import Drawn, within_limits
from lora_pipeline.datasets.manifest import content_hash, in_order, summarise
from lora_pipeline.datasets.picks import Reason
from lora_pipeline.datasets.proof import ProvenPick, prove_picks
from lora_pipeline.datasets.records import Item, ProvenanceSummary
from lora_pipeline.datasets.rules import DatasetRule
from lora_pipeline.datasets.selection import LeftOut, Step, duplicates, require_some, select
from lora_pipeline.datasets.sources import read_candidates, source_projects
from lora_pipeline.datasets.split import split_of
from lora_pipeline.foundation.errors import CaptionInvalidError
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace


@dataclass(frozen=True)
class Draft:
    """What a manifest would hold.

    Attributes:
        items: The images, in the order of the file.
        summary: Who made them and under which licences they stand.
        content_hash: Digest of what training sees.
        captions: Each caption with its trace, by asset id.
        left_out: Every asset that is not in, with its reason.
        steps: What each filter did, in order.
        considered: Number of assets looked at.
        findings: What is wrong with the files of assets that were left out.
    """

    items: tuple[Item, ...]
    summary: ProvenanceSummary
    content_hash: str
    captions: Mapping[str, Caption]
    left_out: tuple[LeftOut, ...]
    steps: tuple[Step, ...]
    considered: int
    findings: tuple[Finding, ...]

    @property
    def barred(self) -> list[LeftOut]:
        """The assets that match, but may not or cannot be used."""
        return [one for one in self.left_out if one.matches]

    @property
    def matching(self) -> int:
        """Number of assets that are what was asked for."""
        return len(self.items) + len(self.barred)


@dataclass(frozen=True)
class _Captioned:
    proven: ProvenPick
    caption: Caption

    @property
    def asset_id(self) -> str:
        return self.proven.pick.asset.id


def draft_dataset(workspace: Workspace, scope: Scope, rule: DatasetRule) -> Draft:
    """Return what a manifest of that rule would hold.

    Raises:
        SelectionEmptyError: When a filter leaves nothing over; names it.
        CaptionInvalidError: When a caption would be empty or hold what it may not.
        RecordError: At the first record that is not valid.
    """
    projects = source_projects(workspace, scope, rule.selection)
    start = ", ".join(projects) or "the workspace"
    candidates = read_candidates(workspace, projects)
    selected = select(candidates, rule.selection)
    require_some(selected.steps or [Step("", 0, 0)], start=start)
    proven = prove_picks(workspace, selected.picks)
    steps = [*selected.steps]
    if proven.left_out:
        hint = proven.findings[0].fix
        steps.append(Step("files as imported", len(selected.picks), len(proven.picks), hint))
    require_some(steps, start=start)
    kept, repeats = _without_duplicates(_captioned(workspace, proven.picks, rule))
    kept, beyond, limits = _within_limits(kept, rule)
    require_some([*steps, *limits], start=start)
    items = in_order(_item(one, rule) for one in kept)
    return Draft(
        items=items,
        summary=summarise([one.proven.pick.asset for one in kept], items),
        content_hash=content_hash(items, rule.normalization, rule.split),
        captions={one.asset_id: one.caption for one in kept},
        left_out=(*selected.left_out, *proven.left_out, *repeats, *beyond),
        steps=(*steps, *limits),
        considered=len(candidates),
        findings=proven.findings,
    )


def _captioned(
    workspace: Workspace, picks: Sequence[ProvenPick], rule: DatasetRule
) -> list[_Captioned]:
    words = Words(workspace)
    captioned: list[_Captioned] = []
    errors: list[CaptionInvalidError] = []
    for proven in picks:
        spec = proven.pick.spec
        checkpoint = rule.captions.checkpoint_id or spec.checkpoint_id
        with_tokens = rule.captions.include_prompt_tokens
        tokens = words.tokens(proven.pick.asset.project_id, checkpoint) if with_tokens else Tokens()
        try:
            caption = caption_of(proven.pick, rule.captions, tokens)
        except CaptionInvalidError as error:
            errors.append(error)
            continue
        captioned.append(_Captioned(proven, caption))
    if errors:
        raise _of_all(errors)
    return captioned


def _of_all(errors: Sequence[CaptionInvalidError]) -> CaptionInvalidError:
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return CaptionInvalidError(
        f"{first.message}{more}",
        hint=first.hint,
        violations=[violation for error in errors for violation in error.violations],
    )


def _without_duplicates(
    captioned: Sequence[_Captioned],
) -> tuple[list[_Captioned], list[LeftOut]]:
    repeats = duplicates(captioned, _duplicate_key)
    kept = [one for index, one in enumerate(captioned) if index not in repeats]
    left = []
    for index, kept_index in sorted(repeats.items()):
        pick, original = captioned[index].proven.pick, captioned[kept_index].proven.pick
        text = f"duplicate of {original.spec.title} ({original.asset.id})"
        reason = Reason("duplicate", text, "exact duplicate")
        left.append(LeftOut(pick.asset.id, pick.spec.title, reason, matches=True))
    return kept, left


def _within_limits(
    captioned: Sequence[_Captioned], rule: DatasetRule
) -> tuple[list[_Captioned], list[LeftOut], tuple[Step, ...]]:
    picks = [one.proven.pick for one in captioned]
    limited = within_limits(
        [
            Drawn(pick.asset.id, one.proven.identity.sha256, pick.tags, pick.variant.rating)
            for one, pick in zip(captioned, picks, strict=True)
        ],
        rule.selection,
    )
    left = [
        LeftOut(picks[index].asset.id, picks[index].spec.title, reason, matches=True)
        for index, reason in sorted(limited.left_out.items())
    ]
    return [captioned[index] for index in limited.kept], left, limited.steps


def _duplicate_key(one: _Captioned) -> tuple[str, ...]:
    # Content decides which of several is kept, the better described one first, so that a
    # workspace that imported the same files in another order keeps the same. Only between
    # equals the id decides.
    pick = one.proven.pick
    return (
        one.proven.identity.sha256,
        f"{10_000 - len(pick.tags):05}",
        one.caption.text,
        "\n".join(pick.tags),
        pick.license,
        pick.asset.id,
    )


def _item(one: _Captioned, rule: DatasetRule) -> Item:
    pick, identity = one.proven.pick, one.proven.identity
    return Item(
        asset_id=pick.asset.id,
        asset_version_id=pick.version.id,
        variant_id=pick.variant.id,
        path=pick.path,
        caption=one.caption.text,
        tags=pick.tags,
        sha256=identity.sha256,
        xxh3=identity.xxh3,
        bytes=identity.bytes,
        width=identity.width,
        height=identity.height,
        license=pick.license,
        split=split_of(identity.sha256, rule.split),
    )
