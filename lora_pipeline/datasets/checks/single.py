"""What is wrong with one image by itself. Decides only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from lora_pipeline.datasets.checks.findings import CheckFinding, Picture, found
from lora_pipeline.datasets.checks.measure_cache import Rows
from lora_pipeline.datasets.checks.thresholds import Profile, Thresholds
from lora_pipeline.foundation.findings import Severity

_NOTHING_SEEN = 0.001  # share of the pixels
_SAME_COLOUR = 3  # levels within which everything is one colour


class Facts(msgspec.Struct, frozen=True):
    """The measures of one image, as ``ImageMeasures`` has them."""

    width: int
    height: int
    location: bool
    odd_colours: bool
    alpha_used: bool
    grey: bool
    jpeg_quality: int
    enlarged: int
    darkest: Sequence[int]
    lightest: Sequence[int]
    border: Sequence[int]
    visible: float
    edge_width: float
    blockiness: float

    @property
    def shorter(self) -> int:
        """Its shorter side in pixels."""
        return min(self.width, self.height)


def facts_of(rows: Rows) -> list[Facts]:
    """Return the measures of every row."""
    columns = [rows[name].tolist() for name in Facts.__struct_fields__]
    return [Facts(*values) for values in zip(*columns, strict=True)]


def judge(
    picture: Picture, facts: Facts, profile: Profile, limits: Thresholds
) -> Iterator[CheckFinding]:
    """Yield what is wrong with an image. One in which nothing is to be seen has no other fault."""
    empty = _empty(picture, facts, profile)
    if empty:
        yield empty
        return
    yield from _size(picture, facts, profile, limits)
    yield from _shape(picture, facts, limits)
    yield from _sharpness(picture, facts, profile, limits)
    yield from _compression(picture, facts, profile, limits)
    if any(facts.border):
        yield found("border", _border_text(facts.border), [picture])
    if facts.odd_colours:
        yield found("odd_colours", "its colour profile is missing or damaged", [picture])
    if facts.location:
        yield found("location", "its EXIF data says where it was taken", [picture])
    if facts.grey:
        yield found("grey", "it has no colours", [picture])


def _empty(picture: Picture, facts: Facts, profile: Profile) -> CheckFinding | None:
    if facts.visible < _NOTHING_SEEN:
        message = f"{facts.visible:.2%} of its pixels are seen"
        limit = _NOTHING_SEEN
        return found("transparent", message, [picture], measured=facts.visible, limit=limit)
    spread = [high - low for low, high in zip(facts.darkest, facts.lightest, strict=True)]
    if max(spread) > _SAME_COLOUR:
        return None
    colour = "#" + "".join(f"{level:02X}" for level in facts.lightest)
    if not facts.alpha_used:
        return found("one_colour", f"every pixel is {colour}", [picture])
    ground = bytes.fromhex(profile.background.removeprefix("#"))
    if max(abs(a - b) for a, b in zip(facts.lightest, ground, strict=True)) > 2 * _SAME_COLOUR:
        return None  # a silhouette: one colour is all that it needs
    message = f"it is {colour} on {profile.background}: training sees nothing of it"
    return found("one_colour", message, [picture])


def _size(
    picture: Picture, facts: Facts, profile: Profile, limits: Thresholds
) -> Iterator[CheckFinding]:
    wanted = round(profile.native * limits.small_warning)
    if facts.shorter >= wanted:
        return
    needed = round(profile.native * limits.small_error)
    message = f"{_size_text(facts)}, the shorter side should have {wanted}"
    severity: Severity = "error" if facts.shorter < needed else "warning"
    yield found(
        "small", message, [picture], severity=severity, measured=facts.shorter, limit=wanted
    )


def _shape(picture: Picture, facts: Facts, limits: Thresholds) -> Iterator[CheckFinding]:
    ratio = max(facts.width, facts.height) / max(1, facts.shorter)
    if ratio <= limits.aspect_ratio:
        return
    severity: Severity = "error" if ratio > limits.refused_aspect_ratio else "warning"
    message = f"{_size_text(facts)} is {ratio:.1f} to 1"
    limit = limits.aspect_ratio
    yield found("extreme_shape", message, [picture], severity=severity, measured=ratio, limit=limit)


def _sharpness(
    picture: Picture, facts: Facts, profile: Profile, limits: Thresholds
) -> Iterator[CheckFinding]:
    wanted = profile.native or facts.shorter
    if facts.enlarged > 1:
        real = facts.shorter // facts.enlarged
        if real < wanted:
            message = f"enlarged {facts.enlarged} times from {real} px"
            yield found("enlarged", message, [picture], measured=real, limit=wanted)
        return
    # A picture that is larger than training needs is scaled down, and its edges with it.
    width = facts.edge_width * min(1.0, wanted / max(1, facts.shorter))
    if width > limits.edge_width:
        message = f"its sharpest edges are {width:.1f} px wide"
        yield found("blurred", message, [picture], measured=width, limit=limits.edge_width)


def _compression(
    picture: Picture, facts: Facts, profile: Profile, limits: Thresholds
) -> Iterator[CheckFinding]:
    if profile.native and facts.shorter >= 2 * profile.native:
        return  # scaled down by two or more, no block is left of it
    if 0 < facts.jpeg_quality < limits.jpeg_quality:
        yield found("jpeg_artefacts", f"saved as JPEG of quality {facts.jpeg_quality}", [picture])
    elif facts.blockiness > limits.blockiness:
        message = f"the blocks of a JPEG show ({facts.blockiness:.1f}, 1 is none)"
        yield found("jpeg_artefacts", message, [picture])


def _border_text(border: Sequence[int]) -> str:
    sides = zip(("left", "top", "right", "bottom"), border, strict=True)
    return "border of one colour: " + ", ".join(f"{side} {wide} px" for side, wide in sides if wide)


def _size_text(facts: Facts) -> str:
    return f"{facts.width} × {facts.height} px"  # noqa: RUF001 - the sign of sizes
