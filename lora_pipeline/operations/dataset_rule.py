"""From the options of ``dataset build`` to the rule of a dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from msgspec import UNSET
from msgspec.structs import replace

from lora_pipeline.catalog.records import Checkpoint, VersionStatus
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.datasets.captions import unsafe_character
from lora_pipeline.datasets.filters import ISSUE_PREFIX
from lora_pipeline.datasets.records import CaptionStrategy, Selection
from lora_pipeline.datasets.rules import DatasetRule
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean, require_slug, require_tag, slugify
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_TRIGGER = re.compile(r"[^\s,]{2,50}")
_SELECTING = (
    "status", "asset_types", "tags", "tag_any", "not_tags", "styles", "scenarios", "checkpoint",
    "min_rating", "spec_tags",
)  # fmt: skip


@dataclass(frozen=True)
class RuleOptions:
    """What was asked for; None, or an empty list, means that nothing was said about it."""

    status: str | None = None
    asset_types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tag_any: bool | None = None
    not_tags: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    checkpoint: str | None = None
    min_rating: int | None = None
    spec_tags: bool | None = None
    caption: str | None = None
    with_tokens: bool | None = None
    trigger_word: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    background: str | None = None
    held_out: float | None = None

    @property
    def selects(self) -> bool:
        """Whether anything was said about which images are wanted."""
        return any(getattr(self, name) not in (None, ()) for name in _SELECTING)


def rule_from(
    options: RuleOptions, stored: DatasetRule | None, vocabulary: Vocabulary
) -> DatasetRule:
    """Return the rule that options make, on top of the one that a manifest was built by.

    A selection is said as a whole: with any of its options the stored one counts no more, so
    that no filter of yesterday stays without being seen. All other settings are said one by
    one, and stay as they were where nothing is said.

    Raises:
        ArgumentInvalidError: When an option breaks its rule.
    """
    rule = stored or DatasetRule()
    return DatasetRule(
        selection=_selection(options, vocabulary) if options.selects else rule.selection,
        captions=replace(
            rule.captions,
            **_given(
                strategy=_one_of("caption", options.caption, get_args(CaptionStrategy)),
                include_prompt_tokens=options.with_tokens,
                checkpoint_id=options.checkpoint,
                trigger_word=_trigger(options.trigger_word),
                prefix=_line("prefix", options.prefix),
                suffix=_line("suffix", options.suffix),
            ),
        ),
        normalization=replace(
            rule.normalization, **_given(background=_background(options.background))
        ),
        split=replace(rule.split, **_given(held_out=_share(options.held_out))),
    )


def for_projects(rule: DatasetRule, scope: Scope, project: str | None) -> DatasetRule:
    """Return the rule with the project that a shared manifest takes its images from."""
    selection = rule.selection
    if scope.project_id:
        selection = replace(selection, projects=UNSET)
    elif project or selection.projects is UNSET:
        selection = replace(selection, projects=(project,) if project else ())
    return DatasetRule(selection, rule.captions, rule.normalization, rule.split)


def derived_id(selection: Selection) -> str:
    """Return the id of a dataset that was given none: from what it selects."""
    words = [*selection.asset_types, *(tag.partition(":")[2] for tag in selection.tags)]
    words += [*selection.styles, *selection.scenarios]
    words += [f"not_{tag.partition(':')[2]}" for tag in selection.not_tags]
    if selection.status != "approved":
        words.append(selection.status)
    return slugify("_".join(dict.fromkeys(words)))[:63].rstrip("_") or "all"


def require_checkpoint(workspace: Workspace, scope: Scope, checkpoint_id: str | None) -> None:
    """Check that a checkpoint that was named exists.

    Raises:
        RecordNotFoundError: When it does not; names a near one.
    """
    if checkpoint_id:
        workspace.records.find(Checkpoint, workspace.visible(scope), checkpoint_id)


def _selection(options: RuleOptions, vocabulary: Vocabulary) -> Selection:
    status = _one_of("status", options.status, get_args(VersionStatus))
    return Selection(
        **_given(status=status),
        asset_types=_slugs("asset type", options.asset_types),
        checkpoints=(options.checkpoint,) if options.checkpoint else (),
        tags=_tags(options.tags, vocabulary, wanted=True),
        tag_mode="any" if options.tag_any else "all",
        not_tags=_tags(options.not_tags, vocabulary, wanted=False),
        styles=tuple(vocabulary.style(one) for one in _slugs("style", options.styles)),
        scenarios=tuple(vocabulary.scenario(one) for one in _slugs("scenario", options.scenarios)),
        include_spec_tags=options.spec_tags is not False,
        min_rating=_rating(options.min_rating),
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _one_of(what: str, value: str | None, known: Sequence[str]) -> str | None:
    if value is None or value in known:
        return value
    near = did_you_mean(value, known)
    raise ArgumentInvalidError(
        f"{what} must be one of {', '.join(known)}, got {value!r}",
        hint=f"did you mean {near}?" if near else None,
    )


def _slugs(what: str, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(require_slug(value, what) for value in values))


def _tags(values: tuple[str, ...], vocabulary: Vocabulary, *, wanted: bool) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(require_tag(vocabulary.tag(value)) for value in values))
    issue = next((tag for tag in tags if tag.startswith(ISSUE_PREFIX)), None)
    if wanted and issue:
        raise ArgumentInvalidError(
            f"images tagged {issue} are never trained on",
            hint=f"lora asset list --tag {issue} shows them",
        )
    return tags


def _rating(value: int | None) -> int:
    if value is None or 0 <= value <= 5:
        return value or 0
    raise ArgumentInvalidError(f"min rating must be 0 to 5, got {value}")


def _share(value: float | None) -> float | None:
    if value is None or 0 <= value < 1:
        return value
    raise ArgumentInvalidError(
        f"held-out share must be at least 0 and less than 1, got {value:g}",
        hint="0.1 holds out about one image in ten",
    )


def _background(value: str | None) -> str | None:
    if value is None:
        return None
    if _COLOUR.fullmatch(value):
        return value.upper()
    raise ArgumentInvalidError(f"background must be a colour #RRGGBB, got {value!r}")


def _trigger(value: str | None) -> str | None:
    if not value:
        return value
    if _TRIGGER.fullmatch(value) and unsafe_character(value) is None:
        return value
    raise ArgumentInvalidError(
        f"trigger word must be 2 to 50 characters without spaces and commas, got {value!r}"
    )


def _line(what: str, value: str | None) -> str | None:
    unsafe = unsafe_character(value) if value else None
    if unsafe:
        raise ArgumentInvalidError(f"{what} holds {unsafe}, which no caption may hold")
    return value
