"""What measured values are worth, in sentences that a person can decide by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from lora_pipeline.evaluation.metric_records import Compared, CopyCheck, LookAlike
from lora_pipeline.evaluation.records import Cell, EvaluationMetrics

FEW_PROMPTS = 6
WORTH_A_LOOK, A_COPY = 0.5, 0.75  # cosine of SSCD descriptors; their authors' and others' habit
_MINUS = "\N{MINUS SIGN}"


class Measured(msgspec.Struct, frozen=True):
    """One value as people read it.

    Attributes:
        name: As the record has it, and as a gate policy asks for it.
        title: What it is.
        words: The value beside the base's, with its interval; or why there is none.
        worth: What follows from it, and what does not.
        proven: Whether there is a value.
    """

    name: str
    title: str
    words: str
    worth: str
    proven: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return it as every face gives it."""
        return {
            "name": self.name,
            "title": self.title,
            "words": self.words,
            "worth": self.worth,
            "proven": self.proven,
        }


class _Kind(msgspec.Struct, frozen=True):
    title: str
    more: str
    less: str
    worth: str = ""


# Title, what more than the base means, what less means, and what the value cannot tell.
_COMPARED = {
    "edgeWidth": _Kind(
        "sharpness", "softer than the base", "sharper than the base",
        "width of the sharpest edges in pixels; soft may be meant",
    ),
    "seedVariety": _Kind(
        "variety of seeds", "more varied than the base", "seeds look more alike than the base's",
        "of small pictures; a narrow style varies less by intent",
    ),
    "paletteDistance": _Kind(
        "palette", "farther from the training images than the base",
        "nearer to the training images than the base",
        "distance to all of them together; says nothing about shapes",
    ),
    "toneDistance": _Kind(
        "tones", "farther from the training images than the base",
        "nearer to the training images than the base", "lightness alone",
    ),
    "clipText": _Kind(
        "prompt followed (CLIP-T)", "follows the prompts better than the base",
        "follows the prompts less than the base", "by this encoder, which misses counts and places",
    ),
    "clipImage": _Kind(
        "like the art (CLIP-I)", "more like the training images than the base",
        "less like the training images than the base", "of theme and style, blind to details",
    ),
    "dino": _Kind(
        "subject (DINO)", "more like the training images than the base",
        "less like the training images than the base",
        "high with little variety of seeds is copying",
    ),
    "lpipsVariety": _Kind(
        "variety (LPIPS)", "more varied than the base", "seeds look more alike than the base's",
        "what falls from checkpoint to checkpoint is overtraining",
    ),
}  # fmt: skip
_NEAREST = {"lookAlike": "nearest image", "copies": "copy check"}
# Each value that is measured beside the effect: its name, and the field of the metrics.
MEASURES = {
    "lookAlike": "look_alike",
    "copies": "copies",
    "edgeWidth": "edge_width",
    "seedVariety": "seed_variety",
    "paletteDistance": "palette_distance",
    "toneDistance": "tone_distance",
    "clipText": "clip_text",
    "clipImage": "clip_image",
    "dino": "dino",
    "lpipsVariety": "lpips_variety",
}


def described(metrics: EvaluationMetrics, cells: Iterable[Cell] = ()) -> list[Measured]:
    """Return what was measured beside the effect, and what was not, with what it is worth.

    Args:
        metrics: What was measured.
        cells: Those of the grid, so that people read which one is meant and not its id.
    """
    names = {one.id: f"{one.prompt_id} seed {one.seed} at {one.strength:g}" for one in cells}
    values: dict[str, Compared | None] = {
        name: getattr(metrics, MEASURES[name]) for name in _COMPARED
    }
    found = [_look_alike(metrics.look_alike, names)] if metrics.look_alike else []
    found += [_copies(metrics.copies, names)] if metrics.copies else []
    found += [_compared(name, value) for name, value in values.items() if value]
    return found + [
        Measured(name, title_of(name), reason, "", proven=False)
        for name, reason in metrics.not_proven.items()
    ]


def measured_facts(metrics: EvaluationMetrics | None, cells: Iterable[Cell] = ()) -> dict[str, Any]:
    """Return what was measured as every answer about a grid says it."""
    if metrics is None:
        return {"measured": [], "encoders": []}
    return {
        "measured": [one.to_dict() for one in described(metrics, cells)],
        "encoders": encoder_words(metrics),
    }


def title_of(name: str) -> str:
    """Return what a value is called, by its name in the record."""
    if name in _COMPARED:
        return _COMPARED[name].title
    return _NEAREST.get(name, name)


def than(name: str, what: str, *, more: bool) -> str:
    """Return what more, or less, of a value means beside something else than the base."""
    kind = _COMPARED[name]
    return (kind.more if more else kind.less).replace("the base", what)


def encoder_words(metrics: EvaluationMetrics) -> list[str]:
    """Return each encoder that looked: its name, digest and libraries."""
    every = (
        metrics.clip_text, metrics.clip_image, metrics.dino, metrics.lpips_variety, metrics.copies,
    )  # fmt: skip
    found = [
        f"{one.encoder.name}  ·  {one.encoder.digest[:19]}…  ·  {one.encoder.version}"
        for one in every
        if one
    ]
    return list(dict.fromkeys(found))


def _compared(name: str, value: Compared) -> Measured:
    kind = _COMPARED[name]
    words = f"{number(value.lora)}, base {number(value.base)}: {signed(value.difference)}"
    if value.low is not None and value.high is not None:
        words += f" ({signed(value.low)} to {signed(value.high)})"
    counts = f"{_counted(value.pairs, 'pair')} of {_counted(value.prompts, 'prompt')}"
    return Measured(
        name, kind.title, f"{words}, {counts}", f"{_verdict(kind, value)}; {kind.worth}"
    )


def _verdict(kind: _Kind, value: Compared) -> str:
    if value.low is None or value.high is None:
        return "one prompt says nothing about others"
    hint = ", from few prompts: a hint" if value.prompts < FEW_PROMPTS else ""
    if value.low > 0:
        return f"{kind.more}{hint}"
    if value.high < 0:
        return f"{kind.less}{hint}"
    return "no difference to the base that these prompts could show"


def _look_alike(value: LookAlike, names: Mapping[str, str]) -> Measured:
    if value.same:
        worth = f"{_counted(value.same, 'cell')} with a training image's picture: look at them"
    else:
        worth = "no cell shows the same picture; plain copies are found, parts of a picture are not"
    return Measured("lookAlike", _NEAREST["lookAlike"], _nearest(value, names), worth)


def _copies(value: CopyCheck, names: Mapping[str, str]) -> Measured:
    if value.similarity > A_COPY:
        worth = "a copy: with SSCD, nine of ten pairs above 0.75 are"
    elif value.similarity >= WORTH_A_LOOK:
        worth = f"{_counted(value.worth_a_look, 'cell')} worth a look, side by side with the image"
    else:
        worth = "no copy that this descriptor sees; a likeness in style is none"
    return Measured("copies", _NEAREST["copies"], _nearest(value, names), worth)


def _nearest(value: LookAlike | CopyCheck, names: Mapping[str, str]) -> str:
    turned = " (mirrored)" if value.mirrored else ""
    cell = names.get(value.cell_id, f"cell {value.cell_id}")
    words = f"{value.similarity:.2f}: {cell} to asset {value.asset_id}{turned}"
    if value.base is not None:
        words += f", base {value.base:.2f}"
    return f"{words}, {value.cells} cells with {_counted(value.images, 'image')}"


def signed(value: float) -> str:
    """Return a difference with its sign; what rounds to nothing has none."""
    words = number(value)
    return f"+{words}" if value > 0 and words != "0.000" else words


def number(value: float) -> str:
    """Return a value with three digits."""
    words = f"{abs(value):.3f}"
    return f"{_MINUS}{words}" if value < 0 and words != "0.000" else words


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
