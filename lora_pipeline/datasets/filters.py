"""The filters of a selection rule, each with the reason that it gives. Decides only.

They stand in two groups. What was *asked for* (asset type, status, tags, …) says which assets
match. What *bars* an asset that matches (rights, issues, rejected variants) is no wish but a
rule of the house, and is always reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET

from lora_pipeline.catalog.records import Spec
from lora_pipeline.datasets.picks import Candidate, Pick, Reason, pick_version
from lora_pipeline.datasets.records import Selection
from lora_pipeline.foundation.ids import did_you_mean

ISSUE_PREFIX = "issue:"

T = TypeVar("T")


class Filter(msgspec.Struct, Generic[T], frozen=True):
    """One filter.

    Attributes:
        name: The filter, as people say it: ``status approved``.
        asked: Whether somebody asked for it; else it bars what matches.
        judge: Why a thing is left out, or None when it stays.
        hint: What may help when nothing is left of these things.
    """

    name: str
    asked: bool
    judge: Callable[[T], Reason | None]
    hint: Callable[[Sequence[T]], str | None] = lambda _: None


def _offer(wanted: Sequence[str], offered: Iterable[str]) -> str | None:
    there = sorted({word for word in offered if word})
    for word in wanted:
        if word in there:
            continue
        # A tag of the same group is nearer than one that is only spelled alike.
        group, colon, value = word.partition(":")
        values = [one.partition(":")[2] for one in there if colon and one.startswith(f"{group}:")]
        near = did_you_mean(value, values) if values else did_you_mean(word, there)
        if near:
            return f"did you mean {group}:{near}?" if values else f"did you mean {near}?"
        if values:
            return "there are: " + ", ".join(f"{group}:{value}" for value in values[:8])
    return "there are: " + ", ".join(there[:8]) if there else None


def candidate_filters(rule: Selection) -> list[Filter[Candidate]]:
    """Return the filters that need no image: ids, type, checkpoint, words, licence, status."""
    return [
        *_ids(rule),
        Filter("a spec", asked=False, judge=_spec_missing),
        *_one_of("asset type", rule.asset_types, lambda spec: spec.asset_type),
        *_checkpoint(rule.checkpoints),
        *_one_of("style", rule.styles, lambda spec: spec.style),
        *_one_of("scenario", rule.scenarios, lambda spec: spec.scenario),
        *_licensed(rule),
        Filter(
            f"status {rule.status}",
            asked=True,
            judge=lambda candidate: _status(candidate, rule.status),
            hint=lambda items: _status_hint(items, rule.status),
        ),
    ]


def pick_filters(rule: Selection) -> list[Filter[Pick]]:
    """Return the filters that look at the image: age, tags, rating, issues, rights."""
    filters: list[Filter[Pick]] = [*_made_since(rule)]
    if rule.tags:
        joined = (" or " if rule.tag_mode == "any" else " and ").join(rule.tags)
        filters.append(
            Filter(
                f"tag {joined}",
                asked=True,
                judge=lambda pick: _tags(pick, rule),
                hint=lambda picks: _offer(rule.tags, (tag for one in picks for tag in one.tags)),
            )
        )
    if rule.not_tags:
        filters.append(
            Filter(
                f"no tag {' or '.join(rule.not_tags)}",
                asked=True,
                judge=lambda pick: _not_tags(pick, rule.not_tags),
            )
        )
    if rule.min_rating:
        filters.append(
            Filter(
                f"rating {rule.min_rating} or more",
                asked=True,
                judge=lambda pick: _rating(pick, rule.min_rating),
            )
        )
    return [
        *filters,
        Filter("no rejected variant", asked=False, judge=_rejected),
        Filter("no issue tag", asked=False, judge=_issue),
        Filter(
            "training rights",
            asked=False,
            judge=lambda pick: pick.barred,
            hint=lambda picks: f"lora asset show {picks[0].asset.id}",
        ),
    ]


def _one_of(
    word: str, wanted: tuple[str, ...], value: Callable[[Spec], str]
) -> list[Filter[Candidate]]:
    if not wanted:
        return []

    def judge(candidate: Candidate) -> Reason | None:
        found = value(candidate.spec) if candidate.spec else ""
        if found in wanted:
            return None
        code = f"other_{word.replace(' ', '_')}"
        return Reason(code, f"{word} is {found or 'not set'}", f"of another {word}")

    return [
        Filter(
            f"{word} {' or '.join(wanted)}",
            asked=True,
            judge=judge,
            hint=lambda items: _offer(wanted, (value(one.spec) for one in items if one.spec)),
        )
    ]


def _checkpoint(wanted: tuple[str, ...]) -> list[Filter[Candidate]]:
    if not wanted:
        return []

    def judge(candidate: Candidate) -> Reason | None:
        # Art that was not generated names no checkpoint; it may be used with any.
        found = candidate.spec.checkpoint_id if candidate.spec else ""
        if not found or found in wanted:
            return None
        return Reason("other_checkpoint", f"made with {found}", "made with another checkpoint")

    return [
        Filter(
            f"checkpoint {' or '.join(wanted)}",
            asked=True,
            judge=judge,
            hint=lambda items: _offer(
                wanted, (one.spec.checkpoint_id for one in items if one.spec)
            ),
        )
    ]


def _ids(rule: Selection) -> list[Filter[Candidate]]:
    if rule.asset_ids is UNSET:
        return []
    wanted = frozenset(rule.asset_ids)
    reason = Reason("not_listed", "its id is not in the list of the rule", "not in the list of ids")
    return [
        Filter(
            f"{len(wanted)} ids" if len(wanted) > 1 else "1 id",
            asked=True,
            judge=lambda candidate: None if candidate.asset.id in wanted else reason,
            hint=lambda _: "lora asset list shows ids",
        )
    ]


def _licensed(rule: Selection) -> list[Filter[Candidate]]:
    if rule.licenses is UNSET:
        return []
    wanted = rule.licenses
    folded = frozenset(one.casefold() for one in wanted)  # SPDX ids differ in more than case

    def judge(candidate: Candidate) -> Reason | None:
        found = candidate.license
        if found.casefold() in folded:
            return None
        text = f"its licence is {found}" if found else "no licence is recorded"
        return Reason("other_license", text, "under another licence")

    return [
        Filter(
            f"licence {' or '.join(wanted)}",
            asked=True,
            judge=judge,
            hint=lambda items: _offer(wanted, (one.license for one in items)),
        )
    ]


def _made_since(rule: Selection) -> list[Filter[Pick]]:
    if rule.created_since is UNSET:
        return []
    start, since = rule.created_since, _moment(rule.created_since)

    def judge(pick: Pick) -> Reason | None:
        made = pick.version.created_at
        if _moment(made) >= since:
            return None
        return Reason(
            "too_old", f"made on {made[:10]}, before {start[:10]}", f"made before {start[:10]}"
        )

    return [
        Filter(
            f"made since {start[:10]}",
            asked=True,
            judge=judge,
            hint=lambda picks: (
                f"the newest was made on {max(p.version.created_at for p in picks)[:10]}"
            ),
        )
    ]


def _moment(time: str) -> tuple[str, str]:
    # Times of records are UTC with Z; only their fractions of a second differ in length.
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return whole, fraction.rstrip("0")


def _spec_missing(candidate: Candidate) -> Reason | None:
    if candidate.spec is not None:
        return None
    text = f"its spec {candidate.asset.spec_id} does not exist"
    return Reason("spec_missing", text, "without a spec")


def _status(candidate: Candidate, status: str) -> Reason | None:
    if pick_version(candidate.asset, status) is not None:
        return None
    last = candidate.asset.versions[-1].status
    return Reason("other_status", f"status is {last}, not {status}", f"{last}, not {status}")


def _status_hint(candidates: Sequence[Candidate], status: str) -> str | None:
    waiting = sum(1 for one in candidates if one.asset.versions[-1].status == "review")
    if status == "approved" and waiting:
        return f"lora asset approve --status review, when somebody looked at them ({waiting} wait)"
    return _offer((), (version.status for one in candidates for version in one.asset.versions))


def _tags(pick: Pick, rule: Selection) -> Reason | None:
    missing = [tag for tag in rule.tags if tag not in pick.tags]
    enough = len(missing) < len(rule.tags) if rule.tag_mode == "any" else not missing
    if enough:
        return None
    return Reason("tag_missing", f"not tagged {' or '.join(missing)}", "without the tags")


def _not_tags(pick: Pick, not_tags: tuple[str, ...]) -> Reason | None:
    found = [tag for tag in not_tags if tag in pick.tags]
    if not found:
        return None
    return Reason("tag_excluded", f"tagged {', '.join(found)}", f"tagged {found[0]}")


def _rating(pick: Pick, lowest: int) -> Reason | None:
    if pick.variant.rating >= lowest:
        return None
    return Reason(
        "rating_low", f"rated {pick.variant.rating}, less than {lowest}", f"rated below {lowest}"
    )


def _rejected(pick: Pick) -> Reason | None:
    if pick.variant.status != "rejected":
        return None
    return Reason("variant_rejected", "all its variants are rejected", "rejected")


def _issue(pick: Pick) -> Reason | None:
    # The spec's tags count here even where they were left out of the selection.
    tags = dict.fromkeys((*pick.tags, *pick.spec.tags))
    found = [tag for tag in tags if tag.startswith(ISSUE_PREFIX)]
    if not found:
        return None
    return Reason("issue_tag", f"tagged {', '.join(found)}", f"tagged {found[0]}")
