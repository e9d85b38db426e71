"""Where the lines are drawn; ``docs/checks.md`` says why there."""

from __future__ import annotations

import msgspec

from lora_pipeline.catalog.records import ImageCounts
from lora_pipeline.workspace.settings import Settings


class Thresholds(msgspec.Struct, frozen=True):
    """What measures are compared with; each is a setting ``checks.…``.

    Attributes:
        small_warning: Share of the native resolution that the shorter side must have.
        small_error: Share below which it is an error.
        edge_width: Widest edges in pixels, at the size of training.
        jpeg_quality: Lowest quality that a JPEG may state.
        blockiness: How much the grid of JPEG may show; 1 is not at all.
        aspect_ratio: Longest shape, longer side by shorter side.
        refused_aspect_ratio: Shape beyond which it is an error.
        imbalance: How often the most frequent tag of a group may occur for each of the rarest.
    """

    small_warning: float = 1.0
    small_error: float = 0.75
    edge_width: float = 2.5
    jpeg_quality: int = 70
    blockiness: float = 2.5
    aspect_ratio: float = 3.0
    refused_aspect_ratio: float = 8.0
    imbalance: float = 5.0


class Profile(msgspec.Struct, frozen=True):
    """What the images are for.

    Attributes:
        background: Colour that training lays them on.
        checkpoint_id: The base model, or empty when nobody named one.
        native: Its resolution in pixels; 0 when it is not known.
        trigger_word: Word that captions begin with, or empty.
        counts: How many images the asset types want, by asset type.
        groups: Tag groups whose balance matters.
    """

    background: str = "#FFFFFF"
    checkpoint_id: str = ""
    native: int = 0
    trigger_word: str = ""
    counts: dict[str, ImageCounts] = msgspec.field(default_factory=dict)
    groups: frozenset[str] = frozenset()


def thresholds_of(settings: Settings) -> Thresholds:
    """Return the thresholds in force."""
    return Thresholds(
        small_warning=settings.number("checks.smallWarning"),
        small_error=settings.number("checks.smallError"),
        edge_width=settings.number("checks.edgeWidth"),
        jpeg_quality=settings.integer("checks.jpegQuality"),
        blockiness=settings.number("checks.blockiness"),
        aspect_ratio=settings.number("checks.aspectRatio"),
        refused_aspect_ratio=settings.number("checks.refusedAspectRatio"),
        imbalance=settings.number("checks.imbalance"),
    )
