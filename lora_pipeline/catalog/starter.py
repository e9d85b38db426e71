"""The words that a new project starts with; people change them as they like."""

from __future__ import annotations

from lora_pipeline.catalog.new_words import label_of
from lora_pipeline.catalog.records import (
    AssetType,
    AssetTypes,
    CatalogWord,
    ImageCounts,
    Palette,
    Palettes,
    Scenarios,
    Styles,
    Tag,
    TagGroup,
    Tags,
)
from lora_pipeline.foundation.record import Record

# Fewer than ten images teach a look only roughly, whatever the type.
_MINIMUM = 10


def starter_catalogs(now: str, *, style: str, scenario: str) -> tuple[Record, ...]:
    """Return the five catalogs of a new project.

    Args:
        now: The time that they are dated with.
        style: Default style; added when it is not one of ours.
        scenario: Default scenario likewise.
    """
    times = {"created_at": now, "updated_at": now}
    return (
        AssetTypes(id="asset-types", asset_types=_asset_types(), **times),
        Styles(id="styles", styles=_with(_styles(), style), **times),
        Scenarios(id="scenarios", scenarios=_with(_scenarios(), scenario), **times),
        Palettes(id="palettes", palettes=_palettes(), **times),
        Tags(id="tags", groups=_groups(), **times),
    )


def _asset_types() -> tuple[AssetType, ...]:
    return (
        AssetType(
            id="ui_icon",
            label="UI icon",
            description="Small pictures of buttons, items and abilities.",
            requires_alpha=True,
            image_counts=_counts(40, 60),
            suite_id="ui_icon",
        ),
        AssetType(
            id="logo",
            label="Logo",
            description="Marks and emblems.",
            requires_alpha=True,
            image_counts=_counts(25, 40),
            suite_id="logo",
        ),
        AssetType(
            id="product",
            label="Product picture",
            description="Things as they are sold or shown in a shop.",
            image_counts=_counts(30, 50),
            suite_id="product",
        ),
        AssetType(
            id="character",
            label="Character",
            description="People and creatures, whole or as portraits.",
            image_counts=_counts(50, 80),
            suite_id="character",
        ),
        AssetType(
            id="illustration",
            label="Illustration",
            description="Key art, splash screens and other premium pictures.",
            image_counts=_counts(50, 80),
        ),
        AssetType(
            id="texture",
            label="Texture",
            description="Surfaces that repeat without a seam.",
            tileable=True,
            image_counts=_counts(30, 50),
            suite_id="texture",
        ),
    )


def _counts(low: int, high: int) -> ImageCounts:
    return ImageCounts(minimum=_MINIMUM, recommended_from=low, recommended_to=high)


def _styles() -> tuple[CatalogWord, ...]:
    return (
        _word("flat", "flat design", "clean shapes"),
        _word("sticker", "sticker style", "white outline"),
        _word("neon", "neon style", "glowing outline"),
        _word("pixel_art", "pixel art", aliases=("pixelart", "pixel-art", "8bit")),
        _word("hand_drawn", "hand drawn", aliases=("handdrawn", "hand-drawn", "sketch")),
        _word("painterly", "painterly", "visible brush strokes"),
        _word("realistic", "realistic", aliases=("photo", "photorealistic")),
    )


def _scenarios() -> tuple[CatalogWord, ...]:
    return (
        _word("plain", description="Nothing but the thing itself."),
        _word("hud", "game interface", aliases=("ui", "interface")),
        _word("fantasy", "fantasy setting"),
        _word("scifi", "science fiction setting", aliases=("sci-fi", "science_fiction")),
        _word("modern", "modern setting"),
        _word("historical", "historical setting"),
    )


def _palettes() -> tuple[Palette, ...]:
    return (
        Palette(
            id="neutral",
            label="Neutral",
            colors=("#FFFFFF", "#C8CCD0", "#6B7480", "#22262B"),
            description="Greys for what must not stand out.",
        ),
    )


def _groups() -> tuple[TagGroup, ...]:
    return (
        _group("style", *(word.id for word in _styles()), exclusive=True),
        _group(
            "subject", "character", "creature", "weapon", "item", "food", "building", "vehicle",
            "nature", "symbol",
        ),
        _group(
            "shape", "circle", "square", "triangle", "diamond", "star", "heart", "shield", "ring",
            "cross", "arrow",
        ),
        _group(
            "color", "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink",
            "brown", "black", "gray", "white", aliases={"gray": ("grey",)},
        ),
        _group("view", "front", "side", "back", "top", "isometric", exclusive=True),
        _group("issue", "watermark", "artefact", "text", "cropped", "blurry", "off_style"),
    )  # fmt: skip


def _word(
    word_id: str, *tokens: str, description: str = "", aliases: tuple[str, ...] = ()
) -> CatalogWord:
    label = {"hud": "HUD", "scifi": "Science fiction"}.get(word_id, label_of(word_id))
    return CatalogWord(
        id=word_id, label=label, description=description, prompt_tokens=tokens, aliases=aliases
    )


def _group(
    group_id: str,
    *values: str,
    exclusive: bool = False,
    aliases: dict[str, tuple[str, ...]] | None = None,
) -> TagGroup:
    tags = tuple(
        Tag(id=f"{group_id}:{value}", label=label_of(value), aliases=(aliases or {}).get(value, ()))
        for value in values
    )
    return TagGroup(id=group_id, label=label_of(group_id), exclusive=exclusive, tags=tags)


def _with(words: tuple[CatalogWord, ...], wanted: str) -> tuple[CatalogWord, ...]:
    if any(word.id == wanted for word in words):
        return words
    return (*words, CatalogWord(id=wanted, label=label_of(wanted)))
