"""The rules that a new LoRA keeps: names, trigger words, and words that must be known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.vocabulary import unknown_word
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordExistsError
from lora_pipeline.foundation.ids import require_slug
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace

MAX_NAME, MAX_DESCRIPTION, MAX_STRENGTH = 100, 500, 2.0
# One word: captions and prompts are split at spaces and commas.
_TRIGGER = re.compile(r"[^\s\x00-\x1f\x7f,]{2,50}")


def require_texts(lora_id: str, name: str, description: str, trigger: str) -> None:
    """Check the id and the words of a new LoRA.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    require_slug(lora_id, "LoRA")
    if not 1 <= len(name) <= MAX_NAME:
        raise ArgumentInvalidError(f"a name has 1 to {MAX_NAME} characters, got {len(name)}")
    if len(description) > MAX_DESCRIPTION:
        raise ArgumentInvalidError(
            f"a description has at most {MAX_DESCRIPTION} characters, got {len(description)}"
        )
    if trigger and not _TRIGGER.fullmatch(trigger):
        joined = re.sub(r"[\s,]+", "", trigger)[:50]
        raise ArgumentInvalidError(
            f"a trigger word is one word of 2 to 50 characters, got {trigger!r}",
            hint=f"try {joined}" if len(joined) > 1 else None,
        )


def require_strength(strength: float) -> None:
    """Check the strength that production is to use.

    Raises:
        ArgumentInvalidError: When it is not above 0 and at most 2.
    """
    if not 0 < strength <= MAX_STRENGTH:
        raise ArgumentInvalidError(
            f"strength must be above 0 and at most {MAX_STRENGTH:g}, got {strength:g}",
            hint="lora deactivate switches a LoRA off",
        )


def require_unused(
    loras: Iterable[tuple[Scope, Lora]], lora_id: str, name: str, trigger: str
) -> None:
    """Check that no other LoRA that meets the new one has its id, name or trigger word.

    Raises:
        RecordExistsError: When one has; says which.
    """
    for scope, other in loras:
        if other.id == lora_id:
            raise RecordExistsError(
                f"LoRA {lora_id} exists already in {scope}", hint=f"lora show {lora_id}"
            )
        if other.name.casefold() == name.casefold():
            raise RecordExistsError(
                f"the name {name!r} is that of LoRA {other.id} in {scope}", hint="give --name"
            )
        if trigger and other.trigger_word.casefold() == trigger.casefold():
            raise RecordExistsError(
                f"the trigger word {trigger!r} is that of LoRA {other.id} in {scope}",
                hint="give another --trigger: both would answer to it",
            )


def require_asset_types(workspace: Workspace, scope: Scope, asset_types: Sequence[str]) -> None:
    """Check that the catalogs have every asset type.

    A shared LoRA may be for the asset types of any project.

    Raises:
        ArgumentInvalidError: When one is unknown; names a near one.
        RecordError: When a catalog is not a valid record.
    """
    if not asset_types:
        raise ArgumentInvalidError("a LoRA needs an asset type", hint="--asset-type ui_icon")
    scopes = workspace.records.scopes() if scope == SHARED else [scope]
    known: dict[str, object] = {}
    for place in scopes:
        known |= read_vocabulary(workspace, place).asset_types
    for asset_type in asset_types:
        unknown = unknown_word(asset_type, known)
        if unknown:
            hint = f"did you mean {unknown.meant}?" if unknown.meant else _known(known)
            raise ArgumentInvalidError(f"no asset type {asset_type!r}", hint=hint)


def meeting_scopes(workspace: Workspace, scope: Scope) -> list[Scope]:
    """Return the scopes whose LoRAs are seen together with those of ``scope``."""
    return workspace.records.scopes() if scope == SHARED else workspace.visible(scope)


def _known(known: dict[str, object]) -> str:
    return f"there are: {', '.join(sorted(known))}" if known else "lora catalog show asset-types"
