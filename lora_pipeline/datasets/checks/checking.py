"""The whole check of a set of images: measure what is new, then judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from lora_pipeline.datasets.captions.lint import RULES as CAPTION_RULES
from lora_pipeline.datasets.captions.lint import Subject, lint_captions
from lora_pipeline.datasets.checks.findings import CheckFinding, Picture, found
from lora_pipeline.datasets.checks.measuring import Measured, Wanted, measure_images
from lora_pipeline.datasets.checks.single import facts_of, judge
from lora_pipeline.datasets.checks.thresholds import Profile, Thresholds
from lora_pipeline.datasets.checks.together import (
    judge_balance,
    judge_corners,
    judge_count,
    judge_same,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.workspace.root import Workspace

_ORDER = {"error": 0, "not_proven": 1, "warning": 2, "info": 3}


class Checked(msgspec.Struct, frozen=True):
    """What a check came to.

    Attributes:
        findings: The worst first; those of one code stand together.
        decoded: Images that were decoded for it; the others were known.
        unmeasured: Images that could not be.
    """

    findings: tuple[CheckFinding, ...]
    decoded: int
    unmeasured: int


def check_pictures(
    workspace: Workspace,
    pictures: Sequence[Picture],
    profile: Profile,
    limits: Thresholds,
    *,
    trained_on: int,
) -> Checked:
    """Return what is wrong with images.

    Args:
        workspace: Where they are.
        pictures: The images.
        profile: What they are for.
        limits: Where the lines are drawn.
        trained_on: How many of them training will see.
    """
    measured = measure_images(workspace, [Wanted(one.sha256, one.path) for one in pictures])
    seen = [one for one in pictures if one.sha256 in measured.place]
    rows = measured.rows[[measured.place[one.sha256] for one in seen]]
    findings = list(_unmeasured(pictures, measured))
    for picture, facts in zip(seen, facts_of(rows), strict=True):
        findings += judge(picture, facts, profile, limits)

    def told(done: int, steps: int) -> None:
        workspace.events(Event("progress", "compare", step=done, total=steps, unit="steps"))

    findings += judge_same(seen, rows, profile, told=told)
    findings += judge_corners(seen, rows)
    findings += judge_balance(pictures, profile, limits)
    findings += judge_count(trained_on, profile)
    findings += _captions(pictures, profile)
    findings.sort(key=lambda one: (_ORDER[one.severity], one.code))
    return Checked(tuple(findings), measured.decoded, len(measured.unmeasured))


def _unmeasured(pictures: Sequence[Picture], measured: Measured) -> Iterator[CheckFinding]:
    for picture in pictures:
        why = measured.unmeasured.get(picture.sha256)
        if why is not None:
            yield found(why.code, why.message, [picture])


def _captions(pictures: Sequence[Picture], profile: Profile) -> Iterator[CheckFinding]:
    captioned = {one.asset_id: one for one in pictures if one.caption}
    subjects = [Subject(one.asset_id, one.caption, one.asset_id) for one in captioned.values()]
    for one in lint_captions(subjects, trigger_word=profile.trigger_word):
        picture = captioned[one.where]
        yield CheckFinding(
            code=one.code,
            severity=CAPTION_RULES[one.code].severity,
            message=one.message,
            pictures=(picture,),
            fix=one.fix,
            caption=picture.caption,
        )
