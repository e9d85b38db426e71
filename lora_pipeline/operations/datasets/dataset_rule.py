"""From the options of ``dataset build`` to the rule of a dataset."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from lora_pipeline.catalog.records import Checkpoint, VersionStatus
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.datasets.captions.templates import (
    parse_template,
    usual_form,
)
from lora_pipeline.datasets.records import Alpha, CaptionRule, CaptionStrategy, Selection
from lora_pipeline.datasets.rules import DatasetRule
from lora_pipeline.datasets.split import split_rule
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import slugify
from lora_pipeline.operations.datasets import dataset_rule_values as values
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_SELECTING = (
    "status", "asset_ids", "asset_types", "tags", "tag_any", "not_tags", "styles", "scenarios",
    "checkpoints", "licenses", "since", "min_rating", "spec_tags",
)  # fmt: skip


class RuleOptions(msgspec.Struct, frozen=True):
    """What was asked for; None, or an empty list, means that nothing was said about it."""

    status: str | None = None
    asset_ids: tuple[str, ...] = ()
    asset_types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tag_any: bool | None = None
    not_tags: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    since: str | None = None
    min_rating: int | None = None
    spec_tags: bool | None = None
    limit: int | None = None
    limit_each: int | None = None
    balance: str | None = None
    seed: int | None = None
    caption: str | None = None
    with_tokens: bool | None = None
    trigger_word: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    template: str | None = None
    background: str | None = None
    alpha: str | None = None
    held_out: float | None = None

    @property
    def selects(self) -> bool:
        """Whether anything was said about which images are wanted."""
        return any(getattr(self, name) not in (None, ()) for name in _SELECTING)


def rule_from(
    options: RuleOptions,
    stored: DatasetRule | None,
    vocabulary: Vocabulary,
    *,
    architecture: str = "",
) -> DatasetRule:
    """Return the rule that options make, on top of the one that a manifest was built by.

    A selection is said as a whole: with any of its options the stored one counts no more, so
    that no filter of yesterday stays without being seen. All other settings are said one by
    one, and stay as they were where nothing is said; limits are among them.

    Args:
        options: What was said.
        stored: The rule that the manifest was built by, or None for a new one.
        vocabulary: The words in force.
        architecture: Of the one checkpoint that was named, or empty; a new manifest's captions
            have the form that models of it were trained on, unless one was said.

    Raises:
        ArgumentInvalidError: When an option breaks its rule.
        CaptionInvalidError: When the caption template is none.
    """
    rule = stored or DatasetRule()
    selection = _selection(options, vocabulary) if options.selects else rule.selection
    form = options.template
    if form is None and stored is None:
        form = usual_form(architecture)
    return DatasetRule(
        selection=_with_limits(selection, rule.selection, options),
        captions=_fitting(
            replace(
                rule.captions,
                **_given(
                    strategy=values.one_of("caption", options.caption, get_args(CaptionStrategy)),
                    include_prompt_tokens=options.with_tokens,
                    checkpoint_id=_words_of(options.checkpoints),
                    trigger_word=values.trigger(options.trigger_word),
                    prefix=values.line("prefix", options.prefix),
                    suffix=values.line("suffix", options.suffix),
                    template=values.template(form),
                ),
            )
        ),
        normalization=replace(
            rule.normalization,
            **_given(
                background=values.background(options.background),
                alpha=values.one_of("alpha", options.alpha, get_args(Alpha)),
            ),
        ),
        split=split_rule(rule.split, values.share(options.held_out)),
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
    words += [] if selection.licenses is UNSET else [slugify(one) for one in selection.licenses]
    words += [] if selection.created_since is UNSET else ["since", selection.created_since[:10]]
    words += [] if selection.asset_ids is UNSET else ["listed"]
    words += [] if selection.balance is UNSET else ["balanced", selection.balance]
    words += [] if selection.limit is UNSET else [str(selection.limit)]
    if selection.status != "approved":
        words.append(selection.status)
    return slugify("_".join(dict.fromkeys(words)))[:63].rstrip("_") or "all"


def architecture_of(workspace: Workspace, scope: Scope, checkpoint_ids: tuple[str, ...]) -> str:
    """Return the architecture that captions are made for: of the one checkpoint, else empty.

    Raises:
        RecordNotFoundError: When a checkpoint does not exist; names a near one.
    """
    found = [
        workspace.records.find(Checkpoint, workspace.visible(scope), checkpoint_id).record
        for checkpoint_id in checkpoint_ids
    ]
    return found[0].architecture if len(found) == 1 else ""


def _selection(options: RuleOptions, vocabulary: Vocabulary) -> Selection:
    status = values.one_of("status", options.status, get_args(VersionStatus))
    return Selection(
        **_given(status=status),
        asset_types=values.slugs("asset type", options.asset_types),
        checkpoints=values.slugs("checkpoint", options.checkpoints),
        tags=values.tags(options.tags, vocabulary, wanted=True),
        tag_mode="any" if options.tag_any else "all",
        not_tags=values.tags(options.not_tags, vocabulary, wanted=False),
        styles=tuple(vocabulary.style(one) for one in values.slugs("style", options.styles)),
        scenarios=tuple(
            vocabulary.scenario(one) for one in values.slugs("scenario", options.scenarios)
        ),
        include_spec_tags=options.spec_tags is not False,
        min_rating=values.rating(options.min_rating),
        asset_ids=options.asset_ids or UNSET,
        licenses=values.licenses(options.licenses),
        created_since=values.moment(options.since),
    )


def _with_limits(chosen: Selection, stored: Selection, options: RuleOptions) -> Selection:
    limit = values.count("limit", options.limit, stored.limit)
    balance = values.group(options.balance, stored.balance)
    each = values.count("limit-each", options.limit_each, stored.limit_each)
    if balance is UNSET:
        if options.limit_each:
            raise ArgumentInvalidError(
                "limit-each says how many images each tag of a group may have; of which group?",
                hint="--balance GROUP --limit-each N",
            )
        each = UNSET  # it says how far to balance, and nothing is balanced
    drawn = limit is not UNSET or balance is not UNSET
    if options.seed is not None and not 0 <= options.seed <= values.LARGEST:
        raise ArgumentInvalidError(f"seed must be 0 to {values.LARGEST}, got {options.seed}")
    if options.seed is not None and not drawn:
        raise ArgumentInvalidError(
            "a seed is for the draw, and nothing is drawn", hint="--limit N or --balance GROUP"
        )
    before = 0 if stored.seed is UNSET else stored.seed
    seed = (before if options.seed is None else options.seed) if drawn else UNSET
    return replace(chosen, limit=limit, limit_each=each, balance=balance, seed=seed)


def _words_of(checkpoints: tuple[str, ...]) -> str | None:
    """Return the checkpoint whose words captions take; of several each spec's own counts."""
    if not checkpoints:
        return None
    return checkpoints[0] if len(checkpoints) == 1 else ""


def _fitting(captions: CaptionRule) -> CaptionRule:
    """Return a caption rule whose template has no slot that can never be filled."""
    if captions.template is UNSET:
        return captions
    template = parse_template(captions.template)
    needed = {
        "title": (captions.strategy == "tags+spec+title", "--caption tags+spec+title"),
        "tokens": (captions.include_prompt_tokens, "--with-tokens"),
    }
    for slot in template.slots(required=True):
        filled, way = needed.get(slot.name, (True, ""))
        if not filled:
            raise ArgumentInvalidError(
                f"the caption template says {{{slot.name}}}, and captions hold none",
                hint=f"{way}, or [{{{slot.name}}}] for where there is one",
            )
    return captions


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
