"""Why a name of the user's own trainer file is not used. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lora_pipeline.foundation.ids import did_you_mean


def reason_unused(
    path: str,
    *,
    free: Mapping[str, Sequence[str]],
    recipe: Mapping[str, str],
    pipeline: Sequence[str],
    reader: str,
) -> str:
    """Return why a dotted name is not taken from the user's file.

    Args:
        path: The dotted name.
        free: By section, what the user's file may say.
        recipe: By dotted name, what of the recipe decides it.
        pipeline: Dotted names that the pipeline sets.
        reader: Who does not know any other name.
    """
    if path in recipe:
        return f"the recipe says {recipe[path]}"
    if path in pipeline:
        return "the pipeline sets it"
    section, _, key = path.rpartition(".")
    sisters = [one.rpartition(".") for one in (*recipe, *pipeline)]
    known = [last for parent, _, last in sisters if parent == section]
    near = did_you_mean(key, [*known, *free.get(section, ())])
    return f"{reader} does not know it" + (f"; did you mean {near}?" if near else "")
